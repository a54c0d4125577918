//! Prices what has ended: every ended machine becomes ledger entries, once.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::policy::Policy;
use spotwise_model::time::after;
use spotwise_model::{Attempt, AttemptState, Instance, InstanceState, JobId, Money, Now};

use crate::core::due::Due;
use crate::core::{Change, EventKind, State};
use crate::view::accrued::{accrued, bill, owed_for_ends};

/// No listing takes longer than this from its first page to its arrival (market time).
pub(super) const LONGEST_LISTING: Duration = Duration::from_secs(120);

/// Writes the charges of ended machines with nothing live on them any more, adds them to
/// their jobs, and settles attempts whose machines are all settled.
pub fn settle(state: &State, policy: &Policy, now: Now) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut spent: BTreeMap<JobId, Money> = BTreeMap::new();
    let mut settled: Vec<&Instance> = Vec::new();
    for instance in state.instances.values() {
        if !is_over(state, instance, now)
            || state.attempts_on(instance.id).any(|attempt| attempt.state.is_live())
        {
            continue;
        }
        let Ok(paid) = instance.clone().settle() else { continue };
        let mut entries = bill(state, instance, policy, now.market);
        for entry in &mut entries {
            entry.booked = Some(now.market);
            if let Some(job) = entry.job() {
                *spent.entry(job).or_default() += entry.amount;
            }
        }
        changes.push(Change::Ledger(entries));
        changes.push(paid.into());
        settled.push(instance);
    }
    for (id, amount) in &spent {
        if let Some(job) = state.jobs.get(id) {
            let mut job = job.clone();
            job.spent += *amount;
            changes.push(job.into());
        }
    }
    changes.extend(settle_attempts(state, &settled, now));
    changes
}

/// Whether a machine is gone, what it cost is known, and nothing can show it any more: a
/// listing may be older than its end, and would make it an orphan if nobody knew it.
fn is_over(state: &State, instance: &Instance, now: Now) -> bool {
    let InstanceState::Gone { at, settled: false, .. } = instance.state else { return false };
    if !state.prices.knows(at) {
        return false;
    }
    let slow = state.pool_of(instance).filter(|pool| !pool.features.instant);
    slow.is_none_or(|pool| now.market >= after(at, pool.times.consistency + LONGEST_LISTING))
}

/// When a machine that is gone can be settled.
pub fn due(state: &State, due: &mut Due) {
    for instance in state.instances.values() {
        if let InstanceState::Gone { at, settled: false, .. } = instance.state
            && let Some(pool) = state.pool_of(instance)
        {
            due.market([after(at, pool.times.consistency + LONGEST_LISTING)]);
        }
    }
}

fn settle_attempts(state: &State, settled: &[&Instance], now: Now) -> Vec<Change> {
    let paid = |id: &spotwise_model::InstanceId| {
        settled.iter().any(|instance| instance.id == *id)
            || state.instances.get(id).is_none_or(|instance| {
                matches!(instance.state, InstanceState::Gone { settled: true, .. })
            })
    };
    let ended = state
        .attempts
        .values()
        .filter(|a| matches!(a.state, AttemptState::Ended { .. }) && a.instances.iter().all(paid));
    ended
        .filter_map(|attempt| {
            let mut attempt = attempt.clone();
            attempt.state = attempt.state.settle().ok()?;
            attempt.hold = Money::ZERO;
            let event = Change::event(
                attempt.id.job,
                Some(attempt.id),
                now.market,
                EventKind::Settled,
                "its charges are in the ledger",
            );
            Some([attempt.into(), event])
        })
        .flatten()
        .collect()
}

/// How much rounding may add to a charge while its machine continues, with every change of
/// the price and every entry: micro-dollars per machine.
pub(super) const ROUNDING: i64 = 20;

/// Lowers what ended attempts hold to what they have cost: the machine may stay for a while
/// (a noticed one is left to its provider), but the job need not wait for that to spend the
/// rest of its budget.
pub fn free_holds(state: &State, policy: &Policy, now: Now) -> Vec<Change> {
    let ended: Vec<&Attempt> = state
        .attempts
        .values()
        .filter(|a| matches!(a.state, AttemptState::Ended { .. }) && a.hold > Money::ZERO)
        .collect();
    if ended.is_empty() {
        return Vec::new();
    }
    let costs = accrued(state, policy, now);
    ended
        .into_iter()
        .filter_map(|attempt| {
            let cost = costs.get(&attempt.id).copied().unwrap_or_default();
            let machines = i64::try_from(attempt.instances.len()).unwrap_or(1);
            let rounding = Money::from_micros(machines.saturating_mul(ROUNDING));
            // All of it until its machines are gone: a hold that fell by the second would be
            // written by the second.
            let ends = owed_for_ends(state, attempt, Timestamp::MIN);
            let hold = cost + rounding + ends;
            // By rounding alone it rises and falls with every look.
            let falls = attempt.hold - hold > rounding;
            falls.then(|| Attempt { hold, ..attempt.clone() }.into())
        })
        .collect()
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
