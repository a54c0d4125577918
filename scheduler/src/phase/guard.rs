//! Stops what must not go on: used-up budgets, timeouts, broken gangs, machines
//! that nobody uses.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::attempt::{Exit, StopOrder, StopReason};
use spotwise_model::instance::EndedBy;
use spotwise_model::time::between;
use spotwise_model::{Attempt, AttemptId, InstanceState, Job, Money, Now, Price};

use super::ending::{self, EXIT_REQUEUE};
use super::observe::BUDGET_STOP_MARGIN;
use crate::config::Config;
use crate::core::{Change, State};

/// By the next round at the latest this much more is spent (wall time): market
/// time moves in whole seconds.
const NEXT_LOOK: Duration = Duration::from_secs(1);

/// Orders attempts to end that are over budget or over time, or whose gang is
/// broken. `accrued` is what each unsettled attempt has cost so far.
pub fn guard(
    state: &State,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Vec<Change> {
    let live = state.attempts.values().filter(|a| a.state.is_live() && a.stop.is_none());
    live.filter_map(|attempt| {
        let job = state.jobs.get(&attempt.id.job)?;
        let (reason, words) = offence(state, job, attempt, accrued, config, now)?;
        let order = StopOrder { reason, at: now, reclaim_wall: None };
        Some(ending::order_stop(attempt, order, &words))
    })
    .flatten()
    .collect()
}

fn offence(
    state: &State,
    job: &Job,
    attempt: &Attempt,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Option<(StopReason, String)> {
    if let (Some(timeout), Some(started)) = (job.spec.timeout, attempt.state.started())
        && between(started.market, now.market) >= timeout
    {
        let words =
            format!("it has run for its timeout of {}", spotwise_model::time::human(timeout));
        return Some((StopReason::TimedOut, words));
    }
    let failed = |exit: &Exit| !matches!(exit, Exit::Code(0 | EXIT_REQUEUE));
    let mut exits = attempt.nodes.iter().filter_map(|node| node.exited.map(|(_, exit)| exit));
    if attempt.nodes.len() > 1 && exits.any(|exit| failed(&exit)) {
        return Some((StopReason::GangBroken, "a member of its gang failed".to_owned()));
    }
    let budget = job.spec.budget?;
    let running: Money =
        state.attempts_of(job.id).filter_map(|a| accrued.get(&a.id)).copied().sum();
    let stopping = cost_of_stopping(state, job, attempt, config);
    (job.spent + running + stopping >= budget).then(|| {
        let words = format!(
            "its budget of {} is used up: {} spent, {} to stop it cleanly",
            budget.human(),
            (job.spent + running).human(),
            stopping.human()
        );
        (StopReason::Budget, words)
    })
}

/// What the attempt costs at most from the order to its end, at the price that
/// its machines have now (or had at launch, where the offer is gone).
fn cost_of_stopping(state: &State, job: &Job, attempt: &Attempt, config: &Config) -> Money {
    let grace = job.spec.checkpoint.as_ref().map_or(config.default_grace, |c| c.grace);
    let market: Duration = (grace + BUDGET_STOP_MARGIN + NEXT_LOOK).saturating_mul(config.speed);
    let offer = state.seen.offers.iter().find(|offer| offer.key == attempt.offer);
    let machines = attempt.instances.iter().filter_map(|id| state.instances.get(id));
    let price: i64 = machines
        .map(|machine| offer.map_or(machine.launch_price, |offer| offer.price).micros_per_hour())
        .sum();
    Price::from_micros_per_hour(price).charge(market.as_secs())
}

/// Ends machines that nobody uses any more. It looks at what is, not at what
/// ended: two jobs of one machine may end in the same round. A machine that the
/// provider takes back within its free first time is left to it: its own
/// interruption makes it free, ours would not.
pub fn release(state: &State, config: &Config, now: Now) -> Vec<Change> {
    let idle = state.instances.values().filter(|instance| {
        let free = match instance.state {
            InstanceState::Live { .. } => false,
            InstanceState::Noticed { since, reclaim_at, .. } => {
                between(since, reclaim_at) < config.policy.interruption_waiver
            }
            InstanceState::Ended { .. } => return false,
        };
        !free && !state.attempts_on(instance.id).any(|attempt| attempt.state.is_live())
    });
    idle.map(|instance| instance.clone().end(now.market, EndedBy::Us).into()).collect()
}

/// Whether a job has a bound that has to be watched while it runs.
pub fn is_bounded(job: &Job) -> bool {
    job.spec.budget.is_some() || job.spec.timeout.is_some() || job.spec.resources.nodes > 1
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
