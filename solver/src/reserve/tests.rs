use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use spotwise_model::id::PoolName;
use spotwise_model::plan::Reservation;
use spotwise_model::spec::Work;
use spotwise_model::time::after;
use spotwise_model::{InstanceId, JobId, Offer, Plan, WaitReason};

use crate::statement::round::Round;
use crate::tests::fixture::{HOUR, at, input, instance, job, on_demand, spec};
use crate::{PlanInput, PlanJob, PoolLimit, RunningJob, Violation, check, plan};

const MINUTE: u64 = 60;

/// A job of so many thousandths of a CPU, of minutes of work, due in minutes.
fn small(id: u64, cpu_milli: u64, minutes: u64, due: u64) -> PlanJob {
    let mut spec = spec(minutes * MINUTE);
    spec.resources.cpu_milli = cpu_milli;
    spec.resources.memory_mib = 64;
    spec.checkpoint = None;
    let deadline = after(at(0), Duration::from_secs(due * MINUTE));
    PlanJob { deadline, ..job(id, spec, 0, 0) }
}

fn first(mut job: PlanJob, priority: i32) -> PlanJob {
    std::sync::Arc::make_mut(&mut job.spec).priority = priority;
    job
}

fn unknown(mut job: PlanJob) -> PlanJob {
    std::sync::Arc::make_mut(&mut job.spec).work = Work::Unknown;
    job
}

/// Machines for all, and no changeover.
fn offer() -> Offer {
    let mut offer = on_demand("a", 1.0, 100);
    offer.changeover = Duration::from_secs(1);
    offer
}

/// A pool of so many thousandths of a CPU, less what runs.
fn pool(cpu_milli: u64, running: Vec<RunningJob>, jobs: Vec<PlanJob>) -> PlanInput {
    let used: u64 = running.iter().map(|r| r.job.spec.resources.cpu_milli).sum();
    let mut input = input(vec![offer()], jobs);
    input.policy.deadline_margin = Duration::ZERO;
    input.running = running;
    input.limits = vec![PoolLimit {
        pool: PoolName::new("pool"),
        cpu_milli: cpu_milli - used,
        memory_mib: 100_000,
        gpus: None,
    }];
    input
}

/// Began just now.
fn runs(job: PlanJob) -> RunningJob {
    RunningJob {
        progress: job.saved,
        offer: offer().key,
        instances: vec![InstanceId(1_000 + job.id.0)],
        since: at(0),
        stopping: false,
        job,
    }
}

fn decide(input: &PlanInput) -> Plan {
    let (decided, report) = plan(input);
    assert!(report.checked);
    assert_eq!(check(input, &decided), Ok(()));
    assert_eq!(plan(input).0, decided, "the same again");
    decided
}

fn placed(plan: &Plan) -> Vec<u64> {
    plan.placements.iter().map(|placement| placement.job.0).collect()
}

fn of(plan: &Plan, id: u64) -> &Reservation {
    plan.reservations.iter().find(|kept| kept.job == JobId(id)).expect("room is kept for it")
}

/// The small input of the report: a large job of high priority beside a stream of small
/// ones.
fn stream(minutes: u64) -> PlanInput {
    let running = [1, 2, 3].map(|id| runs(small(id, 500, 10 * id, 6_000))).to_vec();
    let large = first(small(7, 2_000, 5, 60), 100);
    pool(2_000, running, vec![large, small(8, 500, minutes, 6_000)])
}

#[test]
fn room_is_kept_for_a_large_job_behind_a_stream_of_small_ones() {
    let round = stream(60);
    let plan = decide(&round);
    assert_eq!(placed(&plan), Vec::<u64>::new());
    let kept = of(&plan, 7);
    // The last of the three ends in half an hour.
    assert_eq!(kept.start, after(at(0), Duration::from_secs(30 * MINUTE + 1)));
    assert_eq!(kept.behind, [JobId(1), JobId(2), JobId(3)]);
    let start = kept.start;
    let behind = kept.behind.clone();
    assert_eq!(plan.waits[&JobId(7)], WaitReason::Reserved { start, behind });
    let WaitReason::RoomKept { job, priority, start: told, .. } = plan.waits[&JobId(8)] else {
        panic!("{:?}", plan.waits);
    };
    assert_eq!((job, priority, told), (JobId(7), 100, start));
}

#[test]
fn who_is_gone_by_then_runs_before_it() {
    // A fifth more than its ten minutes is within the thirty.
    assert_eq!(placed(&decide(&stream(10))), [8]);
    assert_eq!(placed(&decide(&stream(24))), [8]);
    assert_eq!(placed(&decide(&stream(26))), Vec::<u64>::new());
}

#[test]
fn nobody_knows_how_long_a_job_takes_that_says_nothing() {
    let mut round = stream(10);
    round.jobs[1] = unknown(round.jobs[1].clone());
    assert_eq!(placed(&decide(&round)), Vec::<u64>::new());
    // Its timeout says it.
    let mut spec = (*round.jobs[1].spec).clone();
    spec.timeout = Some(Duration::from_secs(20 * MINUTE));
    round.jobs[1].spec = spec.into();
    assert_eq!(placed(&decide(&round)), [8]);
}

#[test]
fn of_equal_priority_the_earlier_deadline_has_the_room() {
    let running = [1, 2, 3].map(|id| runs(small(id, 500, 10, 6_000))).to_vec();
    let round =
        pool(2_000, running.clone(), vec![small(7, 2_000, 5, 60), small(8, 500, 60, 6_000)]);
    assert_eq!(of(&decide(&round), 7).behind.len(), 3);
    let round = pool(2_000, running, vec![small(7, 2_000, 5, 9_000), small(8, 500, 60, 6_000)]);
    assert_eq!(placed(&decide(&round)), [8], "who has less slack goes first");
}

#[test]
fn long_jobs_do_not_outbid_one_that_would_miss_its_deadline() {
    let long: Vec<PlanJob> = (1..=4).map(|id| small(id, 500, 6_000, 9_000)).collect();
    let round = pool(2_000, vec![], [long, vec![small(7, 2_000, 10, 30)]].concat());
    assert_eq!(placed(&decide(&round)), [7]);
}

#[test]
fn memory_is_kept_as_cpus_are() {
    let mut round = stream(60);
    for job in round.jobs.iter_mut().chain(round.running.iter_mut().map(|r| &mut r.job)) {
        let mut spec = (*job.spec).clone();
        spec.resources.memory_mib = spec.resources.cpu_milli;
        spec.resources.cpu_milli = 1;
        job.spec = spec.into();
    }
    round.limits[0].memory_mib = 500;
    round.limits[0].cpu_milli = 100_000;
    let plan = decide(&round);
    assert_eq!((placed(&plan), of(&plan, 7).behind.len()), (vec![], 3));
}

/// Four CPUs a machine, two of them ours, none to be bought: a gang needs both.
#[test]
fn machines_are_kept_for_a_gang() {
    let mut offer = offer();
    offer.free = 0.into();
    let mut gang = spec(5 * MINUTE);
    gang.resources.nodes = 2;
    let gang = PlanJob { deadline: after(at(0), Duration::from_secs(HOUR)), ..job(7, gang, 0, 0) };
    let late = small(8, 1_000, 60, 6_000);
    let soon = small(9, 1_000, 5, 6_000);
    let mut round = input(vec![offer.clone()], vec![gang, late, soon]);
    round.policy.deadline_margin = Duration::ZERO;
    round.running = vec![runs(small(1, 1_000, 10, 6_000)), runs(small(2, 1_000, 20, 6_000))];
    round.instances = vec![instance(1_001, &offer, 1_000), instance(1_002, &offer, 1_000)];
    for machine in &mut round.instances {
        assert!(machine.free.take(&spotwise_model::Share { memory_mib: 64, ..Default::default() }));
    }
    let plan = decide(&round);
    let kept = of(&plan, 7);
    assert_eq!(kept.machines, [InstanceId(1_001), InstanceId(1_002)]);
    assert_eq!(kept.behind, [JobId(1), JobId(2)]);
    assert_eq!(placed(&plan), [9]);
}

#[test]
fn where_all_fit_nothing_is_kept() {
    let jobs: Vec<PlanJob> = (1..=4).map(|id| small(id, 500, 60, 600)).collect();
    let plan = decide(&pool(2_000, vec![], jobs));
    assert_eq!((plan.placements.len(), plan.reservations.len()), (4, 0));
}

#[test]
fn the_audit_sees_who_takes_room_that_is_kept() {
    let round = stream(10);
    let good = decide(&round);
    let mut later = round.clone();
    later.jobs[1] = small(8, 500, 60, 6_000);
    assert_eq!(check(&later, &good), Err(vec![Violation::TakesReserved(JobId(7))]));
}

/// Figures of a job: thousandths of a CPU, minutes of work, hours to its deadline,
/// priority, whether its duration is stated.
type Figures = (u64, u64, u64, i32, bool);

fn any_figures() -> impl Strategy<Value = Figures> {
    let cpu = select(vec![250_u64, 500, 1_000, 2_000, 3_000]);
    let priority = select(vec![0, 0, 0, 50, -10]);
    (cpu, 1..300_u64, 2..200_u64, priority, prop::bool::weighted(0.8))
}

fn of_figures(id: u64, (cpu, minutes, hours, priority, stated): Figures) -> PlanJob {
    let job = first(small(id, cpu, minutes, hours * 60), priority);
    if stated { job } else { unknown(job) }
}

prop_compose! {
    /// Jobs that run on a pool of four CPUs, as far as it goes, and others that wait.
    fn any_crowd()(
        live in vec(any_figures(), 0..6),
        waiting in vec(any_figures(), 1..8),
    ) -> PlanInput {
        let mut left = 4_000;
        let mut running = Vec::new();
        for (id, figures) in (1..).zip(live) {
            if figures.0 <= left {
                left -= figures.0;
                running.push(runs(of_figures(id, figures)));
            }
        }
        let jobs = (11..).zip(waiting).map(|(id, figures)| of_figures(id, figures)).collect();
        // Reservations do not depend on the time that there is.
        PlanInput { time_limit: Duration::ZERO, ..pool(4_000, running, jobs) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whoever goes after a job makes no difference to when room is kept for it.
    #[test]
    fn nobody_of_lower_rank_delays_a_reservation(round in any_crowd()) {
        let plan = decide(&round);
        for kept in plan.reservations.iter().filter(|kept| !kept.by_choice) {
            let job = round.jobs.iter().find(|job| job.id == kept.job).unwrap();
            let rank = |job: &PlanJob| {
                let statement = Round::new(&round);
                let demand = statement.demands.iter().find(|demand| demand.job.id == job.id).unwrap();
                demand.rank()
            };
            let mine = rank(job);
            let before = round.jobs.iter().filter(|other| rank(other) <= mine).cloned();
            let alone = PlanInput { jobs: before.collect(), ..round.clone() };
            let without = decide(&alone);
            let start = without.reservations.iter().find(|other| other.job == kept.job);
            prop_assert_eq!(start.map(|kept| kept.start), Some(kept.start));
        }
    }

    /// At its start a job that has room kept finds it, whatever the plan lends out: counted
    /// by hand.
    #[test]
    fn what_is_lent_is_back_in_time(round in any_crowd()) {
        let plan = decide(&PlanInput { time_limit: Duration::from_secs(1), ..round.clone() });
        for kept in &plan.reservations {
            let mut left = round.limits[0].cpu_milli as i64;
            let span = |job: &PlanJob| match job.spec.work {
                Work::Duration { default: Some(span), .. } => span,
                _ => Duration::MAX,
            };
            for one in &round.running {
                let known = span(&one.job) != Duration::MAX;
                let ends = after(at(0), Duration::from_secs(1).saturating_add(span(&one.job)));
                if known && ends <= kept.start {
                    left += one.job.spec.resources.cpu_milli as i64;
                }
            }
            // Whose end nobody knows may be expected to be over: then nothing is claimed.
            if round.running.iter().any(|one| span(&one.job) == Duration::MAX) {
                continue;
            }
            for placed in &plan.placements {
                let job = round.jobs.iter().find(|job| job.id == placed.job).unwrap();
                let latest = span(job).saturating_add(Duration::from_secs(1));
                let latest = Duration::try_from_secs_f64(latest.as_secs_f64() * 1.2).unwrap_or(Duration::MAX);
                if latest == Duration::MAX || after(at(0), latest) > after(kept.start, Duration::from_secs(2)) {
                    left -= job.spec.resources.cpu_milli as i64;
                }
            }
            prop_assert!(left >= kept.share.cpu_milli as i64 || kept.by_choice, "{left} for {kept:?}");
        }
    }

    #[test]
    fn where_everybody_fits_the_plan_is_what_it_was(round in any_crowd()) {
        let asked: u64 = round.jobs.iter().map(|job| job.spec.resources.cpu_milli).sum();
        let wide = PlanInput { limits: Vec::new(), ..round.clone() };
        let mut limit = round.limits[0].clone();
        limit.cpu_milli = asked;
        let just = PlanInput { limits: vec![limit], ..round };
        let (wide, just) = (decide(&wide), decide(&just));
        prop_assert_eq!(just.reservations.len(), 0);
        prop_assert_eq!(wide.placements.len(), just.placements.len());
    }
}
