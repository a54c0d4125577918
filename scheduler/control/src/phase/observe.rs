//! Handles what the outside world has reported: exits, silence, capacity taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::{NodeReport, Outcome, StopOrder, StopReason};
use spotwise_model::instance::EndedBy;
use spotwise_model::time::{after, between};
use spotwise_model::{
    Attempt, AttemptState, CapacityType, Instance, InstanceState, MarketKey, Now,
};

use super::attempt_end;
use crate::config::{Config, LEASE_MARGIN};
use crate::core::due::Due;
use crate::core::{Change, State};

/// A stopped attempt that does not end is ended this long after its grace.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A limit is exceeded when more than it has passed.
const LEAST: Duration = Duration::from_nanos(1);

pub use spotwise_model::timing::BUDGET_STOP_MARGIN;

/// Ends attempts whose commands have ended, whose workers are silent, whose
/// machines are gone, or that do not obey.
pub fn observe(state: &State, config: &Config, now: Now) -> Vec<Change> {
    let live = state.attempts.values().filter(|attempt| attempt.state.is_live());
    live.flat_map(|attempt| match verdict(state, attempt, config, now) {
        _ if never_comes(state, attempt) => attempt_end::release(state, attempt, now),
        Some(outcome) => attempt_end::end(state, attempt, outcome, now),
        None => match silent(state, attempt, config, now).as_slice() {
            [] => Vec::new(),
            silent => {
                attempt_end::lose_members(attempt, silent, "a member of its gang is silent", now)
            }
        },
    })
    .collect()
}

/// Whether an attempt waits for a machine that does not come, or goes before it began: then
/// all of it is released, and its other machines are free for others.
fn never_comes(state: &State, attempt: &Attempt) -> bool {
    let comes = |id| state.instances.get(id).is_some_and(Instance::accepts_work);
    matches!(attempt.state, AttemptState::Planned { .. }) && !attempt.instances.iter().all(comes)
}

fn verdict(state: &State, attempt: &Attempt, config: &Config, now: Now) -> Option<Outcome> {
    if let Some(outcome) = attempt_end::outcome_of(state, attempt) {
        return Some(outcome);
    }
    // Of a gang the others may still run: they are stopped first.
    if attempt.instances.iter().all(|id| state.instances.get(id).is_none_or(Instance::ends)) {
        return Some(Outcome::Interrupted);
    }
    if let Some(order) = attempt.stop
        && now.wall >= last_moment(state, attempt, order, config)
    {
        return Some(Outcome::Stopped { reason: order.reason });
    }
    let silent = silent(state, attempt, config, now);
    let works = (0u32..).zip(&attempt.nodes).any(|(rank, node)| {
        node.started.is_some() && node.exited.is_none() && !silent.contains(&rank)
    });
    (!silent.is_empty() && !works).then_some(Outcome::Lost)
}

/// When [`observe`] and [`reclaim`] have something to do, if nothing is reported and the
/// market does not change: attempts whose time to stop has passed, workers that are silent
/// for too long, machines that are taken back.
pub fn due(state: &State, config: &Config, due: &mut Due) {
    for attempt in state.attempts.values().filter(|attempt| attempt.state.is_live()) {
        due.wall(attempt.stop.map(|order| last_moment(state, attempt, order, config)));
        let patience = config.lease + grace(state, attempt, config) + LEASE_MARGIN;
        let nodes = (0u32..).zip(&attempt.nodes).filter(|(_, node)| node.exited.is_none());
        for (rank, node) in nodes {
            due.wall(silent_at(state, attempt, (rank, node), patience));
        }
    }
    for instance in state.instances.values() {
        if let InstanceState::Noticed { reclaim_at, .. } = instance.state {
            due.market([reclaim_at]);
        }
    }
}

/// When an attempt with a stop order has ended at the latest (wall time): with its machine,
/// or earlier if nothing follows it.
fn last_moment(state: &State, attempt: &Attempt, order: StopOrder, config: &Config) -> Timestamp {
    let by_us = after(order.at.wall, longest_stop(state, attempt, order.reason, config));
    let Some(reclaim) = order.reclaim_wall else { return by_us };
    let by_provider = after(reclaim, LEASE_MARGIN);
    match order.reason {
        StopReason::Moved | StopReason::GangBroken | StopReason::Interrupted => by_provider,
        StopReason::Budget | StopReason::Cancelled | StopReason::TimedOut => by_us.min(by_provider),
    }
}

/// Longest time that an attempt may take to end after our order.
fn longest_stop(state: &State, attempt: &Attempt, reason: StopReason, config: &Config) -> Duration {
    let commit = if reason == StopReason::Budget { BUDGET_STOP_MARGIN } else { STOP_TIMEOUT };
    let own = grace(state, attempt, config) + commit;
    match reason {
        // Another attempt follows: a worker that the order does not reach stops
        // by itself when its lease is over, and every answer after the order
        // carries it.
        StopReason::Moved | StopReason::GangBroken | StopReason::Interrupted => {
            own.max(config.lease + LEASE_MARGIN)
        }
        StopReason::Budget | StopReason::Cancelled | StopReason::TimedOut => own,
    }
}

fn grace(state: &State, attempt: &Attempt, config: &Config) -> Duration {
    let job = state.jobs.get(&attempt.id.job);
    let own = job.and_then(|job| job.spec.checkpoint.as_ref()).map(|c| c.grace);
    own.unwrap_or(config.default_grace)
}

/// The ranks that run no more: whose machine is gone, or whose workers have been silent for
/// longer than their lease, their grace and a margin, and so have stopped themselves by now.
/// Only then may a replacement start.
fn silent(state: &State, attempt: &Attempt, config: &Config, now: Now) -> Vec<u32> {
    let patience = config.lease + grace(state, attempt, config) + LEASE_MARGIN;
    let ranks = (0u32..).zip(&attempt.nodes).filter(|(_, node)| node.exited.is_none());
    let gone = |rank: u32| {
        let machine = attempt.instances.get(rank as usize).and_then(|id| state.instances.get(id));
        machine.is_none_or(Instance::ends)
    };
    let silent = ranks.filter(|(rank, node)| {
        gone(*rank)
            || silent_at(state, attempt, (*rank, node), patience).is_some_and(|at| now.wall >= at)
    });
    silent.map(|(rank, _)| rank).collect()
}

/// From when a rank counts as silent, if nothing more is received from it (wall time);
/// never before it is launched, nor if this memory does not know when it began to listen.
fn silent_at(
    state: &State,
    attempt: &Attempt,
    (rank, node): (u32, &NodeReport),
    patience: Duration,
) -> Option<Timestamp> {
    let heard = state.seen.heartbeats.get(&(attempt.id, rank)).copied();
    let begun = state.seen.since?;
    let last = match (&attempt.state, heard.or(node.registered.map(|r| r.wall))) {
        (AttemptState::Planned { .. }, _) => return None,
        (AttemptState::Launching { since, .. }, None) => {
            let pool = state.pools.get(&attempt.offer.pool)?;
            return Some(after(since.wall.max(begun), pool.times.start_timeout + LEAST));
        }
        (_, last) => last.unwrap_or(begun),
    };
    Some(after(last.max(begun), patience + LEAST))
}

/// Gives notice to machines that the market takes back, and ends those whose time has come:
/// in pools where interruptions follow from the market's counts. `available` says how many
/// machines a spot market has for us in total, including running ones; markets it does not
/// name stay.
pub fn reclaim(
    state: &State,
    available: impl Fn(&MarketKey) -> Option<u32>,
    speed: u32,
    now: Now,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let by_market = |instance: &Instance| {
        let features = &state.pool_of(instance)?.features;
        features.reclaims_by_market.then_some(features.notice_lead)
    };
    for instance in state.instances.values() {
        if by_market(instance).is_some()
            && let InstanceState::Noticed { reclaim_at, .. } = instance.state
            && now.market >= reclaim_at
            && let Ok(gone) = instance.clone().end(reclaim_at, EndedBy::Provider)
        {
            changes.push(gone.into());
        }
    }
    let mut kept: BTreeMap<&MarketKey, u32> = BTreeMap::new();
    for instance in state.instances.values() {
        let spot = instance.offer.market.capacity_type == CapacityType::Spot;
        if !spot || !instance.accepts_work() {
            continue;
        }
        let (Some(lead), Some(limit)) = (by_market(instance), available(&instance.offer.market))
        else {
            continue;
        };
        let count = kept.entry(&instance.offer.market).or_default();
        if *count < limit {
            *count += 1;
        } else {
            let until = Now {
                market: after(now.market, lead.saturating_mul(speed)),
                wall: after(now.wall, lead),
            };
            changes.extend(notice(state, instance, until, now));
        }
    }
    changes
}

/// A machine is taken back at a time: what runs on it is told. Repeating it changes nothing.
pub fn notice(state: &State, instance: &Instance, until: Now, now: Now) -> Vec<Change> {
    let order =
        StopOrder { reason: StopReason::Interrupted, at: now, reclaim_wall: Some(until.wall) };
    let left = between(now.wall, until.wall).as_secs();
    let words = format!("{} is taken back in {left} s", instance.offer);
    let Ok(noticed) = instance.clone().noticed(now.market, until.market) else {
        return Vec::new();
    };
    let mut changes: Vec<Change> = vec![noticed.into()];
    for attempt in state.attempts_on(instance.id).filter(|attempt| attempt.state.is_live()) {
        changes.extend(attempt_end::order_stop(attempt, order, &words));
    }
    changes
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
