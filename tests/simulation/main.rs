//! The very phases of the scheduler on virtual time, against a simulated pool
//! with its own meter. One seed is one world: the same seed, the same history.

#![allow(clippy::print_stdout, reason = "a test reports its figures")]

mod books;
mod budgets;
mod chaos;
mod named;
mod regressions;
mod room;
mod steps;
mod world;

use std::collections::BTreeMap;

use spotwise_model::{JobState, Money};
use world::World;

/// Worlds in a normal test; `SEEDS=…` runs another number of them,
/// `SEED_BASE=…` begins elsewhere.
const SEEDS: u64 = 24;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_world_ends_with_every_job_done_and_every_second_paid_once() {
    let base = number("SEED_BASE", 1);
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in base..base + number("SEEDS", SEEDS) {
        // Printed only when the test fails; replay with SEED_BASE=<seed> SEEDS=1.
        println!("seed {seed}");
        let mut world = World::new(seed);
        world.run_to_the_end();
        world.check_books();
        assert!(
            world.committed.jobs.values().all(|job| job.state.is_terminal()),
            "a job is still open"
        );
        for (what, count) in world.happened() {
            *totals.entry(what).or_default() += count;
        }
    }
    println!("{totals:?}");
    for what in [
        "succeeded",
        "interrupted",
        "lost",
        "cancelled",
        "resumed",
        "on-demand",
        "waived",
        "committed",
    ] {
        assert!(totals.get(what).is_some_and(|n| *n > 0), "no world had: {what}");
    }
}

#[test]
fn one_seed_is_one_history() {
    let history = |seed| {
        let mut world = World::new(seed);
        world.run_to_the_end();
        world.committed.history.clone()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

/// A job that could have met its deadline on on-demand when it was submitted
/// does meet it, whatever the spot market does. Worlds without worker deaths
/// and without limits of the pool: those two may cost any job its deadline.
#[test]
fn deadlines_are_met_when_on_demand_could_have_met_them() {
    for seed in 1..=12 {
        println!("seed {seed}");
        let mut world = World::calm(seed);
        world.run_to_the_end();
        for job in world.committed.jobs.values() {
            if matches!(job.state, JobState::Cancelled { .. }) {
                continue;
            }
            let JobState::Succeeded { at } = job.state else {
                panic!("{} ended as {:?}", job.id, job.state);
            };
            let history = || world.history_of(job.id).join("\n");
            assert!(
                at <= job.deadline,
                "{} was done at {at}, due {}\n{}",
                job.id,
                job.deadline,
                history()
            );
        }
    }
}

#[test]
fn a_budget_is_never_overrun() {
    let mut stopped = 0;
    for seed in 1..=12 {
        println!("seed {seed}");
        let mut world = World::with_budgets(seed);
        world.run_steps(3_000);
        for job in world.committed.jobs.values() {
            let spent: Money = world.spent_on(job.id);
            let budget = job.spec.budget.expect("every job of this world has one");
            assert!(spent <= budget, "{} spent {spent:?} of {budget:?}", job.id);
            stopped += u64::from(matches!(job.state, JobState::Held { .. }));
        }
        world.check_books();
    }
    assert!(stopped > 0, "no budget was ever used up");
}

/// `make simulate`: worlds that try to break every promise.
#[test]
fn no_world_breaks_a_promise() {
    let (base, seeds) = (number("SEED_BASE", 1), number("SEEDS", 24));
    if number("TRACE", 0) > 0 {
        return show(base);
    }
    let report = chaos::runner::run(base, seeds, number("DAYS", 30));
    println!("{}\n{}", report.line(), report.table());
    if let Some((scenario, what)) = report.broken.first() {
        for (scenario, what) in &report.broken {
            println!("seed {}: {what}", scenario.seed);
        }
        println!("seed {} breaks: {what}\n{}", scenario.seed, chaos::runner::replay(scenario));
        let (least, what) = chaos::runner::shrink(scenario);
        println!("the smallest that breaks: {what}\n{}", chaos::runner::replay(&least));
        panic!("{} of {seeds} worlds broke a promise", report.broken.len());
    }
    assert!(seeds < 24 || report.mixed() > 0, "no GPU ever had two profiles on it");
    if seeds >= 100 {
        assert!(report.silent().is_empty(), "never fired: {:?}", report.silent());
    }
}

/// One world with the trace of its last events.
fn show(seed: u64) {
    let mut scenario = chaos::scenario::Scenario::of(seed, number("DAYS", 30));
    scenario.submissions = number("JOBS", scenario.submissions as u64) as usize;
    scenario.nodes = number("NODES", scenario.nodes as u64) as usize;
    if let Ok(names) = std::env::var("FAULTS") {
        let named = |kind: &&chaos::faults::Kind| names.split(',').any(|name| name == kind.name());
        scenario.kinds = chaos::faults::Kind::ALL.iter().filter(named).copied().collect();
    }
    let mut sim = chaos::sim::Sim::new(scenario, true);
    sim.keeps_all = number("TRACE", 0) > 1;
    let verdict = sim.run();
    for line in sim.trace.iter().flatten() {
        println!("{line}");
    }
    println!("{verdict:?}\n{:?}", sim.tally);
    assert_eq!(verdict, Ok(()));
}
