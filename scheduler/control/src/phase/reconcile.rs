//! What follows a commit: which workers must be launched, and what must be cleaned up.
//! Pure: the loop and the simulator carry it out.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::Certainty;
use spotwise_model::time::{after, between};
use spotwise_model::{Attempt, AttemptId, AttemptState, Now};

use crate::WorkerId;
use crate::core::State;

/// A launch whose answer was lost is repeated, by the same name, this long after the last
/// time (wall time).
const LAUNCH_RETRY: Duration = Duration::from_secs(5);
/// The remains of an ended attempt are killed again this long after the first time, then
/// after twice as long and so on, until its charges are written (wall time).
const KILL_RETRY: Duration = Duration::from_secs(10);
/// Doublings of that pause: up to an hour and a half.
const MOST_DOUBLINGS: u32 = 9;

/// An action on a pool. Idempotent by the name it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Launch this worker, unless it is running.
    Launch(WorkerId),
    /// Kill whatever is left of this attempt.
    Kill(AttemptId),
}

/// What this process has asked of its pool, and when. A restart forgets it, and asks for
/// everything again.
#[derive(Clone, Debug, Default)]
pub struct OutstandingCalls {
    launches: BTreeMap<WorkerId, Timestamp>,
    /// And how many times.
    kills: BTreeMap<AttemptId, (Timestamp, u32)>,
}

impl OutstandingCalls {
    /// What the committed state asks for now and has not been asked for recently, in the
    /// order of attempts.
    pub fn next(&mut self, state: &State, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
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
        effects
    }

    /// When the state asks for something next, if it stays as it is (wall time).
    pub fn due(&self, state: &State) -> Option<Timestamp> {
        let again = state.attempts.values().flat_map(|attempt| match &attempt.state {
            AttemptState::Launching { certainty: Certainty::Unknown, .. } => {
                let open = (0u32..).zip(&attempt.nodes).filter(|(_, n)| n.registered.is_none());
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
        again.min()
    }

    fn launches(&mut self, attempt: &Attempt, certainty: Certainty, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (rank, node) in (0u32..).zip(&attempt.nodes) {
            let worker = WorkerId { attempt: attempt.id, rank };
            let pause = (certainty == Certainty::Unknown).then_some(LAUNCH_RETRY);
            let due = is_due(self.launches.get(&worker), pause, now);
            if node.registered.is_none() && due {
                self.launches.insert(worker, now.wall);
                effects.push(Effect::Launch(worker));
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
