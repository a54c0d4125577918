//! What follows a commit: which workers must be launched, and what must be cleaned up.
//! Pure: the loop and the simulator carry it out.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::{Certainty, NodeReport};
use spotwise_model::id::PoolName;
use spotwise_model::pool::CallRate;
use spotwise_model::time::{after, between};
use spotwise_model::{Attempt, AttemptId, AttemptState, Instance, InstanceId, InstanceState, Now};

use crate::WorkerId;
use crate::core::State;

/// A launch whose answer was lost is repeated, by the same name, this long after the last
/// time (wall time).
const LAUNCH_RETRY: Duration = Duration::from_secs(5);
/// A request for a machine that was answered by nobody, not even that its answer is lost, is
/// repeated by the same token this long after the last time (wall time).
const ANSWER_LOST: Duration = Duration::from_secs(60);
/// When calls that a pool's provider has no room for are tried again (wall time).
const REFILL: Duration = Duration::from_secs(1);
/// The remains of an ended attempt are killed again this long after the first time, then
/// after twice as long and so on, until its charges are written (wall time).
const KILL_RETRY: Duration = Duration::from_secs(10);
/// A machine that is to end costs money: its provider is told again at least this often
/// (wall time).
const LONGEST_TERMINATION_PAUSE: Duration = Duration::from_secs(60);
/// Doublings of that pause: up to an hour and a half.
const MOST_DOUBLINGS: u32 = 9;

/// An action on a pool. Idempotent by the name it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Ask for this machine, by its token.
    LaunchMachine(InstanceId),
    /// End this machine, by its provider's name.
    TerminateMachine(InstanceId),
    /// Start this worker, unless it is running.
    StartWorker(WorkerId),
    /// Kill whatever is left of this attempt.
    Kill(AttemptId),
}

/// What this process has asked of its pool, and when. A restart forgets it, and asks for
/// everything again.
#[derive(Clone, Debug, Default)]
pub struct OutstandingCalls {
    launches: BTreeMap<WorkerId, Timestamp>,
    /// Requests for machines, and how many times.
    machines: BTreeMap<InstanceId, (Timestamp, u32)>,
    /// Orders to end machines, and how many times.
    terminations: BTreeMap<InstanceId, (Timestamp, u32)>,
    /// Calls that each pool's provider may still take.
    buckets: BTreeMap<PoolName, Bucket>,
    /// And how many times.
    kills: BTreeMap<AttemptId, (Timestamp, u32)>,
}

impl OutstandingCalls {
    /// What the committed state asks for now and has not been asked for recently, in the
    /// order of attempts.
    pub fn next(&mut self, state: &State, now: Now) -> Vec<Effect> {
        let mut effects = self.machine_calls(state, now);
        for attempt in state.attempts.values() {
            match &attempt.state {
                AttemptState::Launching { certainty, .. } => {
                    effects.extend(self.launches(attempt, *certainty, now));
                }
                AttemptState::Ended { .. } | AttemptState::Settled { .. } => {
                    effects.extend(self.kill(attempt, now));
                }
                AttemptState::Planned { .. } | AttemptState::Running { .. } => {}
            }
        }
        self.launches.retain(|worker, _| state.attempts.contains_key(&worker.attempt));
        self.kills.retain(|attempt, _| state.attempts.contains_key(attempt));
        self.machines.retain(|machine, _| state.instances.contains_key(machine));
        self.terminations.retain(|machine, _| state.instances.contains_key(machine));
        effects
    }

    /// When the state asks for something next, if it stays as it is (wall time).
    pub fn due(&self, state: &State) -> Option<Timestamp> {
        let again = state.attempts.values().flat_map(|attempt| match &attempt.state {
            AttemptState::Launching { certainty: Certainty::Unknown, .. } => {
                let is_open =
                    |node: &NodeReport| node.registered.is_none() && node.exited.is_none();
                let open = (0u32..).zip(&attempt.nodes).filter(|(_, node)| is_open(node));
                let of = |(rank, _)| WorkerId { attempt: attempt.id, rank };
                let asked = open.filter_map(|node| self.launches.get(&of(node)));
                asked.map(|last| after(*last, LAUNCH_RETRY)).min()
            }
            AttemptState::Ended { .. } if !ended_by_itself(attempt) => {
                let killed = self.kills.get(&attempt.id);
                killed.map(|(last, times)| after(*last, kill_pause(*times)))
            }
            _ => None,
        });
        let machines =
            state.instances.values().filter_map(|machine| self.machine_due(state, machine));
        again.chain(machines).min()
    }

    /// Requests and ends of machines, as many as their pools' providers take now.
    fn machine_calls(&mut self, state: &State, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for machine in state.instances.values() {
            let Some(pool) = state.pool_of(machine).filter(|pool| !pool.features.instant) else {
                continue;
            };
            let Some((effect, pause)) = self.machine_call(machine) else { continue };
            if state.frozen.is_some() && matches!(effect, Effect::LaunchMachine(_)) {
                continue;
            }
            let calls = match effect {
                Effect::LaunchMachine(_) => &mut self.machines,
                _ => &mut self.terminations,
            };
            let known = calls.get(&machine.id).copied();
            let due = is_due(known.as_ref().map(|(last, _)| last), Some(pause), now);
            let throttled = state.seen.throttled.until(&pool.name).is_some_and(|at| now.wall < at);
            let bucket = self.buckets.entry(pool.name.clone());
            let bucket = bucket.or_insert_with(|| Bucket::full(pool.limits.calls, now));
            if due && !throttled && bucket.take(pool.limits.calls, now) {
                calls.insert(machine.id, (now.wall, known.map_or(1, |(_, n)| n.saturating_add(1))));
                effects.push(effect);
            }
        }
        effects
    }

    /// What a machine's state asks of its provider, and the pause before it is asked again.
    fn machine_call(&self, machine: &Instance) -> Option<(Effect, Duration)> {
        match machine.state {
            InstanceState::Requested { certainty, .. } => {
                let pause = match certainty {
                    Certainty::Unknown => LAUNCH_RETRY,
                    Certainty::Known => ANSWER_LOST,
                };
                Some((Effect::LaunchMachine(machine.id), pause))
            }
            InstanceState::Terminating { .. } if machine.provider.is_some() => {
                let times = self.terminations.get(&machine.id).map_or(0, |(_, times)| *times);
                let pause = kill_pause(times).min(LONGEST_TERMINATION_PAUSE);
                Some((Effect::TerminateMachine(machine.id), pause))
            }
            _ => None,
        }
    }

    fn machine_due(&self, state: &State, machine: &Instance) -> Option<Timestamp> {
        let pool = state.pool_of(machine).filter(|pool| !pool.features.instant)?;
        let (effect, pause) = self.machine_call(machine)?;
        if state.frozen.is_some() && matches!(effect, Effect::LaunchMachine(_)) {
            return None;
        }
        let calls = match effect {
            Effect::LaunchMachine(_) => &self.machines,
            _ => &self.terminations,
        };
        // What was not asked for want of calls is asked when there are some.
        let again = calls.get(&machine.id).map(|(last, _)| after(*last, pause));
        let refilled = || self.buckets.get(&pool.name).map(|bucket| after(bucket.at, REFILL));
        let at = again.or_else(refilled)?;
        Some(state.seen.throttled.until(&pool.name).map_or(at, |until| at.max(until)))
    }

    fn launches(&mut self, attempt: &Attempt, certainty: Certainty, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (rank, node) in (0u32..).zip(&attempt.nodes) {
            let worker = WorkerId { attempt: attempt.id, rank };
            let pause = (certainty == Certainty::Unknown).then_some(LAUNCH_RETRY);
            let due = is_due(self.launches.get(&worker), pause, now);
            // One that is gone before it said anything is not replaced: its gang is broken.
            if node.registered.is_none() && node.exited.is_none() && due {
                self.launches.insert(worker, now.wall);
                effects.push(Effect::StartWorker(worker));
            }
        }
        effects
    }

    /// Makes sure that nothing is left of an attempt that did not end by itself.
    fn kill(&mut self, attempt: &Attempt, now: Now) -> Option<Effect> {
        let (last, times) = self.kills.get(&attempt.id).map_or((None, 0), |(l, n)| (Some(l), *n));
        let due = is_due(last, Some(kill_pause(times)), now);
        (!ended_by_itself(attempt) && due).then(|| {
            self.kills.insert(attempt.id, (now.wall, times.saturating_add(1)));
            Effect::Kill(attempt.id)
        })
    }
}

/// A token bucket, in wall time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of calls.
    millis: u64,
    at: Timestamp,
}

impl Bucket {
    fn full(rate: CallRate, now: Now) -> Self {
        Self { millis: u64::from(rate.burst) * 1_000, at: now.wall }
    }

    /// Takes one call, if there is one.
    fn take(&mut self, rate: CallRate, now: Now) -> bool {
        let millis = u64::try_from(between(self.at, now.wall).as_millis()).unwrap_or(u64::MAX);
        let refilled = self.millis.saturating_add(millis.saturating_mul(rate.per_second.into()));
        self.millis = refilled.min(u64::from(rate.burst.max(1)) * 1_000);
        self.at = self.at.max(now.wall);
        let taken = self.millis >= 1_000;
        if taken {
            self.millis -= 1_000;
        }
        taken
    }
}

fn ended_by_itself(attempt: &Attempt) -> bool {
    attempt.nodes.iter().all(|node| node.exited.is_some())
}

/// The pause after this many kills.
fn kill_pause(times: u32) -> Duration {
    KILL_RETRY.saturating_mul(1 << times.min(MOST_DOUBLINGS))
}

fn is_due(last: Option<&Timestamp>, pause: Option<Duration>, now: Now) -> bool {
    last.is_none_or(|last| pause.is_some_and(|pause| between(*last, now.wall) >= pause))
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
