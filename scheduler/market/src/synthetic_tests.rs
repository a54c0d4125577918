use spotwise_model::CapacityType;

use super::*;

fn options(seed: u64) -> SyntheticOptions {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    SyntheticOptions {
        types: vec![InstanceType::new("p3.2xlarge")],
        ..SyntheticOptions::new(seed, start)
    }
}

fn invent(options: &SyntheticOptions) -> Market {
    synthetic(options, &Catalog::built_in()).unwrap()
}

/// Every quote at every change.
fn everything(market: &Market) -> Vec<super::super::quote::MarketQuote> {
    let mut at = Some(market.start());
    std::iter::from_fn(|| {
        let now = at?;
        at = market.next_change(now);
        Some(market.quotes(now))
    })
    .flatten()
    .collect()
}

#[test]
fn a_seed_gives_one_market() {
    let short = |seed| SyntheticOptions { days: 3, ..options(seed) };
    assert_eq!(everything(&invent(&short(7))), everything(&invent(&short(7))));
    assert_ne!(everything(&invent(&short(7))), everything(&invent(&short(8))));
}

#[test]
fn a_zone_does_not_depend_on_the_others() {
    let all = invent(&options(7));
    let one = invent(&SyntheticOptions { zones: vec![Zone::new("us-west-2b")], ..options(7) });
    let seen = everything(&one);
    assert!(seen.len() > 100);
    let kind = InstanceType::new("p3.2xlarge");
    let zone = Zone::new("us-west-2b");
    let mut at = one.start();
    while let Some(next) = one.next_change(at) {
        let quote = |market: &Market| market.quote(&zone, &kind, CapacityType::Spot, next);
        assert_eq!(quote(&all), quote(&one));
        at = next;
    }
}

#[test]
fn zones_and_types_draw_numbers_of_their_own() {
    let first = |seed, name| stream(seed, name).random::<u64>();
    let drawn = [first(1, "a/z1"), first(1, "a/z2"), first(1, "b/z1"), first(2, "a/z1")];
    let different: std::collections::BTreeSet<u64> = drawn.into_iter().collect();
    assert_eq!(different.len(), drawn.len());
}

/// Lengths of the spells of all zones and types, in hours: with, without.
fn spells(market: &Market) -> (Vec<f64>, Vec<f64>) {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for quote in market.quotes(market.start()) {
        let at = |time| market.quote(&quote.zone, &quote.instance_type, CapacityType::Spot, time);
        if quote.capacity_type != CapacityType::Spot {
            continue;
        }
        let mut last = quote.clone();
        let mut change = market.next_change(market.start());
        let mut close = |spell: &super::super::quote::MarketQuote, end| {
            let list = if spell.available > 0 { &mut up } else { &mut down };
            list.push(time::hours(time::between(spell.spell_since, end)));
        };
        while let Some(now) = change {
            let next = at(now).unwrap();
            if next.spell_since != last.spell_since {
                close(&last, now);
            }
            last = next;
            change = market.next_change(now);
        }
        close(&last, market.end());
    }
    (up, down)
}

fn mean(list: &[f64]) -> f64 {
    list.iter().sum::<f64>() / list.len() as f64
}

fn median(mut list: Vec<f64>) -> f64 {
    list.sort_by(f64::total_cmp);
    list[list.len() / 2]
}

#[test]
fn it_behaves_like_the_recorded_market() {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut fractions = Vec::new();
    for seed in 0..12 {
        let market = invent(&SyntheticOptions { days: 23, ..options(seed) });
        let (more_up, more_down) = spells(&market);
        up.extend(more_up);
        down.extend(more_down);
        let quotes = market.quotes(market.end());
        let spot = quotes.iter().filter(|q| q.capacity_type == CapacityType::Spot);
        fractions.extend(spot.map(|q| q.price.dollars_per_hour() / q.on_demand.dollars_per_hour()));
    }
    let within = |value: f64, recorded: f64, tolerance: f64| {
        assert!((value / recorded - 1.0).abs() < tolerance, "{value} against {recorded}");
    };
    within(mean(&up), 2.83, 0.15);
    within(mean(&down), 2.25, 0.15);
    let share = up.iter().sum::<f64>() / (up.iter().sum::<f64>() + down.iter().sum::<f64>());
    within(share, 0.557, 0.1);
    within(mean(&fractions), 0.358, 0.05);
    assert!(median(up.clone()) < mean(&up) / 3.0, "heavy tails");
    assert!(median(down.clone()) < mean(&down) / 2.0, "heavy tails");
}

#[test]
fn turbulence_shortens_spells_only() {
    let calm = spells(&invent(&options(3)));
    let wild = spells(&invent(&SyntheticOptions { turbulence: 10.0, ..options(3) }));
    assert!(wild.0.len() > calm.0.len() * 5, "{} {}", wild.0.len(), calm.0.len());
    assert!(mean(&wild.0) < mean(&calm.0) / 5.0);
    let share = |s: &(Vec<f64>, Vec<f64>)| {
        let up: f64 = s.0.iter().sum();
        up / (up + s.1.iter().sum::<f64>())
    };
    assert!((share(&wild) - share(&calm)).abs() < 0.15, "{} {}", share(&wild), share(&calm));
}

#[test]
fn every_type_of_the_catalogue_has_sane_prices() {
    let all = SyntheticOptions { days: 2, types: Vec::new(), ..options(1) };
    let market = invent(&all);
    assert!(market.anomalies().is_empty());
    let quotes = everything(&market);
    assert!(quotes.iter().all(|q| q.price > Price::ZERO && q.price <= q.on_demand));
    assert_eq!(market.end(), moment(all.start, 2 * 86_400));
}

#[test]
fn senseless_options_are_refused() {
    let refused = |options: SyntheticOptions, field: &str| {
        let error = synthetic(&options, &Catalog::built_in()).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    };
    refused(SyntheticOptions { days: 0, ..options(1) }, "days");
    for turbulence in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(SyntheticOptions { turbulence, ..options(1) }, "turbulence");
    }
    refused(SyntheticOptions { zones: vec![Zone::new("mars-1a")], ..options(1) }, "mars-1a");
    refused(
        SyntheticOptions { types: vec![InstanceType::new("x1.huge")], ..options(1) },
        "entry 1, `types`",
    );
}
