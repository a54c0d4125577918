use spotwise_model::id::PoolName;
use spotwise_model::plan::PlacementRule;

use super::*;
use crate::tests::fixture::{HOUR, at, input, instance, job, on_demand, spec, spot};
use crate::{PoolLimit, plan};

/// Two nodes, each half of a machine, and one machine that runs already.
fn round() -> PlanInput {
    let mut gang = spec(HOUR);
    gang.resources.nodes = 2;
    gang.resources.cpu_milli = 2_000;
    let mut input =
        input(vec![on_demand("a", 1.0, 3), spot("b", 9.0, 3)], vec![job(1, gang, 0, 9)]);
    input.instances = vec![instance(7, &input.offers[0], 2_000)];
    input
}

/// What the audit says of a good plan after `spoil`.
fn found(spoil: impl FnOnce(&mut PlanInput, &mut Plan)) -> Vec<Violation> {
    let mut input = round();
    let (mut plan, _) = plan(&input);
    assert_eq!(check(&input, &plan), Ok(()));
    assert_eq!(plan.placements[0].targets, [Target::Existing(InstanceId(7)), Target::New(0)]);
    spoil(&mut input, &mut plan);
    check(&input, &plan).unwrap_err()
}

fn only(spoil: impl FnOnce(&mut PlanInput, &mut Plan)) -> Violation {
    let mut wrong = found(spoil);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    wrong.remove(0)
}

fn with_spec(input: &mut PlanInput, change: impl FnOnce(&mut spotwise_model::JobSpec)) {
    let mut spec = (*input.jobs[0].spec).clone();
    change(&mut spec);
    input.jobs[0].spec = spec.into();
}

#[test]
fn a_job_is_placed_or_waits_once() {
    let id = JobId(1);
    assert_eq!(
        only(|_, plan| drop(plan.placements.pop())),
        Violation::NotOnce { job: id, times: 0 }
    );
    assert_eq!(
        only(|_, plan| drop(plan.waits.insert(id, spotwise_model::WaitReason::Outbid))),
        Violation::NotOnce { job: id, times: 2 }
    );
    assert_eq!(
        only(|_, plan| drop(plan.waits.insert(JobId(2), spotwise_model::WaitReason::Outbid))),
        Violation::UnknownJob(JobId(2))
    );
}

#[test]
fn a_share_is_what_the_job_asks_for() {
    assert_eq!(
        only(|_, plan| plan.placements[0].share.cpu_milli = 1_999),
        Violation::WrongShare(JobId(1))
    );
}

#[test]
fn a_gang_has_one_machine_a_node() {
    let nodes = only(|_, plan| plan.placements[0].targets.truncate(1));
    assert_eq!(nodes, Violation::WrongNodes { job: JobId(1), targets: 1, nodes: 2 });
    let shared = only(|_, plan| plan.placements[0].targets = vec![Target::New(0); 2]);
    assert_eq!(shared, Violation::SharedTarget(JobId(1)));
}

#[test]
fn machines_exist_are_bought_and_hold_what_is_on_them() {
    let instance = InstanceId(8);
    assert_eq!(
        only(|_, plan| plan.placements[0].targets[0] = Target::Existing(instance)),
        Violation::WrongInstance { job: JobId(1), instance }
    );
    assert_eq!(
        only(|input, _| input.instances[0].offer = input.offers[1].key.clone()),
        Violation::WrongInstance { job: JobId(1), instance: InstanceId(7) }
    );
    assert!(matches!(
        only(|_, plan| plan.purchases.clear()),
        Violation::NotBought { index: 0, .. }
    ));
    assert!(matches!(
        only(|input, _| input.instances[0].free =
            crate::tests::fixture::instance(7, &input.offers[0], 2_001).free),
        Violation::Overfilled { target: Target::Existing(_), .. }
    ));
    let overfilled = only(|input, plan| {
        let mut twin = input.jobs[0].clone();
        twin.id = JobId(2);
        input.jobs.push(twin);
        let mut again = plan.placements[0].clone();
        again.job = JobId(2);
        again.targets = vec![Target::New(0), Target::New(1)];
        plan.purchases.values_mut().for_each(|n| *n = 2);
        plan.placements.push(again.clone());
        let mut third = again;
        third.job = JobId(3);
        input.jobs.push(PlanJob { id: JobId(3), ..input.jobs[1].clone() });
        third.targets = vec![Target::New(0), Target::New(1)];
        plan.placements.push(third);
    });
    assert!(matches!(overfilled, Violation::Overfilled { target: Target::New(0), .. }));
}

#[test]
fn no_more_is_bought_than_there_is() {
    let dear = only(|_, plan| plan.purchases.values_mut().for_each(|n| *n = 4));
    assert!(matches!(dear, Violation::NotFree { bought: 4, free: 3, .. }));
    let gone = found(|input, _| drop(input.offers.remove(0)));
    assert!(gone.iter().all(|v| matches!(v, Violation::UnknownOffer(_))), "{gone:?}");
}

#[test]
fn a_pool_is_not_overdrawn() {
    let limit = |cpu_milli, memory_mib| PoolLimit {
        pool: PoolName::new("pool"),
        cpu_milli,
        memory_mib,
        gpus: Some(0),
    };
    let short = |resource| Violation::PoolLimit { pool: PoolName::new("pool"), resource };
    assert_eq!(only(|input, _| input.limits = vec![limit(3_999, 9_999)]), short("cpus"));
    assert_eq!(only(|input, _| input.limits = vec![limit(4_000, 2_047)]), short("memory"));
}

/// Two GPUs of 40 GiB.
fn two_gpus() -> NodeShape {
    crate::tests::fixture::gpu_offer("a", "A100", 2, 1.0).shape
}

fn mps(memory_mib: u64) -> Share {
    let shared = SoftSharing::Mps { memory_mib }.of(two_gpus().accelerator.as_ref());
    Share { shared: Some(shared), ..Share::default() }
}

fn turns(jobs: u32) -> Share {
    Share { shared: Some(SoftSharing::TimeSlicing { jobs }.of(None)), ..Share::default() }
}

fn slice(profile: MigProfile) -> Share {
    Share { mig: Some(profile), ..Share::default() }
}

#[test]
fn a_new_machine_is_parted_gpu_by_gpu() {
    let gpu = Share { gpus: 1, ..Share::default() };
    let cases: [(&[Share], bool); 15] = [
        (&[mps(20_480); 4], true),
        (&[mps(20_480); 5], false),
        (&[mps(20_481); 3], false),
        (&[mps(40_961)], false),
        (&[mps(20_480), mps(10_000), mps(20_480)], true),
        (&[mps(20_480), mps(10_000), turns(2)], false),
        (&[turns(3); 6], true),
        (&[turns(3); 7], false),
        (&[turns(3), gpu, mps(1)], false),
        (&[turns(3), gpu], true),
        (&[slice(MigProfile::G3), slice(MigProfile::G3), turns(2)], true),
        (&[slice(MigProfile::G3), slice(MigProfile::G1), gpu], true),
        (&[slice(MigProfile::G3), slice(MigProfile::G4), gpu], true),
        (&[slice(MigProfile::G4), slice(MigProfile::G4), gpu], false),
        (&[slice(MigProfile::G3), slice(MigProfile::G3), slice(MigProfile::G1), gpu], false),
    ];
    for (shares, holds) in cases {
        let all: Vec<&Share> = shares.iter().collect();
        assert_eq!(new_machine_holds(&two_gpus(), &all), holds, "{shares:?}");
        let mut free = Free::new(&two_gpus());
        assert_eq!(shares.iter().all(|share| free.take(share)), holds, "as machines do");
    }
}

#[test]
fn parts_of_gpus_count_against_a_pool() {
    let placed = |jobs: u64, gpus| {
        let mut shared = spec(HOUR);
        shared.resources.cpu_milli = 1;
        let alternatives =
            vec![spotwise_model::spec::GpuAlternative { accelerator: None, count: 1 }];
        let sharing = SoftSharing::TimeSlicing { jobs: 3 };
        shared.resources.gpus = spotwise_model::spec::GpuRequest::Shared { alternatives, sharing };
        let jobs = (1..=jobs).map(|id| job(id, shared.clone(), 0, 1)).collect();
        let mut input = input(vec![crate::tests::fixture::gpu_offer("a", "A100", 2, 1.0)], jobs);
        let (plan, _) = plan(&input);
        let (cpu_milli, memory_mib) = (99_999, 99_999);
        let pool = PoolName::new("pool");
        input.limits = vec![PoolLimit { pool, cpu_milli, memory_mib, gpus: Some(gpus) }];
        assert_eq!(plan.placements.len(), input.jobs.len());
        (check(&input, &plan), crate::plan(&input).0.placements.len())
    };
    let short = Violation::PoolLimit { pool: PoolName::new("pool"), resource: "gpus" };
    assert_eq!(placed(3, 1), (Ok(()), 3));
    assert_eq!(placed(4, 1), (Err(vec![short.clone()]), 3), "a third more than there is");
    assert_eq!(placed(1, 0), (Err(vec![short]), 0));
}

#[test]
fn spot_is_for_those_who_may_be_interrupted() {
    let wrong = only(|input, plan| {
        with_spec(input, |spec| spec.interruptible = false);
        input.offers[0].key.market.capacity_type = CapacityType::Spot;
        input.instances[0].offer = input.offers[0].key.clone();
        plan.placements[0].offer = input.offers[0].key.clone();
        plan.purchases = [(input.offers[0].key.clone(), 1)].into();
    });
    assert_eq!(wrong, Violation::NotInterruptible(JobId(1)));
}

#[test]
fn a_budget_holds_whatever_the_plan_claims() {
    let wrong = only(|input, plan| {
        input.jobs[0].budget_left = Some(Money::estimate(0.99));
        plan.placements[0].why.expected_cost = Money::ZERO;
    });
    assert_eq!(wrong, Violation::OverBudget(JobId(1)), "two halves of a machine for an hour");
}

#[test]
fn only_a_running_job_is_moved() {
    let live = |stopping| {
        move |input: &mut PlanInput, plan: &mut Plan| {
            let offer = input.offers[0].clone();
            let mut live = crate::tests::fixture::running(input.jobs[0].clone(), &offer, 0, 1);
            live.job.id = JobId(4);
            live.since = at(0);
            live.stopping = stopping;
            input.running.push(live);
            plan.moves.insert(JobId(if stopping { 4 } else { 5 }), PlacementRule::SafetyNet);
        }
    };
    assert_eq!(only(live(true)), Violation::WrongMove(JobId(4)));
    assert_eq!(only(live(false)), Violation::WrongMove(JobId(5)));
}
