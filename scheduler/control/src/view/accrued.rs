//! What machines have cost: the bill of one, and what all unsettled ones would be charged
//! if they ended now.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_market::Segment;
use spotwise_model::access::SUBMITTED_BY;
use spotwise_model::attempt::{Outcome, StopReason};
use spotwise_model::instance::EndedBy;
use spotwise_model::policy::Policy;
use spotwise_model::time::{after, between};
use spotwise_model::{Attempt, AttemptId, Instance, InstanceState, Job, LedgerEntry, Money, Now};

use crate::core::State;
use crate::ledger::{InstanceBill, Use, charge_instance};

/// What each unsettled attempt has cost so far, as if every machine ended now.
pub fn accrued(state: &State, policy: &Policy, now: Now) -> BTreeMap<AttemptId, Money> {
    let mut costs = BTreeMap::new();
    for entry in accrued_entries(state, policy, now) {
        if let Some(attempt) = entry.attempt {
            *costs.entry(attempt).or_insert(Money::ZERO) += entry.amount;
        }
    }
    costs
}

/// The charges that would result if every unsettled machine ended now.
pub fn accrued_entries(state: &State, policy: &Policy, now: Now) -> Vec<LedgerEntry> {
    let open = state
        .instances
        .values()
        .filter(|instance| !matches!(instance.state, InstanceState::Gone { settled: true, .. }));
    open.flat_map(|instance| {
        let until_now = instance.clone().end(now.market, EndedBy::Us);
        bill(state, &until_now.unwrap_or_else(|_| instance.clone()), policy, now.market)
    })
    .collect()
}

/// What an attempt that has ended may still have to pay for the end of its machines: each is
/// its last user's from when it is given back until it is gone. At the price on demand, so
/// that it does not depend on when somebody looks.
pub fn owed_for_ends(state: &State, attempt: &Attempt, now: Timestamp) -> Money {
    if attempt.state.is_live() {
        return Money::ZERO;
    }
    let machines = attempt.instances.iter().filter_map(|id| state.instances.get(id));
    let going = machines.filter(|machine| !machine.ended());
    let end = |machine: &Instance| {
        let termination = state.pool_of(machine)?.times.termination;
        // What has passed of it is among what has accrued.
        let passed = match machine.state {
            InstanceState::Terminating { at, .. } => between(at.market, now),
            _ => Duration::ZERO,
        };
        let left = termination.saturating_sub(passed);
        Some(machine.on_demand.max(machine.launch_price).charge(left.as_secs()))
    };
    going.filter_map(end).sum()
}

/// The entries of one machine; live attempts on it count up to `now`. Empty for one that
/// has not ended.
pub(crate) fn bill(
    state: &State,
    instance: &Instance,
    policy: &Policy,
    now: Timestamp,
) -> Vec<LedgerEntry> {
    let InstanceState::Gone { since: Some(since), at, .. } = instance.state else {
        return Vec::new();
    };
    let segments = if instance.coverage.is_empty() {
        // What is billed beyond its end is at the price that was in force then.
        let end = at.max(after(since, Duration::from_secs(1)));
        state.prices.segments(&instance.offer.market, since, end)
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
        termination: state.pool_of(instance).map_or(Duration::ZERO, |pool| pool.times.termination),
        policy,
    })
}

fn usage(job: &Job, attempt: &Attempt, bought: Timestamp, now: Timestamp) -> Use {
    // Documents of before do not say: then it had its machine from the purchase.
    let placed = attempt.state.placed().map_or(bought, |at| at.market);
    let now = job.uncertain_since(attempt.id).map_or(now, |since| since.market.min(now));
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

/// Up to when the work of an attempt counts: to its end if nothing was lost, otherwise to
/// its last checkpoint, if the job can resume from one.
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
    if let Some(by) = &job.submitted_by {
        dimensions.insert(SUBMITTED_BY.to_owned(), by.clone());
    }
    dimensions
}
