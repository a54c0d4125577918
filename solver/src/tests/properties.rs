//! What holds for every round, tried on random small ones.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use spotwise_model::attempt::Progress;
use spotwise_model::gpu::MigProfile;
use spotwise_model::id::{Accelerator, InstanceType, PoolName};
use spotwise_model::plan::Method;
use spotwise_model::resources::GpuSlot;
use spotwise_model::sharing::SoftSharing;
use spotwise_model::spec::{GpuAlternative, GpuRequest};
use spotwise_model::{Money, NodeShape, Offer, Price};

use crate::audit::worth::bound;
use crate::room::draft::objective;
use crate::search::greedy::greedy;
use crate::search::program::solve;
use crate::statement::round::Round;
use crate::tests::brute::Brute;
use crate::tests::fixture::{
    HOUR, committed, input, instance, job, on_demand, reserved, running, spec, spot,
};
use crate::{PlanInput, PlanJob, PoolLimit, check, plan, worth};

prop_compose! {
    fn any_offer()(
        kind in select(vec![0_u8, 0, 0, 1, 2, 2, 2]),
        accelerator in select(vec![None, Some("A100"), Some("A100"), Some("V100")]),
        gpus in select(vec![0_u32, 1, 2, 4, 4]),
        cpu in select(vec![0_u64, 3, 6, 8, 16]),
        memory in select(vec![0_u64, 4, 16, 16, 32]),
        dollars in select(vec![0.0, 0.3, 1.0, 1.1, 2.5, 9.0]),
        free in select(vec![0_u32, 1, 2, 4]),
        hazard in prop_oneof![
            9 => select(vec![0.0, 0.05, 0.2, 0.6]),
            1 => select(vec![40.0, -1.0, f64::NAN, f64::INFINITY]),
        ],
        changeover in select(vec![0_u64, 60, 900]),
        paid_hours in prop::option::of(-1..30_i64),
    ) -> Offer {
        let mut offer = match kind {
            0 => on_demand("z", dollars, free),
            1 => reserved("z", dollars, free),
            _ => spot("z", dollars, free),
        };
        offer.shape = NodeShape {
            accelerator: accelerator.map(Accelerator::new),
            gpus,
            gpu_memory_mib: 40_960,
            cpu_milli: cpu * 1_000,
            memory_mib: memory * 1_024,
        };
        offer.hazard_per_hour = hazard;
        offer.changeover = Duration::from_secs(changeover);
        if let (1, Some(hours)) = (kind, paid_hours) {
            offer = committed(offer, hours);
            offer.on_demand = Price::from_micros_per_hour(2_000_000);
        }
        offer
    }
}

fn shared(alternative: GpuAlternative, sharing: SoftSharing) -> GpuRequest {
    GpuRequest::Shared { alternatives: vec![alternative], sharing }
}

const fn slice(profile: MigProfile) -> GpuRequest {
    GpuRequest::Slice { profile, accelerator: None }
}

fn any_gpus() -> impl Strategy<Value = GpuRequest> {
    let one = |name: Option<&str>, count| GpuAlternative {
        accelerator: name.map(Accelerator::new),
        count,
    };
    select(vec![
        GpuRequest::None,
        GpuRequest::None,
        GpuRequest::Whole { alternatives: vec![one(None, 1)] },
        GpuRequest::Whole { alternatives: vec![one(Some("V100"), 2), one(Some("A100"), 1)] },
        slice(MigProfile::G1),
        slice(MigProfile::G1Double),
        slice(MigProfile::G2),
        slice(MigProfile::G3),
        slice(MigProfile::G4),
        slice(MigProfile::G7),
        shared(one(Some("A100"), 1), SoftSharing::Mps { memory_mib: 20_480 }),
        shared(one(None, 1), SoftSharing::Mps { memory_mib: 12_000 }),
        shared(one(None, 1), SoftSharing::TimeSlicing { jobs: 3 }),
    ])
}

prop_compose! {
    fn any_job()(
        gpus in any_gpus(),
        (cpu, memory) in (1..5_000_u64, 1..6_000_u64),
        nodes in select(vec![1_u32, 1, 1, 2, 3]),
        minutes in select(vec![10_u64, 60, 70, 240, 1_500]),
        (submitted, deadline) in (-12..1_i64, prop_oneof![1 => -3..4_i64, 4 => 4..60_i64]),
        (interruptible, saving) in (prop::bool::weighted(0.8), prop::bool::weighted(0.8)),
        done in 0..=100_u32,
        budget in prop::option::weighted(0.2, 0.0..20.0_f64),
        priority in select(vec![0, 0, 50, -100]),
    ) -> PlanJob {
        let mut spec = spec(minutes * 60);
        spec.resources.gpus = gpus;
        spec.resources.cpu_milli = cpu;
        spec.resources.memory_mib = memory;
        spec.resources.nodes = nodes;
        spec.interruptible = interruptible;
        spec.priority = priority;
        if !saving {
            spec.checkpoint = None;
        }
        PlanJob {
            saved: Progress { done_ppm: done * 10_000, ..Progress::default() },
            budget_left: budget.map(Money::estimate),
            ..job(0, spec, submitted, deadline)
        }
    }
}

prop_compose! {
    pub(crate) fn any_round(jobs: usize, offers: usize)(
        jobs in vec(any_job(), jobs / 2..=jobs),
        offers in vec(any_offer(), 1..=offers),
        identical in 0..2_usize,
        machines in vec((0..8_usize, 0..5_u64, vec((any_gpus(), 0..2_u32, 0..8_u8), 0..4)), 0..3),
        live in vec((any_job(), 0..8_usize, -5..1_i64), 0..3),
        limit in prop::option::weighted(0.3, (0..20_u64, 0..30_u64, prop::option::of(0..4_u32))),
    ) -> PlanInput {
        let mut jobs = jobs;
        // Equal jobs become one column with a count.
        jobs.extend(jobs.first().cloned().into_iter().cycle().take(identical).collect::<Vec<_>>());
        for (i, job) in jobs.iter_mut().enumerate() {
            job.id = spotwise_model::JobId(i as u64 + 1);
        }
        let mut offers = offers;
        for (i, offer) in offers.iter_mut().enumerate() {
            offer.key.market.zone = spotwise_model::id::Zone::new(format!("z{i}"));
        }
        let mut input = crate::tests::fixture::input(offers, jobs);
        for (i, (at, cpu, parts)) in machines.into_iter().enumerate() {
            if let Some(offer) = input.offers.get(at) {
                let cpu_milli = (cpu * 1_000).min(offer.shape.cpu_milli);
                let mut machine = instance(i as u64 + 1, offer, cpu_milli);
                // Something is on its GPUs too, where it goes there at all.
                for (gpus, gpu, start) in parts {
                    let mut on_it = spec(1);
                    (on_it.resources.cpu_milli, on_it.resources.memory_mib) = (0, 0);
                    on_it.resources.gpus = gpus;
                    let share = on_it.share_on(offer.shape.accelerator.as_ref());
                    let assignment = Some(GpuSlot { gpu, start });
                    let _ = share.is_some_and(|share| machine.free.take_at(&share, assignment));
                }
                input.instances.push(machine);
            }
        }
        for (i, (job, at, since)) in live.into_iter().enumerate() {
            if let Some(offer) = input.offers.get(at) {
                let job = PlanJob { id: spotwise_model::JobId(100 + i as u64), ..job };
                input.running.push(running(job, offer, since, 40));
            }
        }
        input.limits.extend(limit.map(|(cpu, memory, gpus)| PoolLimit {
            pool: PoolName::new("pool"),
            cpu_milli: cpu * 1_000,
            memory_mib: memory * 1_024,
            gpus,
        }));
        input
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn every_plan_passes_the_audit_and_is_no_worse_than_greedy(input in any_round(7, 6)) {
        let (plan, report) = plan(&input);
        prop_assert_eq!(check(&input, &plan), Ok(()));
        prop_assert!(report.checked, "the first answer passes");
        prop_assert!(report.objective <= report.greedy_objective);
        prop_assert!(report.objective.is_finite());
        prop_assert_eq!(plan.placements.len() + plan.waits.len(), input.jobs.len());
        let worth = worth(&input, &plan, &report.prices);
        let slack = 2e-6 * report.objective.abs().max(1.0);
        let cost = worth.cost.expect("every placement is on what the job may take");
        prop_assert!((cost - report.objective).abs() <= slack, "{cost} is not {}", report.objective);
        if report.columns > 0 {
            let bound = worth.bound.expect("the prices are a certificate");
            prop_assert!(bound <= cost + slack, "{bound} is no bound of {cost}");
        }
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn the_same_round_gives_the_same_plan(input in any_round(6, 5)) {
        prop_assert_eq!(plan(&input), plan(&input));
    }

    #[test]
    fn without_time_greedy_answers(input in any_round(7, 6)) {
        let input = PlanInput { time_limit: Duration::ZERO, ..input };
        let (plan, report) = plan(&input);
        prop_assert_eq!(check(&input, &plan), Ok(()));
        prop_assert!(matches!(report.method, Method::Greedy | Method::Trivial) || report.columns == 0);
        prop_assert!(report.checked);
    }

    #[test]
    fn what_is_proven_is_the_best_there_is(input in any_round(3, 3)) {
        let (_, report) = plan(&input);
        let round = Round::new(&input);
        let best = Brute::new(&round).best(&round);
        let slack = 2e-6 * best.abs().max(1.0);
        prop_assert!(report.objective >= best - slack, "{} beats all: {best}", report.objective);
        let proven = bound(&round, &report.prices).unwrap_or(f64::NEG_INFINITY);
        prop_assert!(proven <= best + slack, "the prices prove {proven}, {best} is possible");
        let start = greedy(&round);
        // Brute force keeps no room: with reservations less is possible than it finds.
        if !round.reserved.kept.is_empty() {
            return Ok(());
        }
        let limit = Duration::from_secs(10);
        let by_program = solve(&round, &start, objective(&round, &start), limit);
        let by_program = by_program.and_then(|answer| answer.bound);
        prop_assert!(by_program.unwrap_or(0.0) <= best + slack, "{by_program:?} is no bound of {best}");
        if let Method::Proven { gap } = report.method {
            let proven = report.objective * (1.0 - gap);
            prop_assert!(proven <= best + slack, "{proven} is proven, {best} is possible");
            if gap == 0.0 {
                prop_assert!(report.objective <= best + slack, "{} > {best}", report.objective);
            }
        }
    }
}

prop_compose! {
    /// Jobs that must go, on whole machines or parts of them; on-demand in two
    /// zones, more of it than they need.
    fn any_must_go()(
        jobs in vec((1..60_u64, select(vec![1_000_u64, 2_000, 4_000, 4_000])), 1..7),
        cheaper in 1.0..3.0_f64,
    ) -> PlanInput {
        let jobs = jobs.into_iter().zip(1..).map(|((hours, cpu), id)| {
            let mut spec = spec(hours * HOUR);
            spec.interruptible = false;
            spec.resources.cpu_milli = cpu;
            job(id, spec, 0, 1_000)
        });
        let mut dear = on_demand("b", 3.0, 9);
        dear.key.market.instance_type = InstanceType::new("m.dear");
        input(vec![on_demand("a", cheaper, 9), dear], jobs.collect())
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn with_a_commitment_no_plan_is_dearer_than_without(
        without in any_must_go(),
        assignments in 1..4_u32,
        dollars in 0.1..9.0_f64,
        until in 0..80_i64,
        zone in select(vec!["a", "b", "c"]),
    ) {
        let mut paid = committed(reserved(zone, dollars, assignments), until);
        paid.on_demand = Price::from_micros_per_hour(3_000_000);
        let mut with = without.clone();
        with.offers.insert(0, paid);
        let ((first, bought), (second, both)) = (plan(&without), plan(&with));
        prop_assert_eq!(first.placements.len(), without.jobs.len());
        prop_assert_eq!(second.placements.len(), without.jobs.len());
        let gap = match both.method {
            Method::Proven { gap } => gap,
            _ => 0.0,
        };
        let least = both.objective * (1.0 - gap);
        prop_assert!(least <= bought.objective + 1e-4, "{} with, {} without", both.objective, bought.objective);
        // Jobs of whole machines that are over in time fill what is paid first.
        let whole = without.jobs.iter().all(|job| job.spec.resources.cpu_milli == 4_000);
        if whole && until > 65 {
            let used = second.placements.iter().filter(|placed| {
                placed.offer.market.capacity_type == spotwise_model::CapacityType::Reserved
            });
            prop_assert_eq!(used.count(), without.jobs.len().min(assignments as usize));
        }
    }
}
