//! What holds under every limit on machines, tried on random small rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use spotwise_model::id::PoolName;
use spotwise_model::plan::{Method, Target};
use spotwise_model::{Offer, OfferKey, Plan, WaitReason};

use super::limit;
use crate::audit::worth::bound;
use crate::room::draft::objective;
use crate::search::greedy::greedy;
use crate::search::program::solve;
use crate::statement::round::Round;
use crate::tests::brute::Brute;
use crate::tests::properties::any_round;
use crate::{Guide, PlanInput, check, fill, plan, worth};

prop_compose! {
    /// Any round under limits that overlap: some on one offer alone, some cut below their use.
    fn any_limited(jobs: usize, offers: usize)(
        input in any_round(jobs, offers),
        limits in vec(
            (vec(select(vec![0_u64, 0, 1, 1, 2, 3, 8]), offers), 0..9_u64, 0..14_u64),
            1..4,
        ),
    ) -> PlanInput {
        let limits = limits.into_iter().map(|(takes, used, of)| {
            let takes: Vec<(&Offer, u64)> = input.offers.iter().zip(takes).collect();
            limit(used, of, &takes)
        });
        PlanInput { machine_limits: limits.collect(), ..input.clone() }
    }
}

/// Counted by the placements alone.
fn exceeds(input: &PlanInput, plan: &Plan) -> bool {
    let mut bought: BTreeMap<&OfferKey, u64> = BTreeMap::new();
    for placement in &plan.placements {
        for target in &placement.targets {
            if let Target::New(index) = target {
                let count = bought.entry(&placement.offer).or_insert(0);
                *count = (*count).max(u64::from(*index) + 1);
            }
        }
    }
    input.machine_limits.iter().any(|limit| {
        let takes = bought.iter().map(|(key, n)| limit.takes.get(*key).copied().unwrap_or(0) * n);
        let takes: u64 = takes.sum();
        takes > 0 && limit.state.used + takes > limit.state.of
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn no_plan_exceeds_a_limit(input in any_limited(7, 6)) {
        let (decided, report) = plan(&input);
        prop_assert_eq!(check(&input, &decided), Ok(()));
        prop_assert!(report.checked, "the first answer passes");
        prop_assert!(!exceeds(&input, &decided));
        prop_assert!(report.objective <= report.greedy_objective);
        let told = worth(&input, &decided, &report.prices);
        let slack = 2e-6 * report.objective.abs().max(1.0);
        let cost = told.cost.expect("every placement is on what the job may take");
        prop_assert!((cost - report.objective).abs() <= slack, "{cost} is not {}", report.objective);
        prop_assert!(report.bound <= cost + slack, "{} is no bound of {cost}", report.bound);
        if let (true, Some(bound)) = (report.columns > 0, told.bound) {
            prop_assert!(bound <= cost + slack, "{bound} is no bound of {cost}");
        }
        for why in decided.waits.values() {
            if let WaitReason::LimitReached { limit, needs, .. } = why {
                prop_assert!(*needs > 0 && (limit.used + needs > limit.of || input.jobs.iter().any(
                    |job| job.spec.resources.nodes > 1)), "{why:?}");
            }
        }
        let filled = fill(&input, &Guide::of(&decided, &report), &[PoolName::new("pool")].into());
        prop_assert_eq!(check(&input, &filled), Ok(()));
        prop_assert!(!exceeds(&input, &filled));
        for by_baseline in [crate::baseline::greedy(&input), crate::baseline::uniform_progress(&input)] {
            prop_assert!(!exceeds(&input, &by_baseline));
        }
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn under_limits_what_is_proven_is_the_best_there_is(input in any_limited(3, 3)) {
        let (_, report) = plan(&input);
        let round = Round::new(&input);
        let best = Brute::new(&round).best(&round);
        let slack = 2e-6 * best.abs().max(1.0);
        prop_assert!(report.objective >= best - slack, "{} beats all: {best}", report.objective);
        let proven = bound(&round, &report.prices).unwrap_or(f64::NEG_INFINITY);
        prop_assert!(proven <= best + slack, "the prices prove {proven}, {best} is possible");
        if !round.reserved.kept.is_empty() {
            return Ok(());
        }
        let start = greedy(&round);
        let limit = Duration::from_secs(10);
        let by_program = solve(&round, &start, objective(&round, &start), limit);
        let by_program = by_program.and_then(|answer| answer.bound);
        prop_assert!(by_program.unwrap_or(0.0) <= best + slack, "{by_program:?} is no bound of {best}");
        if let Method::Proven { gap } = report.method {
            let proven = report.objective * (1.0 - gap);
            prop_assert!(proven <= best + slack, "{proven} is proven, {best} is possible");
        }
    }

    #[test]
    fn a_limit_that_holds_nobody_up_changes_nothing(input in any_round(7, 6)) {
        let all: Vec<(&Offer, u64)> = input.offers.iter().map(|offer| (offer, 3)).collect();
        let wide = PlanInput { machine_limits: vec![limit(7, 1_000, &all)], ..input.clone() };
        let short = |input: &PlanInput| PlanInput { time_limit: Duration::ZERO, ..input.clone() };
        prop_assert_eq!(plan(&short(&wide)).0, plan(&short(&input)).0);
        let (with, without) = (plan(&wide).1, plan(&input).1);
        let slack = 2e-6 * without.objective.abs().max(1.0);
        if matches!((with.method, without.method), (Method::Proven { gap: 0.0 }, Method::Proven { gap: 0.0 })) {
            prop_assert!((with.objective - without.objective).abs() <= slack);
        }
    }
}
