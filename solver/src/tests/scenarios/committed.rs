//! Machines that are paid for already.

use super::*;

#[test]
fn reserved_machines_are_paid_already() {
    let offers = vec![reserved("a", 9.0, 1), spot("a", 0.1, 1)];
    let placed = placed(&input(offers, vec![job(1, spec(HOUR), 0, 20)]));
    assert_eq!(placed.offer.market.capacity_type, CapacityType::Reserved);
    assert_eq!(placed.why.rule, PlacementRule::AlreadyPaid);
}

/// A job that takes a whole machine for so many hours.
fn whole(hours: u64) -> JobSpec {
    let mut spec = spec(hours * HOUR);
    spec.resources.cpu_milli = 4_000;
    spec
}

/// One that must go.
fn steady(id: u64, hours: u64) -> PlanJob {
    job(id, JobSpec { interruptible: false, ..whole(hours) }, 0, 400)
}

#[test]
fn the_job_that_saves_most_gets_the_committed_machine() {
    let offers = vec![committed(reserved("a", 1.0, 1), 300), on_demand("a", 3.0, 9)];
    for jobs in [[steady(1, 2), steady(2, 50)], [steady(1, 50), steady(2, 2)]] {
        let plan = decide(&input(offers.clone(), jobs.to_vec()));
        let long = jobs.iter().find(|job| job.spec.longest_expected_duration().as_secs() > 99_999);
        for placed in &plan.placements {
            let paid = placed.offer.market.capacity_type == CapacityType::Reserved;
            assert_eq!(paid, Some(placed.job) == long.map(|job| job.id));
        }
        assert_eq!(plan.placements.len(), 2);
    }
}

#[test]
fn jobs_that_could_wait_compete_for_the_committed_machine_by_what_it_saves_them() {
    let offers = vec![committed(reserved("a", 1.0, 1), 300), on_demand("a", 3.0, 9)];
    let jobs = vec![job(1, whole(2), 0, 300), job(2, whole(50), 0, 300)];
    let plan = decide(&input(offers, jobs));
    let paid =
        plan.placements.iter().find(|p| p.offer.market.capacity_type == CapacityType::Reserved);
    assert_eq!(paid.map(|placed| placed.job), Some(JobId(2)));
}

#[test]
fn what_is_told_of_a_committed_machine_is_what_it_will_be_charged() {
    let offers = vec![committed(reserved("a", 1.0, 1), 300), on_demand("a", 3.0, 9)];
    let placed = placed(&input(offers, vec![steady(1, 10)]));
    // Six minutes of start.
    assert_eq!(placed.why.expected_cost, Money::estimate(10.1));
}

#[test]
fn hours_beyond_a_commitment_count_at_the_on_demand_price() {
    let mut paid = committed(reserved("a", 1.0, 1), 5);
    paid.on_demand = Price::from_micros_per_hour(3_000_000);
    let offers = vec![paid, on_demand("a", 3.0, 9)];
    let round = input(offers.clone(), vec![steady(1, 10)]);
    let (plan, report) = plan(&round);
    let placed = &plan.placements[0];
    assert_eq!(placed.offer.market.capacity_type, CapacityType::Reserved, "half of it is paid");
    assert!((report.objective - 3.0 * 5.1).abs() < 1e-4, "{}", report.objective);
    assert_eq!(placed.why.expected_cost, Money::estimate(5.0 + 3.0 * 5.1));
    // Spot for all of it is cheaper than on-demand for half of it.
    let mut offers = offers;
    offers.push(spot("a", 0.2, 1));
    let job = job(1, whole(10), 0, 400);
    let kind = |input: &PlanInput| placed_on(input);
    assert_eq!(kind(&input(offers.clone(), vec![job.clone()])), CapacityType::Spot);
    offers[0] = committed(reserved("a", 1.0, 1), 12);
    assert_eq!(kind(&input(offers, vec![job])), CapacityType::Reserved);
}

fn placed_on(input: &PlanInput) -> CapacityType {
    placed(input).offer.market.capacity_type
}

#[test]
fn a_budget_holds_what_a_committed_machine_is_charged() {
    let offers = vec![committed(reserved("a", 1.0, 1), 300)];
    let with = |dollars| PlanJob { budget_left: Some(Money::estimate(dollars)), ..steady(1, 10) };
    assert_eq!(decide(&input(offers.clone(), vec![with(10.5)])).placements.len(), 1);
    let reason = waits(&input(offers, vec![with(10.0)]), 1);
    assert!(matches!(reason, WaitReason::OverBudget { .. }), "{reason:?}");
}
