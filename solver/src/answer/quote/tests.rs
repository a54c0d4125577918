use super::*;
use crate::plan;
use crate::tests::fixture::{HOUR, at, gpu_offer, input, job, on_demand, spec, spot};
use spotwise_model::CapacityType;
use spotwise_model::plan::RejectionReason;
use spotwise_model::spec::DataPlace;

#[test]
fn poisson_quantiles_are_the_tabled_ones() {
    let two: Vec<f64> = [0.5, 0.9].map(|level| poisson(2.0, level)).into();
    assert_eq!(two, [2.0, 4.0]);
    assert!(poisson(0.0, 0.9).abs() < 1e-9);
    assert!((poisson(10_000.0, 0.9) - 10_128.0).abs() < 1e-9);
}

#[test]
fn a_quote_on_spot_says_what_interruptions_may_cost() {
    let mut offers = vec![spot("a", 1.0, 1), on_demand("a", 3.0, 1)];
    offers[0].hazard_per_hour = 0.2;
    let input = input(offers, vec![]);
    let quote = quote(&input, &job(1, spec(10 * HOUR), 0, 40));
    assert_eq!(quote.start, Start::Now);
    assert!(quote.cost.p50 > Money::estimate(10.0) && quote.cost.p50 < Money::estimate(13.0));
    assert!(quote.cost.p90 > quote.cost.p50 && quote.finish.p90 > quote.finish.p50);
    assert!((quote.spot_share - 1.0).abs() < 1e-9);
    assert_eq!(quote.alternatives.len(), 1);
    assert!(quote.on_demand_cost.is_some_and(|cost| cost > Money::estimate(30.0)));
}

#[test]
fn a_quote_without_free_spot_waits_for_it() {
    let input = input(vec![spot("a", 1.0, 0), on_demand("a", 3.0, 1)], vec![]);
    let quote = quote(&input, &job(1, spec(10 * HOUR), 0, 40));
    assert!(matches!(quote.start, Start::Later { latest } if latest < at(30) && latest > at(29)));
    assert!(quote.cost.p90 >= quote.on_demand_cost.unwrap(), "at worst all on on-demand");
    assert_eq!(quote.alternatives[0].why_not, Some(RejectionReason::Dearer));
}

/// Whichever of the equally fast machines comes first in the list.
#[test]
fn a_job_that_is_late_saves_nothing_on_the_dearest_on_demand() {
    let dear = |zone| on_demand(zone, 30.0, 1);
    for offers in [[dear("a"), on_demand("b", 3.0, 1)], [on_demand("a", 3.0, 1), dear("b")]] {
        let input = input([vec![spot("c", 1.0, 1)], offers.into()].concat(), vec![]);
        let quote = quote(&input, &job(1, spec(10 * HOUR), 0, 5));
        assert_eq!(quote.offer.unwrap().market.capacity_type, CapacityType::OnDemand);
        assert_eq!(quote.on_demand_cost, Some(quote.expected_cost));
        assert_eq!(quote.alternatives[0].why_not, Some(RejectionReason::Later), "spot is cheaper");
        assert_eq!(quote.alternatives[1].why_not, Some(RejectionReason::Dearer));
    }
}

/// Of a zone that had a machine in `up` of each ten steps of an hour, and has
/// none now.
fn seen(up: usize) -> crate::Forecast {
    use crate::spot::horizon::{Horizon, HorizonTerms, ObservedZone, ZoneNow};
    let seen: Vec<bool> = (0..400).map(|step| step % 10 < up).collect();
    let zone = ObservedZone { region: 0, price: 1.0, seen: &seen };
    let terms = HorizonTerms { step_seconds: 3_600.0, on_demand: 3.0, changeover: 0.1 };
    let offer = spot("a", 1.0, 0).key;
    crate::Forecast {
        account: offer.market.account,
        instance_type: offer.market.instance_type,
        nodes: 1,
        horizon: std::sync::Arc::new(Horizon::solve(&[zone], terms, 100, 100.0)),
        zones: vec![(offer.market.zone, ZoneNow { up: false, age: 10 - up, price: 1.0 })],
        step: Duration::from_secs(HOUR),
        steps: 100,
        first: at(-400),
        training: crate::spot::forecast::TrainingWindow::default(),
        own: None,
    }
}

#[test]
fn a_quote_does_not_hope_for_spot_that_never_comes() {
    let mut input = input(vec![spot("a", 1.0, 0), on_demand("a", 3.0, 1)], vec![]);
    let mut quoted = |up| {
        input.forecasts = vec![seen(up)];
        quote(&input, &job(1, spec(10 * HOUR), 0, 40))
    };
    let (never, mostly) = (quoted(0), quoted(9));
    let on_demand = never.on_demand_cost.unwrap();
    assert!(never.expected_cost.dollars() > 0.9 * on_demand.dollars(), "{never:?}");
    assert!(never.spot_share < 0.1 && mostly.spot_share > 0.9, "{mostly:?}");
    assert!(never.cost.p50 >= on_demand && never.finish.p50 > mostly.finish.p50);
    assert!(mostly.expected_cost.dollars() < 0.5 * on_demand.dollars(), "{mostly:?}");
}

#[test]
fn a_quote_names_what_is_missing() {
    let input = input(vec![gpu_offer("a", "H100", 4, 30.0)], vec![]);
    let mut requests = spec(HOUR);
    crate::tests::fixture::ask_gpus(&mut requests, "H100", 8);
    let quote = quote(&input, &job(1, requests, 0, 40));
    assert_eq!(
        quote.unschedulable.as_deref(),
        Some("asks 8 x H100; the largest offer with H100 has 4")
    );
}

fn far(id: u64, bytes: u64) -> PlanJob {
    let mut spec = spec(10 * HOUR);
    spec.data = Some(DataPlace { region: "us-east-1".to_owned(), bytes });
    job(id, spec, 0, 400)
}

#[test]
fn data_elsewhere_is_in_the_quote_and_changes_the_choice() {
    let (near, away) = (spot("us-east-1a", 1.2, 1), spot("us-west-2a", 1.0, 1));
    let mut input = input(vec![near, away, on_demand("us-west-2a", 3.0, 1)], vec![]);
    for offer in &mut input.offers {
        offer.hazard_per_hour = 0.0;
    }
    let small = quote(&input, &far(1, 50_000_000_000));
    assert_eq!(small.offer.unwrap().market.zone.region(), "us-west-2");
    assert_eq!(small.transfer, Money::estimate(1.0), "50 GB at 2 cents");
    assert_eq!(small.cost.p50, Money::estimate(10.1 + 1.0));
    let large = quote(&input, &far(1, 160_000_000_000));
    assert_eq!(large.offer.as_ref().unwrap().market.zone.region(), "us-east-1");
    assert_eq!(large.transfer, Money::ZERO);
    assert_eq!(large.alternatives[0].expected_cost, Money::estimate(10.1 + 3.2));
    input.jobs = vec![far(1, 50_000_000_000), far(2, 160_000_000_000)];
    input.policy.least_pools = 0;
    let (decided, report) = plan(&input);
    let regions: Vec<_> =
        decided.placements.iter().map(|p| p.offer.market.zone.region().to_owned()).collect();
    assert_eq!(regions, ["us-west-2", "us-east-1"]);
    assert_eq!(decided.placements[0].why.transfer, Money::estimate(1.0));
    assert!((report.objective - (10.1 + 1.0 + 12.12)).abs() < 1e-4, "{}", report.objective);
}

#[test]
fn every_expected_start_moves_the_data_again() {
    let mut input = input(vec![spot("us-west-2a", 1.0, 1)], vec![]);
    input.offers[0].hazard_per_hour = 0.1;
    let quoted = quote(&input, &far(1, 50_000_000_000));
    assert!((quoted.interruptions - 1.0).abs() < 1e-9);
    assert_eq!(quoted.transfer, Money::estimate(2.0), "one start, one restart");
    assert_eq!(quoted.expected_cost, quoted.machines.0 + Money::estimate(2.0));
    let kept = quoted.keep(input.now).unwrap();
    assert_eq!(kept.expected_cost, quoted.machines.0, "the ledger has no line for it");
}

#[test]
fn a_plan_quotes_each_job_that_it_sees_for_the_first_time() {
    let seen = PlanJob { quoted: true, ..job(3, spec(HOUR), 0, 40) };
    let fresh = [job(1, spec(10 * HOUR), 0, 40), job(2, spec(HOUR), 0, 40)];
    let mut requests = spec(HOUR);
    crate::tests::fixture::ask_gpus(&mut requests, "H100", 8);
    let nowhere = job(4, requests, 0, 40);
    let jobs = fresh.iter().cloned().chain([seen, nowhere]).collect();
    let input = input(vec![spot("a", 1.0, 1), on_demand("a", 3.0, 1)], jobs);
    let quotes = plan(&input).0.quotes;
    assert_eq!(quotes.keys().copied().collect::<Vec<_>>(), [JobId(1), JobId(2)]);
    for asked in &fresh {
        assert_eq!(Some(quotes[&asked.id]), quote(&input, asked).keep(input.now));
    }
    let mean = quotes[&JobId(1)].expected_cost;
    assert!(mean > quotes[&JobId(1)].cost.p50 && mean < quotes[&JobId(1)].cost.p90);
}
