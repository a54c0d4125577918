//! Prices what is over: every ended machine becomes ledger entries, once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::attempt::{Outcome, StopReason};
use spotwise_model::instance::EndedBy;
use spotwise_model::policy::Policy;
use spotwise_model::{
    Attempt, AttemptId, AttemptState, Instance, InstanceState, Job, JobId, LedgerEntry, Money, Now,
};

use crate::core::{Change, EventKind, State};
use crate::ledger::{InstanceBill, Use, charge_instance};
use spotwise_market::{Market, Segment};

/// Writes the charges of ended machines on which nothing lives any more, adds
/// them to their jobs, and settles attempts whose machines all are.
pub fn settle(state: &State, market: &Market, policy: &Policy, now: Now) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut spent: BTreeMap<JobId, Money> = BTreeMap::new();
    let mut settled: Vec<&Instance> = Vec::new();
    for instance in state.instances.values() {
        let over = matches!(instance.state, InstanceState::Ended { settled: false, .. });
        if !over || state.attempts_on(instance.id).any(|attempt| attempt.state.is_live()) {
            continue;
        }
        let mut entries = bill(state, instance, market, policy, now.market);
        for entry in &mut entries {
            entry.booked = Some(now.market);
            if let Some(job) = entry.job() {
                *spent.entry(job).or_default() += entry.amount;
            }
        }
        changes.push(Change::Ledger(entries));
        changes.push(instance.clone().settle().into());
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

fn settle_attempts(state: &State, settled: &[&Instance], now: Now) -> Vec<Change> {
    let paid = |id: &spotwise_model::InstanceId| {
        settled.iter().any(|instance| instance.id == *id)
            || state.instances.get(id).is_none_or(|instance| {
                matches!(instance.state, InstanceState::Ended { settled: true, .. })
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

/// What rounding may add to a charge while its machine goes on, with every change
/// of the price and every line of it: micro-dollars a machine.
pub(super) const ROUNDING: i64 = 20;

/// Lowers what ended attempts hold to what they have cost: the machine may stay
/// for a while (a noticed one is left to its provider), the job need not wait
/// for that to spend the rest of its budget.
pub fn free_holds(state: &State, market: &Market, policy: &Policy, now: Now) -> Vec<Change> {
    let ended: Vec<&Attempt> = state
        .attempts
        .values()
        .filter(|a| matches!(a.state, AttemptState::Ended { .. }) && a.hold > Money::ZERO)
        .collect();
    if ended.is_empty() {
        return Vec::new();
    }
    let costs = accrued(state, market, policy, now);
    ended
        .into_iter()
        .filter_map(|attempt| {
            let cost = costs.get(&attempt.id).copied().unwrap_or_default();
            let machines = i64::try_from(attempt.instances.len()).unwrap_or(1);
            let hold = cost + Money::from_micros(machines.saturating_mul(ROUNDING));
            (hold < attempt.hold).then(|| Attempt { hold, ..attempt.clone() }.into())
        })
        .collect()
}

/// What each unsettled attempt has cost so far, as if every machine ended now.
pub fn accrued(
    state: &State,
    market: &Market,
    policy: &Policy,
    now: Now,
) -> BTreeMap<AttemptId, Money> {
    let mut costs = BTreeMap::new();
    for entry in accrued_entries(state, market, policy, now) {
        if let Some(attempt) = entry.attempt {
            *costs.entry(attempt).or_insert(Money::ZERO) += entry.amount;
        }
    }
    costs
}

/// The charges that there would be if every machine that is not settled ended now.
pub fn accrued_entries(
    state: &State,
    market: &Market,
    policy: &Policy,
    now: Now,
) -> Vec<LedgerEntry> {
    let open = state
        .instances
        .values()
        .filter(|instance| !matches!(instance.state, InstanceState::Ended { settled: true, .. }));
    open.flat_map(|instance| {
        let ended = instance.clone().end(now.market, EndedBy::Us);
        bill(state, &ended, market, policy, now.market)
    })
    .collect()
}

/// The entries of one machine; live attempts on it count up to `now`.
fn bill(
    state: &State,
    instance: &Instance,
    market: &Market,
    policy: &Policy,
    now: Timestamp,
) -> Vec<LedgerEntry> {
    let InstanceState::Ended { since, at, .. } = instance.state else { return Vec::new() };
    let minimum = spotwise_model::time::after(since, policy.minimum_billed);
    let offer = &instance.offer;
    let segments = if instance.stints.is_empty() {
        let end = at.max(minimum);
        market.segments(&offer.zone, &offer.instance_type, offer.capacity_type, since, end)
    } else {
        // As it was bought, whatever is declared or on the market by now.
        vec![Segment { from: since, to: at, price: instance.on_demand }]
    };
    let uses = state
        .attempts_on(instance.id)
        .filter_map(|attempt| Some(usage(state.jobs.get(&attempt.id.job)?, attempt, since, now)));
    charge_instance(&InstanceBill {
        instance,
        segments: &segments,
        on_demand: instance.on_demand,
        uses: uses.collect(),
        policy,
    })
}

fn usage(job: &Job, attempt: &Attempt, bought: Timestamp, now: Timestamp) -> Use {
    // Documents of before do not say: then it had its machine from the purchase.
    let placed = attempt.state.placed().map_or(bought, |at| at.market);
    let now = job.known_until(attempt.id).map_or(now, |known| known.market.min(now));
    let ended = attempt.state.ended().map_or(now, |at| at.market);
    Use {
        attempt: attempt.id,
        share: attempt.share,
        from: placed.max(bought),
        started: attempt.state.started().map(|at| at.market),
        ended,
        useful_until: useful_until(job, attempt, ended),
        dimensions: dimensions(job),
    }
}

/// Up to when the work of an attempt counts: to its end where nothing was lost,
/// else to its last checkpoint, if the job can go on from one.
fn useful_until(job: &Job, attempt: &Attempt, ended: Timestamp) -> Option<Timestamp> {
    let saved = attempt.checkpoint.filter(|_| job.spec.resumable()).map(|c| c.at);
    match attempt.state.outcome() {
        None | Some(Outcome::Succeeded) => Some(ended),
        // Its owner did not want the rest: nothing was lost to anybody.
        Some(Outcome::Stopped { reason: StopReason::Cancelled }) => Some(ended),
        Some(_) => saved,
    }
}

/// What a charge is labelled with.
fn dimensions(job: &Job) -> BTreeMap<String, String> {
    let mut dimensions = job.spec.tags.clone();
    dimensions.insert("class".to_owned(), job.spec.class.name().to_owned());
    if let Some(model) = &job.spec.model {
        dimensions.insert("model".to_owned(), model.clone());
    }
    dimensions
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
