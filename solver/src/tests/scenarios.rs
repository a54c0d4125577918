//! What a round decides in the situations that matter.

mod arrays;
mod committed;

use std::time::Duration;

use spotwise_model::attempt::Progress;
use spotwise_model::gpu::MigProfile;
use spotwise_model::id::{InstanceType, PoolName};
use spotwise_model::plan::{Method, PlacementRule, RejectionReason, Target};
use spotwise_model::sharing::SoftSharing;
use spotwise_model::spec::GpuRequest;
use spotwise_model::time::after;
use spotwise_model::{
    CapacityType, InstanceId, JobId, JobSpec, Money, Offer, Placement, Plan, Price, WaitReason,
};

use crate::tests::fixture::{
    HOUR, ask_gpus, at, committed, gpu_offer, input, instance, job, on_demand, reserved, running,
    spec, spot,
};
use crate::{PlanInput, PlanJob, PoolLimit, check, plan};

const MINUTE: u64 = 60;

fn decide(input: &PlanInput) -> Plan {
    let (plan, report) = plan(input);
    assert!(report.checked);
    assert_eq!(check(input, &plan), Ok(()));
    plan
}

/// The placement of the only job.
fn placed(input: &PlanInput) -> Placement {
    let plan = decide(input);
    assert!(plan.waits.is_empty(), "{:?}", plan.waits);
    plan.placements.into_iter().next().unwrap()
}

fn waits(input: &PlanInput, id: u64) -> WaitReason {
    decide(input).waits.remove(&JobId(id)).unwrap()
}

/// A job due this long from now.
fn due(id: u64, spec: JobSpec, span: u64) -> PlanJob {
    PlanJob { deadline: after(at(0), Duration::from_secs(span)), ..job(id, spec, 0, 0) }
}

fn both(spot_free: u32, on_demand_free: u32) -> Vec<Offer> {
    vec![on_demand("a", 3.0, on_demand_free), spot("a", 1.0, spot_free)]
}

#[test]
fn the_safety_net_takes_on_demand_although_spot_is_free() {
    // 10 h of work, two changeovers of 6 min, a margin of 5 min.
    let need = 10 * HOUR + 17 * MINUTE;
    let relaxed = placed(&input(both(1, 1), vec![due(1, spec(10 * HOUR), need)]));
    assert_eq!(relaxed.offer.market.capacity_type, CapacityType::Spot);
    assert_eq!((relaxed.why.rule, relaxed.why.slack), (PlacementRule::Cheapest, Duration::ZERO));
    let tight = placed(&input(both(1, 1), vec![due(1, spec(10 * HOUR), need - 1)]));
    assert_eq!(tight.offer.market.capacity_type, CapacityType::OnDemand);
    assert_eq!(tight.why.rule, PlacementRule::SafetyNet);
    assert_eq!(tight.why.alternatives[0].why_not, Some(RejectionReason::DeadlineRisk));
}

#[test]
fn without_on_demand_to_be_had_the_safety_net_takes_spot() {
    let tight = placed(&input(both(1, 0), vec![due(1, spec(10 * HOUR), 10 * HOUR + 900)]));
    assert_eq!(tight.offer.market.capacity_type, CapacityType::Spot);
}

#[test]
fn behind_its_pace_a_job_takes_on_demand_and_ahead_of_it_it_waits() {
    let saved = |done: u32| Progress { done_ppm: done * 10_000, ..Progress::default() };
    // Half of its time is gone.
    let half = |done| PlanJob { saved: saved(done), ..job(1, spec(10 * HOUR), -20, 20) };
    let behind = placed(&input(both(0, 1), vec![half(49)]));
    assert_eq!(behind.why.rule, PlacementRule::BehindPace);
    assert_eq!(behind.why.alternatives[0].why_not, Some(RejectionReason::NotFree));
    let reason = waits(&input(both(0, 1), vec![half(51)]), 1);
    let WaitReason::CheaperLater { now, later, latest_start } = reason else {
        panic!("{reason:?}");
    };
    // 4.9 h of work and a changeover of 6 min at 3 dollars; interruptions on spot.
    assert_eq!(now, Money::estimate(15.0));
    assert!(later > Money::estimate(5.0) && later < Money::estimate(5.1));
    assert_eq!(latest_start, after(at(20), Duration::ZERO) - Duration::from_secs(18_660));
}

#[test]
fn behind_its_pace_a_job_still_takes_spot_where_it_is_free() {
    let placed = placed(&input(both(1, 1), vec![job(1, spec(10 * HOUR), -20, 20)]));
    assert_eq!(
        (placed.offer.market.capacity_type, placed.why.rule),
        (CapacityType::Spot, PlacementRule::Cheapest)
    );
}

#[test]
fn where_spot_is_no_cheaper_nothing_is_waited_for() {
    let offers = vec![on_demand("a", 1.0, 1), spot("a", 1.0, 0)];
    assert_eq!(
        placed(&input(offers, vec![job(1, spec(HOUR), 0, 20)])).why.rule,
        PlacementRule::Cheapest
    );
    let no_spot = vec![on_demand("a", 1.0, 1)];
    assert_eq!(
        placed(&input(no_spot, vec![job(1, spec(HOUR), 0, 20)])).why.rule,
        PlacementRule::Cheapest
    );
}

#[test]
fn a_hopeless_job_runs_at_once_where_it_ends_first() {
    let mut requests = spec(20 * HOUR);
    ask_gpus(&mut requests, "A100", 1);
    let GpuRequest::Whole { alternatives } = &mut requests.resources.gpus else { unreachable!() };
    alternatives[0].accelerator = None;
    let fast = spotwise_model::id::Accelerator::new("H100");
    requests.work = spotwise_model::spec::Work::Duration {
        default: Some(Duration::from_secs(20 * HOUR)),
        by_accelerator: [(fast, Duration::from_secs(8 * HOUR))].into(),
    };
    let offers = vec![gpu_offer("a", "A100", 1, 1.0), gpu_offer("b", "H100", 1, 20.0)];
    let placed = placed(&input(offers, vec![job(1, requests, -30, -1)]));
    assert_eq!(
        (placed.offer.market.zone.as_str(), placed.why.rule),
        ("b", PlacementRule::SafetyNet)
    );
}

#[test]
fn a_job_that_may_not_be_interrupted_never_sees_spot() {
    let mut firm = spec(HOUR);
    firm.interruptible = false;
    let on_both = placed(&input(both(1, 1), vec![job(1, firm.clone(), 0, 40)]));
    assert_eq!(on_both.why.rule, PlacementRule::NotInterruptible);
    assert_eq!(on_both.offer.market.capacity_type, CapacityType::OnDemand);
    assert_eq!(on_both.why.alternatives[0].why_not, Some(RejectionReason::NotInterruptible));
    let reason = waits(&input(vec![spot("a", 1.0, 1)], vec![job(1, firm, 0, 40)]), 1);
    assert!(matches!(reason, WaitReason::Unschedulable { .. }), "{reason:?}");
}

#[test]
fn a_gang_starts_whole_in_one_offer_on_distinct_machines() {
    let mut gang = spec(HOUR);
    gang.resources.nodes = 3;
    gang.resources.cpu_milli = 2_000;
    let offers = vec![on_demand("a", 1.0, 2), on_demand("b", 1.0, 2)];
    let jobs = vec![job(1, gang, 0, 1)];
    assert_eq!(
        waits(&input(offers.clone(), jobs.clone()), 1),
        WaitReason::NoCapacity { suitable_offers: 2 }
    );
    let mut with_one_up = input(offers, jobs);
    with_one_up.instances = vec![instance(7, &with_one_up.offers[1], 1_000)];
    let placed = placed(&with_one_up);
    assert_eq!(placed.offer.market.zone.as_str(), "b");
    assert_eq!(placed.targets, [Target::Existing(InstanceId(7)), Target::New(0), Target::New(1)]);
}

#[test]
fn a_pool_holds_no_more_than_its_machines_really_have() {
    let jobs = vec![job(1, spec(HOUR), 0, 1), job(2, spec(HOUR), 0, 1)];
    let mut round = input(vec![on_demand("a", 1.0, 5)], jobs);
    let limit =
        PoolLimit { pool: PoolName::new("pool"), cpu_milli: 7_000, memory_mib: 99_999, gpus: None };
    round.limits = vec![limit.clone()];
    let plan = decide(&round);
    assert_eq!(plan.placements.len(), 1);
    let WaitReason::Reserved { behind, .. } = &plan.waits[&JobId(2)] else { panic!("{plan:?}") };
    assert_eq!(*behind, [JobId(1)]);
    round.limits = vec![PoolLimit { cpu_milli: 3_999, ..limit }];
    assert_eq!(waits(&round, 1), WaitReason::PoolFull { resource: "cpus".to_owned() });
}

#[test]
fn the_more_important_job_is_served_first() {
    let mut important = spec(HOUR);
    important.priority = 10;
    let jobs = vec![job(1, spec(90 * HOUR), -1, 1), job(2, important, -1, 1)];
    let plan = decide(&input(vec![on_demand("a", 1.0, 1)], jobs));
    assert_eq!(plan.placements[0].job, JobId(2));
}

#[test]
fn a_budget_is_kept() {
    let capped = |dollars| PlanJob {
        budget_left: Some(Money::estimate(dollars)),
        ..due(1, spec(10 * HOUR), 10 * HOUR + 900)
    };
    let placed = placed(&input(both(1, 1), vec![capped(12.0)]));
    assert_eq!(placed.offer.market.capacity_type, CapacityType::Spot);
    assert_eq!(placed.why.alternatives[0].why_not, Some(RejectionReason::OverBudget));
    let reason = waits(&input(both(1, 1), vec![capped(8.0)]), 1);
    assert!(
        matches!(reason, WaitReason::OverBudget { needs, left } if left == Money::estimate(8.0) && needs > left)
    );
}

#[test]
fn small_jobs_share_a_machine_that_none_would_buy_alone() {
    let mut small = spec(HOUR);
    small.resources.cpu_milli = 1_000;
    let mut big = on_demand("a", 2.0, 1);
    big.key.market.instance_type = InstanceType::new("big");
    let mut little = on_demand("a", 1.0, 9);
    little.shape.cpu_milli = 1_000;
    let jobs = (1..=4).map(|id| job(id, small.clone(), 0, 2)).collect();
    let (plan, report) = plan(&input(vec![big.clone(), little], jobs));
    assert_eq!(plan.purchases, [(big.key, 1)].into());
    assert_eq!(report.method, Method::Proven { gap: 0.0 });
    assert!(report.objective < 0.6 * report.greedy_objective);
}

#[test]
fn a_machine_that_idles_is_used_before_one_is_bought() {
    let mut round = input(vec![on_demand("a", 1.0, 5)], vec![job(1, spec(HOUR), 0, 2)]);
    round.instances = vec![instance(7, &round.offers[0], 0)];
    let placed = placed(&round);
    assert_eq!(placed.targets, [Target::Existing(InstanceId(7))]);
    assert_eq!(placed.why.rule, PlacementRule::AlreadyPaid);
}

#[test]
fn seven_slices_fill_a_gpu() {
    let mut slice = spec(HOUR);
    slice.resources.cpu_milli = 100;
    slice.resources.gpus = GpuRequest::Slice { profile: MigProfile::G1, accelerator: None };
    let jobs = (1..=8).map(|id| job(id, slice.clone(), 0, 2)).collect();
    let plan = decide(&input(vec![gpu_offer("a", "A100", 1, 4.0)], jobs));
    assert_eq!(plan.placements.len(), 8);
    assert_eq!(plan.purchases.values().sum::<u32>(), 2);
}

#[test]
fn what_no_machine_holds_is_said_in_words() {
    let detail = |offers: Vec<Offer>, spec: JobSpec| match waits(
        &input(offers, vec![job(1, spec, 0, 20)]),
        1,
    ) {
        WaitReason::Unschedulable { detail } => detail,
        other => panic!("{other:?}"),
    };
    let mut gpus = spec(HOUR);
    ask_gpus(&mut gpus, "H100", 8);
    assert_eq!(
        detail(vec![gpu_offer("a", "H100", 4, 9.0)], gpus.clone()),
        "asks 8 x H100; the largest offer with H100 has 4"
    );
    assert_eq!(detail(both(1, 1), gpus.clone()), "asks 8 x H100; no offer has H100");
    ask_gpus(&mut gpus, "H100", 1);
    if let GpuRequest::Whole { alternatives } = gpus.resources.gpus {
        let sharing = SoftSharing::Mps { memory_mib: 99_999 };
        gpus.resources.gpus = GpuRequest::Shared { alternatives, sharing };
    }
    assert_eq!(
        detail(vec![gpu_offer("a", "H100", 4, 9.0)], gpus),
        "asks 99999 MiB of a GPU shared by MPS (not isolated); no GPU that it may share has so much memory"
    );
    assert_eq!(detail(vec![], spec(HOUR)), "no pool offers any machine");
    let mut wide = spec(HOUR);
    wide.resources.cpu_milli = 64_500;
    assert_eq!(
        detail(both(1, 1), wide),
        "asks 64.5 CPUs and 1024 MiB; the largest offers have 4 CPUs and 16384 MiB"
    );
}

#[test]
fn a_broken_hazard_takes_spot_off_the_market() {
    for hazard in [f64::NAN, f64::INFINITY, -0.1, 1e9] {
        let mut broken = spot("a", 0.1, 9);
        broken.hazard_per_hour = hazard;
        let round = input(vec![on_demand("a", 3.0, 1), broken], vec![job(1, spec(HOUR), 0, 20)]);
        assert_eq!(placed(&round).offer.market.capacity_type, CapacityType::OnDemand);
    }
}

#[test]
fn rounds_without_anything_to_give_are_answered() {
    let with_shape = |change: fn(&mut spotwise_model::NodeShape)| {
        let mut offer = on_demand("a", 1.0, 3);
        change(&mut offer.shape);
        vec![offer]
    };
    let job = || job(1, spec(HOUR), 0, 2);
    let rounds = [
        input(vec![], vec![]),
        input(vec![], vec![job()]),
        input(both(0, 0), vec![job()]),
        input(with_shape(|shape| shape.cpu_milli = 0), vec![job()]),
        input(with_shape(|shape| *shape = Default::default()), vec![job(), due(2, spec(HOUR), 0)]),
    ];
    for round in rounds {
        let plan = decide(&round);
        assert_eq!((plan.placements.len(), plan.waits.len()), (0, round.jobs.len()), "{round:?}");
    }
}

#[test]
fn free_machines_and_jobs_without_work_are_no_trouble() {
    let offers = vec![reserved("a", 0.0, 2), spot("a", 0.0, 2), on_demand("a", 0.0, 2)];
    let done = PlanJob {
        saved: Progress { done_ppm: 1_000_000, ..Progress::default() },
        ..job(9, spec(HOUR), -5, -4)
    };
    let mut jobs: Vec<PlanJob> = (1..=5).map(|id| job(id, spec(HOUR), 0, 2)).collect();
    jobs.push(done);
    let plan = decide(&input(offers, jobs));
    assert_eq!(plan.placements.len(), 6);
}

fn moves_of(offers: Vec<Offer>, from: usize, deadline: u64, saved: u32) -> Option<PlacementRule> {
    let mut live = running(due(5, spec(10 * HOUR), deadline), &offers[from], -6, 50);
    live.job.saved.done_ppm = saved * 10_000;
    let mut round = input(offers, vec![]);
    round.running = vec![live];
    decide(&round).moves.get(&JobId(5)).copied()
}

#[test]
fn a_job_on_spot_moves_while_on_demand_can_still_save_it() {
    // 5 h of work left: an interruption needs 5 h, one changeover and the
    // margin, in all 5 h 11 min.
    let enough = 5 * HOUR + 11 * MINUTE;
    assert_eq!(moves_of(both(1, 1), 1, enough, 50), None);
    assert_eq!(moves_of(both(1, 1), 1, enough - 1, 50), Some(PlacementRule::SafetyNet));
    // One hour of work is not saved yet: the notice leaves time for that.
    assert_eq!(moves_of(both(1, 1), 1, enough, 40), None);
    // Moving takes 5 h 6 min: with less, only staying can be in time.
    assert_eq!(moves_of(both(1, 1), 1, 5 * HOUR + 6 * MINUTE - 1, 50), None);
    assert_eq!(moves_of(both(1, 0), 1, enough - 1, 50), None, "nowhere to go");
}

#[test]
fn no_job_moves_to_what_its_budget_does_not_hold() {
    let offers = both(1, 1);
    let moved = |dollars| {
        let mut live = running(due(5, spec(10 * HOUR), 5 * HOUR + 10 * MINUTE), &offers[1], -6, 50);
        live.job.budget_left = Some(Money::estimate(dollars));
        let mut round = input(offers.clone(), vec![]);
        round.running = vec![live];
        decide(&round).moves.len()
    };
    assert_eq!((moved(15.31), moved(15.29)), (1, 0), "5.1 h at 3 dollars");
}

#[test]
fn a_job_on_on_demand_goes_back_only_for_a_real_saving() {
    let plenty = 60 * HOUR;
    let ahead = |offers: Vec<Offer>| moves_of(offers, 0, plenty, 50);
    assert_eq!(ahead(both(1, 1)), Some(PlacementRule::Cheapest));
    assert_eq!(ahead(both(0, 1)), None, "no spot is free");
    assert_eq!(ahead(vec![on_demand("a", 3.0, 1), spot("a", 2.3, 1)]), None, "saves too little");
    assert_eq!(moves_of(both(1, 1), 0, 5 * HOUR + 20 * MINUTE, 50), None, "no slack");
}

#[test]
fn a_move_back_waits_until_the_job_has_settled_and_is_ahead() {
    let mut live = running(job(5, spec(10 * HOUR), -10, 40), &both(1, 1)[0], -1, 50);
    let moved = |live: &crate::RunningJob| {
        let mut round = input(both(1, 1), vec![]);
        round.running = vec![live.clone()];
        decide(&round).moves.contains_key(&JobId(5))
    };
    assert!(moved(&live));
    live.since = at(0);
    assert!(!moved(&live), "launched this moment");
    live.since = at(-1);
    live.job.submitted = at(-60);
    assert!(!moved(&live), "behind its pace");
}
