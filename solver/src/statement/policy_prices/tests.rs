use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use spotwise_model::plan::RejectionReason;
use spotwise_model::{Money, Price};

use super::*;
use crate::tests::fixture::{HOUR, input, instance, job, on_demand, reserved, spec, spot};
use crate::tests::properties::any_round;
use crate::{PlanJob, check, plan, quote, worth};

/// Runs with so many hours on spot and on demand, on machines of pools `a`, `b`…
fn ran(spot_hours: f64, on_demand_hours: f64, machines: &[u32]) -> ClassShare {
    let zones = ["a", "b", "c", "d"].into_iter().map(Zone::new);
    let pools = zones.map(|zone| (zone, InstanceType::new("m.xlarge")));
    ClassShare {
        spot_hours,
        on_demand_hours,
        machines: pools.zip(machines.iter().copied()).collect(),
    }
}

/// A dollar an hour on demand.
fn priced(mut offer: Offer) -> Offer {
    offer.on_demand = Price::from_micros_per_hour(1_000_000);
    offer
}

fn extra(share: ClassShare, offer: &Offer) -> Surcharge {
    let mut round = input(vec![], vec![]);
    round.shares.insert(Class::Training, share);
    let surcharges = PolicyPrices::new(&round).on(offer);
    assert_eq!(surcharges[Class::Dev as usize], Surcharge::default(), "only the class that ran");
    surcharges[Class::Training as usize]
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-6
}

#[test]
fn the_price_grows_with_the_distance_and_stands_on_the_wrong_side_only() {
    let (cheap, dear) = (priced(spot("z", 0.3, 1)), priced(on_demand("z", 1.0, 1)));
    // Training: 80 to 90 %; a twentieth of a dollar at ten points.
    for (spot_hours, on_spot, on_dear) in [
        (100.0, 0.05, 0.0),
        (95.0, 0.025, 0.0),
        (90.0, 0.0, 0.0),
        (85.0, 0.0, 0.0),
        (80.0, 0.0, 0.0),
        (78.0, 0.0, 0.01),
        (70.0, 0.0, 0.05),
        (0.0, 0.0, 0.05),
    ] {
        let share = ran(spot_hours, 100.0 - spot_hours, &[]);
        assert!(near(extra(share.clone(), &cheap).band, on_spot), "{spot_hours}");
        assert!(near(extra(share.clone(), &dear).band, on_dear), "{spot_hours}");
        assert_eq!(extra(share, &priced(reserved("z", 1.0, 1))), Surcharge::default());
    }
}

#[test]
fn nothing_known_and_nonsense_price_nothing() {
    let offer = priced(spot("a", 0.3, 1));
    assert_eq!(extra(ClassShare::default(), &offer), Surcharge::default());
    for hours in [f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(extra(ran(hours, 0.5, &[]), &offer), Surcharge::default(), "{hours}");
        assert_eq!(extra(ran(0.5, hours, &[]), &offer), Surcharge::default(), "{hours}");
    }
    let mut round = input(vec![], vec![]);
    round.shares.insert(Class::Training, ran(1.0, 0.0, &[1]));
    for share in [f64::NAN, f64::INFINITY, -1.0] {
        (round.policy.band_price_share, round.policy.pool_price_share) = (share, share);
        assert_eq!(PolicyPrices::new(&round).on(&offer), Surcharges::default());
    }
}

#[test]
fn the_fullest_pool_of_too_few_carries_a_price() {
    let pool = |zone: &str, machines: &[u32]| {
        extra(ran(85.0, 15.0, machines), &priced(on_demand(zone, 1.0, 1))).pool
    };
    assert!(near(pool("a", &[2, 1]), 0.02));
    assert_eq!(pool("b", &[2, 1]), 0.0);
    assert!(near(pool("a", &[2, 2]), 0.02) && near(pool("b", &[2, 2]), 0.02), "equal ones both");
    assert_eq!(pool("a", &[2, 1, 1]), 0.0, "three are enough");
    assert!(near(pool("a", &[2, 1, 0]), 0.02), "an empty pool is none");
    assert_eq!(pool("a", &[]), 0.0);
    assert_eq!(pool("a", &[0]), 0.0);
}

fn of_class(id: u64, class: Class, deadline: i64) -> PlanJob {
    let mut spec = spec(4 * HOUR);
    spec.class = class;
    job(id, spec, 0, deadline)
}

fn kind_of(round: &PlanInput) -> CapacityType {
    let (plan, report) = plan(round);
    assert!(report.checked);
    plan.placements[0].offer.market.capacity_type
}

#[test]
fn a_class_above_its_ceiling_prefers_on_demand_of_nearly_the_same_price() {
    let offers = |dear: f64| vec![priced(spot("a", 0.90, 1)), priced(on_demand("b", dear, 1))];
    // With the interruptions expected of it spot comes to $3.98.
    let mut round = input(offers(1.0), vec![of_class(1, Class::Critical, 40)]);
    for offer in &mut round.offers {
        offer.hazard_per_hour = 0.0;
    }
    let alone = plan(&round).1;
    assert!(alone.bands.is_empty());
    assert_eq!(kind_of(&round), CapacityType::Spot);
    round.offers[1].price = Price::from_micros_per_hour(930_000);
    assert_eq!(kind_of(&round), CapacityType::Spot, "it is cheaper");
    round.shares.insert(Class::Critical, ran(90.0, 10.0, &[]));
    assert_eq!(kind_of(&round), CapacityType::OnDemand, "by less than the price of the band");
    let (decided, report) = plan(&round);
    let [bands] = &report.bands[..] else { panic!("{report:?}") };
    assert_eq!((bands.class, bands.band), (Class::Critical, Band::of(Class::Critical)));
    assert!(near(bands.spot_share.unwrap(), 0.9));
    assert_eq!((bands.band_price, bands.pool_price), (0.0, 0.0), "on demand carries none");
    // 4 h of work and 6 min to begin, at 3 cents an hour.
    assert!(near(bands.paid_more, 4.1 * 0.03), "{bands:?}");
    let [turned_away] = &decided.placements[0].why.alternatives[..] else { panic!() };
    assert_eq!(turned_away.why_not, Some(RejectionReason::SpotBand));
    assert_eq!(quote(&round, &round.jobs[0]).offer.unwrap(), decided.placements[0].offer);
    round.offers[1].price = Price::from_micros_per_hour(960_000);
    assert_eq!(kind_of(&round), CapacityType::Spot, "a soft wish");
    let bands = &plan(&round).1.bands[0];
    assert!(near(bands.band_price, 4.1 * 0.05) && bands.paid_more < 1e-6, "{bands:?}");
    round.offers[1].price = Price::from_micros_per_hour(930_000);
    round.jobs = vec![of_class(1, Class::Dev, 40)];
    assert_eq!(kind_of(&round), CapacityType::Spot, "another class has its own band");
}

#[test]
fn a_class_on_one_pool_goes_to_another_of_nearly_the_same_price() {
    let offers = vec![priced(spot("a", 0.30, 1)), priced(spot("b", 0.31, 1))];
    let mut round = input(offers, vec![of_class(1, Class::Training, 40)]);
    assert_eq!(plan(&round).0.placements[0].offer.market.zone, Zone::new("a"));
    round.shares.insert(Class::Training, ran(85.0, 15.0, &[3]));
    let (decided, report) = plan(&round);
    assert_eq!(decided.placements[0].offer.market.zone, Zone::new("b"));
    assert_eq!(
        decided.placements[0].why.alternatives[0].why_not,
        Some(RejectionReason::TooFewPools)
    );
    let bands = &report.bands[0];
    assert_eq!((bands.pools, bands.least_pools), (1, 3));
    assert!(bands.paid_more > 0.03 && bands.pool_price == 0.0, "{bands:?}");
}

/// Behind its pace with 60 h of work: the price of the band on 60 h is more than
/// the hour that waiting costs beyond on-demand.
#[test]
fn no_job_waits_because_of_a_wish() {
    let mut long = spec(60 * HOUR);
    long.class = Class::Dev;
    for (deadline, offer) in [
        (75, priced(on_demand("a", 1.0, 1))),
        (60, priced(on_demand("a", 1.0, 1))),
        (200, priced(spot("a", 0.99, 1))),
    ] {
        let start = -10;
        let mut round = input(vec![offer], vec![job(1, long.clone(), start, deadline)]);
        let other = PlanJob { spec: Arc::new(spec(HOUR)), ..of_class(2, Class::Dev, 1) };
        round.jobs.push(PlanJob { deadline: crate::tests::fixture::at(500), ..other });
        let placed = |round: &PlanInput| plan(round).0.placements.iter().any(|p| p.job.0 == 1);
        assert!(placed(&round), "due in {deadline} h");
        let hours = if round.offers[0].key.market.capacity_type == CapacityType::Spot {
            ran(100.0, 0.0, &[9])
        } else {
            ran(0.0, 100.0, &[9])
        };
        round.policy.bands.insert(Class::Dev, Band { spot_floor: 0.5, spot_ceiling: 0.5 });
        (round.policy.band_price_share, round.policy.pool_price_share) = (1.0, 1.0);
        round.shares.insert(Class::Dev, hours);
        assert!(placed(&round), "due in {deadline} h");
    }
}

#[test]
fn a_late_job_takes_the_earliest_finish_whatever_its_class_wishes() {
    let mut slow = priced(on_demand("b", 1.0, 1));
    slow.changeover = std::time::Duration::from_secs(361);
    let offers = vec![priced(on_demand("a", 1.0, 1)), slow];
    let mut round = input(offers, vec![of_class(1, Class::Training, 1)]);
    round.shares.insert(Class::Training, ran(0.0, 9.0, &[9]));
    round.policy.pool_price_share = 1.0;
    let (decided, report) = plan(&round);
    assert_eq!(decided.placements[0].offer.market.zone, Zone::new("a"));
    assert_eq!((report.bands[0].band_price, report.bands[0].pool_price), (0.0, 0.0));
}

prop_compose! {
    /// What a class may have run on, on the pools of `any_round`.
    fn any_share()(
        spot_hours in select(vec![0.0, 1.0, 50.0, 1e9, f64::NAN]),
        on_demand_hours in select(vec![0.0, 1.0, 10.0, f64::INFINITY]),
        machines in proptest::collection::vec(0..4_u32, 0..4),
    ) -> ClassShare {
        let pools = (0..).map(|i| (Zone::new(format!("z{i}")), InstanceType::new("m.xlarge")));
        ClassShare { spot_hours, on_demand_hours, machines: pools.zip(machines).collect() }
    }
}

prop_compose! {
    fn any_wished_round()(
        round in any_round(6, 5),
        shares in proptest::collection::vec(any_share(), Class::ALL.len()),
        classes in proptest::collection::vec(select(Class::ALL.to_vec()), 12),
        (band_price_share, pool_price_share) in
            (select(vec![0.0, 0.05, 1.0]), select(vec![0.0, 0.02, 1.0])),
    ) -> PlanInput {
        let mut round = round;
        for (job, class) in round.jobs.iter_mut().zip(classes) {
            Arc::make_mut(&mut job.spec).class = class;
        }
        for offer in &mut round.offers {
            offer.on_demand = Price::from_micros_per_hour(1_300_000);
        }
        round.shares = Class::ALL.into_iter().zip(shares).collect();
        (round.policy.band_price_share, round.policy.pool_price_share) =
            (band_price_share, pool_price_share);
        round
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_with_wishes_pass_the_audit(input in any_wished_round()) {
        let (decided, report) = plan(&input);
        prop_assert_eq!(check(&input, &decided), Ok(()));
        prop_assert!(report.checked && report.objective.is_finite());
        prop_assert!(report.objective <= report.greedy_objective);
        let worth = worth(&input, &decided, &report.prices);
        let slack = 2e-6 * report.objective.abs().max(1.0);
        let cost = worth.cost.expect("every placement is on what the job may take");
        prop_assert!((cost - report.objective).abs() <= slack, "{cost} is not {}", report.objective);
        prop_assert_eq!(report.bands.len(), Class::ALL.len());
        for bands in &report.bands {
            let figures = [bands.band_price, bands.pool_price, bands.paid_more];
            prop_assert!(figures.iter().all(|f| f.is_finite() && *f >= 0.0), "{bands:?}");
        }
        prop_assert_eq!(plan(&input), (decided, report));
    }

    /// One job, all else equal: a surcharge reorders, it refuses nothing.
    #[test]
    fn a_job_that_goes_without_wishes_goes_with_them(input in any_wished_round()) {
        let mut input = input;
        input.jobs.truncate(1);
        input.limits.clear();
        let free = PlanInput { shares: BTreeMap::new(), ..input.clone() };
        if !plan(&free).0.placements.is_empty() {
            prop_assert_eq!(plan(&input).0.placements.len(), 1);
        }
    }
}

#[test]
fn shared_machines_pay_their_part() {
    let mut half = of_class(1, Class::Training, 40);
    Arc::make_mut(&mut half.spec).resources.cpu_milli = 2_000;
    let offer = priced(spot("a", 0.30, 0));
    let mut round = input(vec![offer.clone()], vec![half]);
    round.offers[0].hazard_per_hour = 0.0;
    round.instances.push(instance(5, &offer, 1_000));
    round.shares.insert(Class::Training, ran(9.0, 0.0, &[]));
    let bands = &plan(&round).1.bands[0];
    assert!(near(bands.band_price, 4.1 * 0.5 * 0.05), "{bands:?}");
    assert_eq!(Money::estimate(bands.paid_more), Money::ZERO);
}
