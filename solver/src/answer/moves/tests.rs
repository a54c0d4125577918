//! A job that moves stays where it has gone: what drives it away counts where it
//! goes, and the other way round.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::policy::Band;
use spotwise_model::spec::{Class, DataPlace};
use spotwise_model::{JobId, OfferKey, Price};

use super::*;
use crate::tests::fixture::{
    HOUR, at, committed, input, job, on_demand, reserved, running, spec, spot,
};
use crate::tests::properties::any_round;
use crate::{ClassShare, PlanInput, plan};

/// Three dollars an hour on demand, whatever it is bought as.
fn priced(mut offer: spotwise_model::Offer) -> spotwise_model::Offer {
    offer.on_demand = Price::from_micros_per_hour(3_000_000);
    offer
}

fn on_spot_only(machines: &[(&str, u32)]) -> ClassShare {
    let pool = |zone: &str| (Zone::new(zone), InstanceType::new("m.xlarge"));
    let machines = machines.iter().map(|(zone, count)| (pool(zone), *count)).collect();
    ClassShare { spot_hours: 90.0, on_demand_hours: 10.0, machines }
}

/// Where a job is, hour by hour, as plans move it and place it again.
fn life(round: &PlanInput, class: Class, start: usize) -> Vec<OfferKey> {
    let mut round = round.clone();
    let mut long = spec(100 * HOUR);
    long.class = class;
    let asked = job(1, long, -1, 1_000);
    let mut here = round.offers[start].clone();
    let mut path = vec![here.key.clone()];
    for hour in 0..20 {
        let (mut live, zone) =
            (running(asked.clone(), &here, hour - 2, 5), here.key.market.zone.clone());
        live.job.saved = live.progress;
        let own = (zone, here.key.market.instance_type.clone());
        let taken = |round: &mut PlanInput, by: i64| {
            let share = round.shares.get_mut(&class).expect("the class has run");
            let count = share.machines.entry(own.clone()).or_insert(0);
            *count = u32::try_from(i64::from(*count) + by).expect("at least none");
        };
        round.now = at(hour);
        taken(&mut round, 1);
        (round.running, round.jobs) = (vec![live.clone()], Vec::new());
        let moved = !plan(&round).0.moves.is_empty();
        taken(&mut round, -1);
        if moved {
            (round.running, round.jobs) = (Vec::new(), vec![live.job]);
            let placed = plan(&round).0.placements;
            let key = &placed.first().expect("there is room for one job").offer;
            here = round.offers.iter().find(|offer| offer.key == *key).expect("listed").clone();
            path.push(here.key.clone());
        }
    }
    path
}

/// Critical has run on spot far above its ceiling. At the full on-demand price
/// as the price of the band a start takes on-demand; the plain price of spot
/// would have it back an hour later, and so on for ever.
#[test]
fn a_band_price_of_one_sends_no_job_to_and_fro() {
    let offers = vec![priced(on_demand("a", 3.0, 2)), priced(spot("b", 1.0, 2))];
    let mut round = input(offers, vec![]);
    round.shares.insert(Class::Critical, on_spot_only(&[]));
    round.policy.band_price_share = 1.0;
    assert_eq!(life(&round, Class::Critical, 0).len(), 1, "on demand is what its class wants");
    round.policy.band_price_share = 0.05;
    let path = life(&round, Class::Critical, 0);
    assert_eq!(path.len(), 2, "at a small price spot is still much cheaper: one move, {path:?}");
}

#[test]
fn a_job_goes_over_to_a_committed_machine_that_idles() {
    for (bought, moves) in [(spot("b", 1.0, 2), true), (on_demand("b", 3.0, 2), true)] {
        let offers = vec![committed(priced(reserved("a", 2.0, 1)), 300), bought.clone()];
        let mut round = input(offers, vec![]);
        let long = job(1, spec(100 * HOUR), -9, 1_000);
        round.running = vec![running(long.clone(), &bought, -2, 5)];
        let found = plan(&round).0.moves;
        assert_eq!(found.get(&long.id) == Some(&PlacementRule::AlreadyPaid), moves, "{found:?}");
        // One that is over soon is not worth it.
        round.offers[0] = committed(priced(reserved("a", 2.0, 1)), 1);
        assert_eq!(plan(&round).0.moves.get(&long.id), None);
        round.running = vec![running(long, &round.offers[0].clone(), -2, 5)];
        assert_eq!(plan(&round).0.moves.len(), 0, "what is paid is not left");
    }
}

/// Where its class should be on spot and is not, the price of the band helps.
#[test]
fn below_its_floor_a_class_goes_back_to_spot_for_a_smaller_saving() {
    let offers = vec![priced(on_demand("a", 3.0, 2)), priced(spot("b", 2.3, 2))];
    let mut round = input(offers, vec![]);
    let share = ClassShare { spot_hours: 10.0, on_demand_hours: 90.0, machines: BTreeMap::new() };
    round.shares.insert(Class::Training, share);
    round.policy.band_price_share = 0.0;
    assert_eq!(life(&round, Class::Training, 0).len(), 1, "saves too little");
    round.policy.band_price_share = 0.5;
    assert_eq!(life(&round, Class::Training, 0).len(), 2);
}

/// Two spot pools of one price: whoever is alone on one of them makes it the
/// fullest, and stays all the same.
#[test]
fn a_job_does_not_flee_the_pool_that_it_fills_itself() {
    let offers =
        vec![priced(spot("a", 1.0, 2)), priced(spot("b", 1.0, 2)), priced(on_demand("c", 3.0, 2))];
    let mut round = input(offers, vec![]);
    round.policy.pool_price_share = 1.0;
    for others in [&[][..], &[("a", 1)], &[("b", 1)], &[("a", 3), ("b", 1)]] {
        round.shares.insert(Class::Training, on_spot_only(others));
        for start in [0, 1] {
            let path = life(&round, Class::Training, start);
            assert_eq!(path.len(), 1, "{others:?}: {path:?}");
        }
    }
}

/// Spot at half the price in another region, with ten hours to go: worth $5, less
/// what has to be moved there.
#[test]
fn a_move_to_another_region_pays_for_its_data_and_its_checkpoint() {
    let offers = vec![
        priced(spot("us-east-1a", 1.0, 2)),
        priced(spot("us-west-2a", 0.5, 2)),
        priced(on_demand("us-east-1a", 3.0, 2)),
    ];
    let moves = |data: Option<u64>, checkpoint: Option<u64>| {
        let mut far = spec(20 * HOUR);
        far.data = data.map(|bytes| DataPlace { region: "us-east-1".to_owned(), bytes });
        if let Some(saved) = &mut far.checkpoint {
            saved.bytes = checkpoint;
        }
        let mut round = input(offers.clone(), vec![]);
        for offer in &mut round.offers {
            offer.hazard_per_hour = 0.0;
        }
        round.running = vec![running(job(1, far, -10, 400), &round.offers[0], -6, 50)];
        !plan(&round).0.moves.is_empty()
    };
    const GB: u64 = 1_000_000_000;
    assert!(moves(None, None));
    assert!(moves(Some(50 * GB), Some(10 * GB)), "$1.20 of $5");
    assert!(!moves(Some(200 * GB), None), "$4 of $5 leaves less than the hysteresis");
    assert!(!moves(None, Some(300 * GB)), "$6");
    assert!(!moves(Some(120 * GB), Some(100 * GB)), "both together");
}

prop_compose! {
    /// One running job on a market of a few offers, with surcharges of any size.
    fn any_moving_round()(
        round in any_round(2, 5),
        at_offer in 0..5_usize,
        done in select(vec![5, 50]),
        deadline in select(vec![20, 60, 400]),
        (spot_hours, on_demand_hours) in select(vec![(90.0, 10.0), (10.0, 90.0), (50.0, 50.0)]),
        machines in proptest::collection::vec(0..3_u32, 5),
        (band_price_share, pool_price_share) in
            (select(vec![0.0, 0.05, 0.3, 1.0]), select(vec![0.0, 0.02, 1.0])),
    ) -> PlanInput {
        let mut round = round;
        for offer in &mut round.offers {
            offer.on_demand = Price::from_micros_per_hour(1_300_000);
        }
        let here = round.offers[at_offer % round.offers.len()].clone();
        let mut asked = round.jobs[0].clone();
        asked.deadline = crate::tests::fixture::at(deadline);
        asked.id = JobId(100);
        asked.budget_left = None;
        let spec = Arc::make_mut(&mut asked.spec);
        (spec.class, spec.interruptible, spec.resources.nodes) = (Class::Dev, true, 1);
        round.running = vec![running(asked, &here, -6, done)];
        (round.jobs, round.instances, round.limits) = (vec![], vec![], vec![]);
        let mut pools: BTreeMap<(Zone, InstanceType), u32> = BTreeMap::new();
        for (offer, count) in round.offers.iter().zip(machines) {
            *pools.entry((offer.key.market.zone.clone(), offer.key.market.instance_type.clone())).or_insert(0) +=
                count;
        }
        *pools.entry((here.key.market.zone.clone(), here.key.market.instance_type)).or_insert(0) += 1;
        let share = ClassShare { spot_hours, on_demand_hours, machines: pools };
        round.shares.insert(Class::Dev, share);
        round.policy.bands.insert(Class::Dev, Band { spot_floor: 0.5, spot_ceiling: 0.5 });
        (round.policy.band_price_share, round.policy.pool_price_share) =
            (band_price_share, pool_price_share);
        round
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the surcharges: a job that leaves for cheaper spot does not
    /// start again where it was.
    #[test]
    fn a_job_that_moves_for_money_does_not_come_back(round in any_moving_round()) {
        let (decided, _) = plan(&round);
        let live = round.running[0].clone();
        if decided.moves.get(&live.job.id) == Some(&PlacementRule::Cheapest) {
            let mut later = PlanInput { running: vec![], jobs: vec![live.job], ..round };
            let own = (live.offer.market.zone.clone(), live.offer.market.instance_type.clone());
            let share = later.shares.get_mut(&Class::Dev).expect("it has run");
            *share.machines.get_mut(&own).expect("it was counted") -= 1;
            // Its machine is free again.
            for offer in later.offers.iter_mut().filter(|offer| offer.key == live.offer) {
                offer.free = (offer.free.machines() + 1).into();
            }
            let placed = plan(&later).0.placements;
            prop_assert!(placed.iter().all(|p| p.offer != live.offer), "back on {}", live.offer);
        }
    }
}
