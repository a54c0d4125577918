//! `solver_pathological` of the catalogue of faults: rounds that no sane market
//! makes. Whatever a round holds, the answer is a plan that passes the audit.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use spotwise_model::attempt::Progress;
use spotwise_model::gpu::MigProfile;
use spotwise_model::id::{Accelerator, PoolName};
use spotwise_model::spec::{Class, GpuAlternative, GpuRequest, Work};
use spotwise_model::time::after;
use spotwise_model::{JobSpec, Measured, Money, NodeShape, Offer, Price};

use crate::tests::fixture::{self, at};
use crate::tests::large::rounds;
use crate::tests::properties::any_round;
use crate::{ClassShare, PlanInput, PlanJob, PlanReport, PoolLimit, check, plan, plan_until};

/// Longer than any life, shorter than what arithmetic on times can bear.
const AGES: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Something that is wrong with one offer.
fn spoil_offer(offer: &mut Offer, how: u8, first: &Offer) {
    match how {
        0 => offer.price = Price::from_micros_per_hour(-5_000_000),
        1 => offer.on_demand = Price::from_micros_per_hour(-1),
        2 => offer.price = Price::from_micros_per_hour(i64::MAX),
        3 => offer.hazard_per_hour = f64::NAN,
        4 => offer.hazard_per_hour = f64::INFINITY,
        5 => offer.hazard_per_hour = f64::NEG_INFINITY,
        6 => offer.free = u32::MAX.into(),
        7 => offer.shape = NodeShape::default(),
        8 => offer.changeover = AGES,
        9 => offer.spell_since = after(at(0), AGES),
        // A tie in everything but the name.
        _ => *offer = Offer { key: offer.key.clone(), ..first.clone() },
    }
}

/// Something that is wrong with one job.
fn spoil_job(job: &mut PlanJob, how: u8, first: &PlanJob) {
    let mut spec: JobSpec = (*job.spec).clone();
    let lasts = |span| Work::Duration { default: Some(span), by_accelerator: Default::default() };
    match how {
        0 => job.deadline = at(-1_000),
        1 => job.deadline = after(at(0), AGES),
        2 => job.submitted = after(job.deadline, Duration::from_secs(1)),
        3 => spec.work = lasts(Duration::ZERO),
        4 => spec.work = lasts(AGES),
        5 => job.measured = Measured::once(None, Duration::ZERO),
        6 => job.saved = Progress { done_ppm: u32::MAX, ..Progress::default() },
        7 => job.budget_left = Some(Money::from_micros(-1)),
        8 => job.budget_left = Some(Money::from_micros(i64::MAX)),
        9 => spec.resources.cpu_milli = u64::MAX,
        10 => spec.resources.nodes = 1_000,
        11 => spec.resources.memory_mib = u64::MAX,
        12 => spec.priority = i32::MIN,
        // A tie in everything but the number.
        _ => *job = PlanJob { id: job.id, ..first.clone() },
    }
    if how < 13 {
        job.spec = Arc::new(spec);
    }
}

/// Something that is wrong with the round as a whole.
fn spoil_round(input: &mut PlanInput, how: u8) {
    match how {
        0 => input.time_limit = Duration::ZERO,
        1 => input.time_limit = Duration::from_millis(1),
        2 => input.limits.iter_mut().for_each(|limit| (limit.cpu_milli, limit.gpus) = (0, Some(0))),
        3 => input.limits.iter_mut().for_each(|limit| limit.cpu_milli = u64::MAX),
        4 => {
            let (spot_hours, on_demand_hours) = (f64::NAN, f64::INFINITY);
            let share = ClassShare { spot_hours, on_demand_hours, ..ClassShare::default() };
            input.shares = Class::ALL.into_iter().map(|class| (class, share.clone())).collect();
        }
        5 => input.offers.iter_mut().for_each(|offer| offer.free = 0.into()),
        6 => input.offers.clear(),
        _ => input.now = after(at(0), AGES),
    }
}

prop_compose! {
    fn spoilt_round()(
        mut input in any_round(7, 6),
        offers in prop::collection::vec((0..8_usize, 0..11_u8), 0..4),
        jobs in prop::collection::vec((0..8_usize, 0..14_u8), 0..4),
        whole in prop::option::weighted(0.4, 0..8_u8),
        ties in select(vec![false, false, false, true]),
    ) -> PlanInput {
        let (first_offer, first_job) = (input.offers.first().cloned(), input.jobs.first().cloned());
        for (place, how) in offers {
            if let (Some(offer), Some(first)) = (input.offers.get_mut(place), &first_offer) {
                spoil_offer(offer, how, first);
            }
        }
        for (place, how) in jobs {
            if let (Some(job), Some(first)) = (input.jobs.get_mut(place), &first_job) {
                spoil_job(job, how, first);
            }
        }
        if let (true, Some(offer), Some(job)) = (ties, &first_offer, &first_job) {
            input.offers.iter_mut().for_each(|other| spoil_offer(other, u8::MAX, offer));
            input.jobs.iter_mut().for_each(|other| spoil_job(other, u8::MAX, job));
        }
        if let Some(how) = whole {
            spoil_round(&mut input, how);
        }
        input
    }
}

fn answered(input: &PlanInput) -> PlanReport {
    let (plan, report) = plan(input);
    assert_eq!(check(input, &plan), Ok(()));
    assert_eq!(plan.placements.len() + plan.waits.len(), input.jobs.len());
    report
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn solver_pathological(input in spoilt_round()) {
        let report = answered(&input);
        prop_assert!(report.checked, "the first answer passes: {input:?}");
    }
}

/// A hundred thousand jobs that are all alike, two hundred offers, no time: the
/// answer is greedy's, and passes.
#[test]
fn solver_pathological_counts_without_time() {
    let mut input = rounds::round(100_000, 200, 59);
    let first = input.jobs[0].clone();
    for job in &mut input.jobs {
        *job = PlanJob { id: job.id, quoted: true, ..first.clone() };
    }
    input.time_limit = Duration::ZERO;
    let report = answered(&input);
    assert!(report.checked);
    assert_eq!(report.objective, report.greedy_objective);
}

/// The clock of whoever asks ends a round wherever it is: after the first, the
/// second, … question the best plan so far passes, and is no worse than greedy's.
#[test]
fn solver_pathological_timeouts() {
    let input = rounds::round(400, 40, 59);
    let asked = Cell::new(0_u32);
    let until = |most: u32| {
        asked.set(0);
        let (plan, report) = plan_until(&input, &|| {
            asked.set(asked.get() + 1);
            asked.get() > most
        });
        assert_eq!(check(&input, &plan), Ok(()), "after {most} questions");
        assert!(report.checked && report.objective <= report.greedy_objective);
    };
    until(u32::MAX);
    let all = asked.get();
    assert!(all > 3, "it is asked {all} times only");
    for most in (0..3).chain((3..all).step_by(all as usize / 8 + 1)) {
        until(most);
    }
}

/// A start of a hundred years, where expectations end after ten. Three want the pool's
/// only GPU, and two of them get it later.
#[test]
fn room_is_reserved_beyond_the_horizon() {
    let job = |id: u64, gpus: GpuRequest, interruptible: bool, submitted: i64| {
        let mut spec = fixture::spec(600);
        spec.checkpoint = None;
        spec.resources.gpus = gpus;
        spec.resources.cpu_milli = 1;
        spec.resources.memory_mib = 1;
        spec.interruptible = interruptible;
        fixture::job(id, spec, submitted, 0)
    };
    let slice = || GpuRequest::Slice { profile: MigProfile::G7, accelerator: None };
    let whole = GpuAlternative { accelerator: None, count: 1 };
    let jobs = vec![
        job(1, slice(), true, -1),
        job(2, GpuRequest::None, false, 0),
        job(3, GpuRequest::Whole { alternatives: vec![whole] }, true, -1),
        job(4, slice(), true, -1),
    ];
    let mut offer = fixture::on_demand("z0", 0.0, 2);
    offer.shape = NodeShape {
        accelerator: Some(Accelerator::canonical("A100")),
        gpus: 2,
        gpu_memory_mib: 40_960,
        cpu_milli: 3_000,
        memory_mib: 4_096,
    };
    offer.changeover = AGES;
    let mut round = fixture::input(vec![offer], jobs);
    round.limits = vec![PoolLimit {
        pool: PoolName::new("pool"),
        cpu_milli: 1_000,
        memory_mib: 1_024,
        gpus: Some(1),
    }];
    let (decided, report) = plan(&round);
    assert_eq!(check(&round, &decided), Ok(()));
    assert!(report.checked && !decided.placements.is_empty());
}
