//! Small markets by hand, random ones against brute force, and the promise that
//! no policy sees the future.

use proptest::prelude::*;

use super::*;

const ON_DEMAND: i64 = 3_000_000;

fn quote(price: i64) -> RecordedStep {
    RecordedStep { available: price > 0, price_micros: price.abs() }
}

/// A market of zones, each a price a step; 0 and below is not available.
fn market(zones: &[&[i64]]) -> RecordedMarket {
    let steps = zones.first().unwrap().len();
    let zones = zones.iter().enumerate().map(|(at, prices)| RecordedZone {
        name: format!("z{at}"),
        before: 0,
        quotes: prices.iter().map(|price| quote(*price)).collect(),
    });
    RecordedMarket::new(600, steps, ON_DEMAND, zones.collect()).unwrap()
}

fn run(name: &str, market: &RecordedMarket, job: &Job) -> Outcome {
    simulate(market, job, 0, policy(name).unwrap().as_mut())
}

#[test]
fn a_job_in_fifths() {
    let job = Job::new(48.0, 1.1, 720.0, 195).unwrap();
    assert_eq!(job, Job { work: 4_431, changeover: 18, deadline: 974 });
    for (hours, factor, changeover) in [
        (0.0, 1.1, 0.0),
        (f64::NAN, 1.1, 0.0),
        (f64::INFINITY, 1.1, 0.0),
        (1e-9, 1.1, 0.0),
        (1.0, 0.99, 0.0),
        (1.0, f64::NAN, 0.0),
        (1.0, 1.1, -1.0),
        (1.0, 1.1, f64::NAN),
    ] {
        assert!(Job::new(hours, factor, changeover, 600).is_err(), "{hours} {factor} {changeover}");
    }
}

#[test]
fn a_changeover_is_paid_and_makes_no_progress() {
    let market = market(&[&[1_000_000; 12]]);
    let job = Job { work: 10, changeover: 7, deadline: 12 };
    let greedy = run("greedy", &market, &job);
    // 17 fifths are four steps.
    assert_eq!(greedy.choices, [JobLocation::Spot(0); 4]);
    assert_eq!(greedy.hourly_micros, 4_000_000);
    assert!((greedy.cost_fraction - 4.0 / 6.0).abs() < 1e-12);
    assert_eq!((greedy.missed, greedy.interruptions, greedy.moves), (false, 0, 0));
}

#[test]
fn what_is_taken_is_counted_and_starts_anew() {
    let market = market(&[&[1, 1, 0, 1, 1, 1, 1, 1, 1]]);
    let job = Job { work: 15, changeover: 5, deadline: 9 };
    let greedy = run("greedy", &market, &job);
    let (idle, spot) = (JobLocation::Idle, JobLocation::Spot(0));
    assert_eq!(greedy.choices, [spot, spot, idle, spot, spot, spot]);
    assert_eq!((greedy.interruptions, greedy.moves, greedy.hourly_micros), (1, 0, 5));
}

#[test]
fn the_safety_net_holds_to_the_end() {
    let market = market(&[&[0, 0, 0, 0, 1, 1, 1, 1, 1]]);
    let job = Job { work: 25, changeover: 2, deadline: 9 };
    let greedy = run("greedy", &market, &job);
    // 29 fifths fill six steps: with six left the net holds, also beside a spot.
    assert_eq!(greedy.choices.iter().filter(|c| **c == JobLocation::Idle).count(), 3);
    assert!(greedy.choices.iter().skip(3).all(|choice| *choice == JobLocation::OnDemand));
    assert!(!greedy.missed);
}

#[test]
fn uniform_progress_buys_its_pace_and_comes_back() {
    let mut prices = vec![0; 40];
    prices.splice(10.., [1; 30]);
    let market = market(&[&prices]);
    let job = Job { work: 100, changeover: 1, deadline: 40 };
    let uniform = run("uniform-progress", &market, &job);
    // On pace at the start, behind from then on, and ahead by two changeovers
    // some time later.
    assert_eq!(uniform.choices[0], JobLocation::Idle);
    assert_eq!(uniform.choices[1], JobLocation::OnDemand);
    assert!(uniform.choices.contains(&JobLocation::Spot(0)));
    assert_eq!((uniform.missed, uniform.interruptions, uniform.moves), (false, 0, 1));
}

#[test]
fn an_impossible_deadline_is_missed_and_finished_on_demand() {
    let market = market(&[&[0; 8]]);
    let job = Job { work: 20, changeover: 3, deadline: 4 };
    for name in POLICIES {
        let outcome = run(name, &market, &job);
        assert!(outcome.missed, "{name}");
        assert_eq!(outcome.choices, [JobLocation::OnDemand; 5], "{name}");
    }
    assert_eq!(optimal(&market, &job, 0).unwrap(), [JobLocation::OnDemand; 4]);
}

#[test]
fn a_choice_that_cannot_be_is_idle() {
    let market = market(&[&[0; 8]]);
    let job = Job { work: 5, changeover: 0, deadline: 6 };
    let mut script = Scripted::new("by hand", vec![JobLocation::Spot(0), JobLocation::Spot(9)]);
    let outcome = simulate(&market, &job, 0, &mut script);
    assert_eq!(
        outcome.choices,
        [[JobLocation::Idle; 6].as_slice(), &[JobLocation::OnDemand]].concat()
    );
    assert!(outcome.missed);
}

#[test]
fn wrong_markets_are_named() {
    let zone = |name: &str, quotes| RecordedZone { name: name.into(), before: 0, quotes };
    let one = || zone("a", vec![quote(1)]);
    let made = |step, price, zones| RecordedMarket::new(step, 1, price, zones).unwrap_err();
    assert_eq!(made(0, 1, vec![one()]), MarketError::NoStep);
    assert_eq!(made(1, 0, vec![one()]), MarketError::NoOnDemandPrice);
    assert_eq!(made(1, 1, vec![]), MarketError::NoZone);
    assert_eq!(made(1, 1, vec![one(), one()]), MarketError::ZoneTwice { zone: "a".into() });
    let short = made(1, 1, vec![zone("a", vec![])]);
    assert_eq!(short, MarketError::WrongLength { zone: "a".into(), quotes: 0, steps: 1 });
    let negative = zone("a", vec![RecordedStep { available: true, price_micros: -1 }]);
    assert_eq!(made(1, 1, vec![negative]), MarketError::NegativePrice { zone: "a".into() });
}

#[test]
fn an_optimum_too_large_is_refused() {
    let market = market(&[&[1; 8]]);
    let job = Job { work: 2_000_000, changeover: 3, deadline: 600_000 };
    assert!(matches!(optimal(&market, &job, 0), Err(OptimalError::TooLarge { .. })));
}

/// Remembers everything a view shows.
struct Spy {
    seen: Vec<Vec<RecordedStep>>,
    ages: Vec<Option<RecordedStep>>,
}

impl Policy for Spy {
    fn name(&self) -> &'static str {
        "spy"
    }
    fn choose(&mut self, view: &View<'_>) -> JobLocation {
        self.seen.push(view.history(0).to_vec());
        self.ages.push(view.past(0, 2));
        assert_eq!(view.past(0, 0), Some(view.spot(0)));
        assert_eq!(view.past(9, 0), None);
        JobLocation::OnDemand
    }
}

#[test]
fn a_view_ends_with_its_own_step_and_begins_with_the_earlier_recording() {
    let quotes: Vec<RecordedStep> = (1..=8).map(quote).collect();
    let zone = RecordedZone { name: "a".into(), before: 2, quotes: quotes.clone() };
    let market = RecordedMarket::new(600, 6, ON_DEMAND, vec![zone]).unwrap();
    let mut spy = Spy { seen: vec![], ages: vec![] };
    simulate(&market, &Job { work: 10, changeover: 0, deadline: 4 }, 1, &mut spy);
    assert_eq!(spy.seen, [&quotes[..4], &quotes[..5]]);
    assert_eq!(spy.ages, [Some(quotes[1]), Some(quotes[2])]);
}

/// The cheapest way to be done in time, by trying all.
fn brute_force(market: &RecordedMarket, job: &Job) -> Option<i64> {
    let mut places = vec![JobLocation::Idle, JobLocation::OnDemand];
    places.extend((0..market.zones().len()).map(JobLocation::Spot));
    let count = places.len();
    let ways = count.pow(job.deadline as u32);
    let cost = |way: usize| {
        let digits = (0..job.deadline as u32).map(|step| places[way / count.pow(step) % count]);
        let outcome = simulate(market, job, 0, &mut Scripted::new("one way", digits.collect()));
        (!outcome.missed).then_some(outcome.hourly_micros)
    };
    (0..ways).filter_map(cost).min()
}

fn prices(zones: usize, steps: usize) -> impl Strategy<Value = Vec<Vec<i64>>> {
    let price = prop_oneof![2 => Just(0i64), 3 => 1i64..4_000_000];
    proptest::collection::vec(proptest::collection::vec(price, steps), zones)
}

/// Prices, below zero where there is no capacity.
fn there_or_not(zones: usize, steps: usize) -> impl Strategy<Value = Vec<Vec<i64>>> {
    let price = prop_oneof![2 => -4_000_000i64..0, 3 => 1i64..4_000_000];
    proptest::collection::vec(proptest::collection::vec(price, steps), zones)
}

fn market_of(prices: &[Vec<i64>]) -> RecordedMarket {
    market(&prices.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_optimum_is_the_cheapest_of_all_ways(
        prices in prices(2, 8), work in 1u64..20, changeover in 0u64..9, deadline in 2usize..6,
    ) {
        let market = market_of(&prices);
        let job = Job { work, changeover, deadline };
        let choices = optimal(&market, &job, 0).unwrap();
        let found = simulate(&market, &job, 0, &mut Scripted::new(OPTIMAL, choices));
        let best = brute_force(&market, &job);
        prop_assert_eq!(best, (!found.missed).then_some(found.hourly_micros));
    }

    #[test]
    fn no_policy_beats_the_optimum_and_none_misses_what_on_demand_meets(
        prices in prices(3, 60), work in 1u64..150, changeover in 0u64..12, slack in 2u64..150,
    ) {
        let market = market_of(&prices);
        let deadline = ((work + 2 * changeover).div_ceil(FIFTHS) + slack.div_ceil(5)) as usize;
        let job = Job { work, changeover, deadline: deadline.min(58) };
        let choices = optimal(&market, &job, 0).unwrap();
        let best = simulate(&market, &job, 0, &mut Scripted::new(OPTIMAL, choices));
        let missed = run("on-demand", &market, &job).missed;
        for name in POLICIES {
            let outcome = run(name, &market, &job);
            prop_assert!(outcome.missed <= missed, "{name}");
            prop_assert!(missed || outcome.hourly_micros >= best.hourly_micros, "{name}");
        }
    }

    #[test]
    fn capacity_that_was_neither_held_nor_tried_changes_no_decision(
        prices in there_or_not(4, 60), other in there_or_not(4, 60), tries in 1usize..5,
        work in 1u64..150, changeover in 0u64..12,
    ) {
        let job = Job { work, changeover, deadline: 55 };
        let mut policy = Unseen::new("unseen", tries, false);
        let one = simulate(&market_of(&prices), &job, 0, &mut policy);
        // Prices stay; capacity changes wherever nobody looked.
        let changed = |zone: usize, step: usize| {
            let (price, other) = (prices[zone][step], other[zone][step]);
            let up = if policy.saw(zone, step) { price > 0 } else { other > 0 };
            if up { price.abs() } else { -price.abs() }
        };
        let prices: Vec<Vec<i64>> =
            (0..4).map(|zone| (0..60).map(|step| changed(zone, step)).collect()).collect();
        let mut again = Unseen::new("unseen", tries, false);
        let two = simulate(&market_of(&prices), &job, 0, &mut again);
        prop_assert_eq!(one.choices, two.choices);
    }

    #[test]
    fn a_market_changed_after_a_step_changes_no_earlier_decision(
        prices in prices(3, 60), other in prices(3, 60), at in 0usize..50,
        work in 1u64..150, changeover in 0u64..12,
    ) {
        let changed: Vec<Vec<i64>> =
            prices.iter().zip(&other).map(|(a, b)| [&a[..=at], &b[at + 1..]].concat()).collect();
        let job = Job { work, changeover, deadline: 55 };
        for name in POLICIES {
            let one = run(name, &market_of(&prices), &job).choices;
            let two = run(name, &market_of(&changed), &job).choices;
            let upto = (at + 1).min(one.len());
            prop_assert_eq!(&one[..upto], &two[..upto.min(two.len())], "{}", name);
        }
    }
}
