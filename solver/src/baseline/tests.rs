use proptest::prelude::*;

use super::*;
use crate::check;
use crate::tests::fixture::{HOUR, at, input, job, on_demand, running, spec, spot};
use crate::tests::properties::any_round;

fn place_of(plan: &Plan, job: u64) -> Option<CapacityType> {
    let placement = plan.placements.iter().find(|placement| placement.job.0 == job)?;
    Some(placement.offer.market.capacity_type)
}

#[test]
fn the_first_submitted_takes_the_cheapest_spot_and_the_last_waits() {
    let offers = vec![spot("a", 0.4, 1), spot("b", 0.3, 1), on_demand("a", 1.0, 9)];
    let jobs =
        vec![job(1, spec(HOUR), -1, 50), job(2, spec(HOUR), -3, 50), job(3, spec(HOUR), 0, 50)];
    let plan = greedy(&input(offers, jobs));
    let zones: Vec<(u64, &str)> =
        plan.placements.iter().map(|p| (p.job.0, p.offer.market.zone.as_str())).collect();
    assert_eq!(zones, [(2, "b"), (1, "a")]);
    assert!(matches!(plan.waits.values().next(), Some(WaitReason::NoCapacity { .. })));
}

#[test]
fn the_net_goes_on_demand_beside_free_spot() {
    let offers = vec![spot("a", 0.4, 1), on_demand("a", 1.0, 1)];
    // Four hours of work, two changeovers and a margin do not fit four hours.
    let round = input(offers, vec![job(1, spec(4 * HOUR), -8, 4)]);
    for plan in [greedy(&round), uniform_progress(&round)] {
        assert_eq!(place_of(&plan, 1), Some(CapacityType::OnDemand));
        assert_eq!(plan.placements[0].why.rule, PlacementRule::SafetyNet);
    }
}

#[test]
fn uniform_progress_buys_its_pace() {
    let offers = vec![spot("a", 0.4, 0), on_demand("a", 1.0, 1)];
    // Nothing of four hours done after six of twenty.
    let round = input(offers, vec![job(1, spec(4 * HOUR), -6, 14)]);
    assert_eq!(place_of(&greedy(&round), 1), None);
    assert_eq!(place_of(&uniform_progress(&round), 1), Some(CapacityType::OnDemand));
    let fresh = PlanInput { jobs: vec![job(1, spec(4 * HOUR), 0, 20)], ..round };
    assert_eq!(place_of(&uniform_progress(&fresh), 1), None, "it is on pace");
}

#[test]
fn ahead_by_two_starts_it_goes_back_to_spot_and_only_then() {
    let dear = on_demand("a", 1.0, 1);
    let moves = |done, free| {
        let running = running(job(1, spec(10 * HOUR), -5, 15), &dear, -4, done);
        let offers = vec![spot("a", 0.4, free), dear.clone()];
        let round = PlanInput { running: vec![running], ..input(offers, vec![]) };
        assert_eq!(greedy(&round).moves.len(), 0);
        uniform_progress(&round).moves.len()
    };
    // A quarter of the time is gone; two changeovers are 600 s of 20 h.
    assert_eq!((moves(25, 1), moves(27, 1), moves(27, 0)), (0, 1, 0));
}

#[test]
fn a_start_that_comes_too_late_goes_on_demand() {
    let cheap = spot("a", 0.4, 1);
    let late = running(job(1, spec(4 * HOUR), -8, 4), &cheap, 0, 0);
    let offers = vec![cheap, on_demand("a", 1.0, 1)];
    let round = PlanInput { running: vec![late], ..input(offers, vec![]) };
    assert_eq!(greedy(&round).moves.values().next(), Some(&PlacementRule::SafetyNet));
    let settled = PlanInput { now: at(1), ..round };
    assert!(greedy(&settled).moves.is_empty(), "a machine that works is kept");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn every_plan_passes_the_audit(round in any_round(7, 6)) {
        for plan in [greedy(&round), uniform_progress(&round)] {
            prop_assert_eq!(check(&round, &plan), Ok(()));
            prop_assert_eq!(plan.placements.len() + plan.waits.len(), round.jobs.len());
        }
    }
}
