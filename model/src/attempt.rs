//! One try at a job, on one machine or, for a gang, on several in one zone.
//!
//! ```text
//! Planned -> Launching -> Running -> Ended -> Settled
//!        \______________\____________^
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, InstanceId};
use crate::memory::{MemoryUse, OutOfMemory};
use crate::money::Money;
use crate::offer::OfferKey;
pub use crate::outcome::{CommandEnd, Exit, Outcome, Told};
pub use crate::progress::{CheckpointRef, Progress};
use crate::reason::PlacementReason;
use crate::resources::{GpuSlot, Share};
pub use crate::stop::{BudgetCutoff, StopOrder, StopReason};
use crate::time::{Now, between};

/// Whether we know what became of a launch call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The call has been answered, or has not been made yet.
    Known,
    /// The call was made and its answer was lost: it is repeated with the same token, never
    /// retried blindly.
    Unknown,
}

/// The state of an attempt. Times are both market and wall time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum AttemptState {
    /// Chosen; its machines are asked for, or boot.
    Planned {
        /// When.
        at: Now,
    },
    /// Committed, and its machines are there; the pool is being asked for its workers.
    Launching {
        /// When its machines became its own; `None` in documents written by earlier
        /// versions: with the launch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        placed: Option<Now>,
        /// Since when.
        since: Now,
        /// Whether the outcome of the call is known.
        certainty: Certainty,
    },
    /// The command runs on every node.
    Running {
        /// When its machines became its own; `None` in documents written by earlier
        /// versions: with the launch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        placed: Option<Now>,
        /// When it was launched.
        launched: Now,
        /// When the last node started its command.
        since: Now,
    },
    /// Ended; not yet in the ledger.
    Ended {
        /// When its machines became its own; `None` in documents written by earlier
        /// versions.
        #[serde(default)]
        placed: Option<Now>,
        /// When it began to run, if it did.
        started: Option<Now>,
        /// When it ended.
        at: Now,
        /// How.
        outcome: Outcome,
    },
    /// Ended, with its charges in the ledger.
    Settled {
        /// When its machines became its own; `None` in documents written by earlier
        /// versions.
        #[serde(default)]
        placed: Option<Now>,
        /// When it began to run, if it did.
        started: Option<Now>,
        /// When it ended.
        at: Now,
        /// How.
        outcome: Outcome,
    },
}

/// A transition that the life cycle of an attempt does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an attempt that is {from} cannot become {to}")]
pub struct InvalidTransition {
    from: &'static str,
    to: &'static str,
}

impl AttemptState {
    /// A one-word name for tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Launching { .. } => "launching",
            Self::Running { .. } => "running",
            Self::Ended { .. } => "ended",
            Self::Settled { .. } => "settled",
        }
    }

    /// Whether it may still do work: planned, launching or running.
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Planned { .. } | Self::Launching { .. } | Self::Running { .. })
    }

    /// How it ended, if it has.
    pub const fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Ended { outcome, .. } | Self::Settled { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// Since when its machines have been its own, if known.
    pub const fn placed(&self) -> Option<Now> {
        match self {
            Self::Planned { at } => Some(*at),
            Self::Launching { placed: Some(placed), .. }
            | Self::Running { placed: Some(placed), .. } => Some(*placed),
            Self::Launching { since, .. } => Some(*since),
            Self::Running { launched, .. } => Some(*launched),
            Self::Ended { placed, .. } | Self::Settled { placed, .. } => *placed,
        }
    }

    /// When its command began to run, if it has.
    pub const fn started(&self) -> Option<Now> {
        match self {
            Self::Running { since, .. } => Some(*since),
            Self::Ended { started, .. } | Self::Settled { started, .. } => *started,
            Self::Planned { .. } | Self::Launching { .. } => None,
        }
    }

    /// When it ended, if it has.
    pub const fn ended(&self) -> Option<Now> {
        match self {
            Self::Ended { at, .. } | Self::Settled { at, .. } => Some(*at),
            _ => None,
        }
    }

    const fn refuse<T>(&self, to: &'static str) -> Result<T, InvalidTransition> {
        Err(InvalidTransition { from: self.name(), to })
    }

    /// Planned becomes launching: from here on something may be billed.
    pub fn launch(self, now: Now) -> Result<Self, InvalidTransition> {
        match self {
            Self::Planned { at } => {
                Ok(Self::Launching { placed: Some(at), since: now, certainty: Certainty::Known })
            }
            other => other.refuse("launching"),
        }
    }

    /// The answer to a launch call was lost.
    pub fn lose_answer(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Launching { placed, since, .. } => {
                Ok(Self::Launching { placed, since, certainty: Certainty::Unknown })
            }
            other => other.refuse("launching (unknown)"),
        }
    }

    /// Every node is running its command.
    pub fn run(self, now: Now) -> Result<Self, InvalidTransition> {
        match self {
            Self::Launching { placed, since, .. } => {
                Ok(Self::Running { placed, launched: since, since: now })
            }
            other => other.refuse("running"),
        }
    }

    /// It has ended. Every live state may end; the start of its command may be reported
    /// only after its end.
    pub fn end(self, now: Now, outcome: Outcome) -> Result<Self, InvalidTransition> {
        match self {
            Self::Planned { .. } | Self::Launching { .. } | Self::Running { .. } => {
                let placed = self.placed();
                let late = |at: Now| if at.wall > now.wall { now } else { at };
                Ok(Self::Ended { placed, started: self.started().map(late), at: now, outcome })
            }
            other => other.refuse("ended"),
        }
    }

    /// Its charges have been written.
    pub fn settle(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Ended { placed, started, at, outcome } => {
                Ok(Self::Settled { placed, started, at, outcome })
            }
            other => other.refuse("settled"),
        }
    }
}

/// What one node of an attempt last reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Where the worker runs, as the pool identifies it (a pid, a task ARN, a pod).
    pub handle: Option<String>,
    /// An address that the other members of a gang can reach.
    pub address: Option<String>,
    /// When the worker registered.
    pub registered: Option<Now>,
    /// The hash of its key, which only that worker has; unknown in documents written by
    /// earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When the command began.
    pub started: Option<Now>,
    /// When and how the command ended, once it has.
    pub exited: Option<(Now, Exit)>,
    /// What the command had been told by then; unknown in documents written by earlier
    /// versions.
    #[serde(default)]
    pub told: Told,
    /// What its command has used; `None` if that was not measured, and in documents written
    /// by earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
}

impl NodeReport {
    /// How its command ended, if it has.
    pub fn end(&self) -> Option<CommandEnd> {
        self.exited.map(|(at, exit)| CommandEnd { at, exit, told: self.told })
    }
}

/// One try at a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Job and number.
    pub id: AttemptId,
    /// What it runs on: one instance per node, by rank.
    pub instances: Vec<InstanceId>,
    /// The offer all of them belong to.
    pub offer: OfferKey,
    /// What it takes of each instance.
    pub share: Share,
    /// The position of its part of a GPU on each instance, by rank, for as long as it
    /// lives; empty if it takes no such part, and in documents written by earlier versions.
    #[serde(default, rename = "seats", skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<GpuSlot>,
    /// The checkpoint it resumes from; `None` for a fresh start.
    pub restore: Option<CheckpointRef>,
    /// Why it was placed where it is, as known at placement.
    pub why: PlacementReason,
    /// Money set aside for it.
    pub hold: Money,
    /// Its state.
    pub state: AttemptState,
    /// The order to stop, once given. It is never withdrawn.
    pub stop: Option<StopOrder>,
    /// How long its money lasts; `None` for a job without a budget, and in documents
    /// written by earlier versions.
    #[serde(default, rename = "fuse")]
    pub cutoff: Option<BudgetCutoff>,
    /// The progress of the job in this attempt.
    pub progress: Progress,
    /// The last checkpoint this attempt committed.
    pub checkpoint: Option<CheckpointRef>,
    /// One entry per node, by rank.
    pub nodes: Vec<NodeReport>,
}

impl Attempt {
    /// The same attempt in another state.
    #[must_use]
    pub fn with_state(mut self, state: AttemptState) -> Self {
        self.state = state;
        self
    }

    /// The highest use of any of its nodes.
    pub fn memory(&self) -> Option<MemoryUse> {
        let used = self.nodes.iter().filter_map(|node| node.memory);
        used.max_by_key(|used| used.peak_bytes)
    }

    /// Whether it ran out of memory, from the first of its nodes that did.
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        let asked = self.share.memory_mib.saturating_mul(1 << 20);
        let judged = self.nodes.iter().filter_map(|node| {
            let found = OutOfMemory::of(node.end()?, node.memory?, asked)?;
            Some((node.end()?.at.wall, found))
        });
        judged.min_by_key(|(at, _)| *at).map(|(_, found)| found)
    }

    /// The step at which it last saved something: that of its last checkpoint or, if that
    /// was made before any step was reported, the step it has reached.
    pub fn saved_step(&self) -> Option<u64> {
        self.checkpoint?.progress.step.or(self.progress.step)
    }

    /// Whether it has saved something new: at a higher step than any attempt `before`; if
    /// its job reports no steps, anything counts if the attempt took `least` or longer (a
    /// job that touches its checkpoint and exits at once makes no progress).
    pub fn saved_news(&self, before: Option<u64>, least: Duration) -> bool {
        match (self.saved_step(), self.state.started(), self.state.ended()) {
            (Some(step), ..) => before.is_none_or(|before| step > before),
            (None, Some(began), Some(over)) if self.checkpoint.is_some() => {
                between(began.market, over.market) >= least
            }
            (None, ..) => false,
        }
    }

    /// Orders it to stop. The first reason stays, unless the new one is more urgent
    /// ([`StopReason::overrides`]); a provider's deadline always stays, and is added to an
    /// order that has none.
    #[must_use]
    pub fn order_stop(mut self, order: StopOrder) -> Self {
        match &mut self.stop {
            None => self.stop = Some(order),
            Some(standing) => {
                if order.reason.overrides(standing.reason) {
                    (standing.reason, standing.at) = (order.reason, order.at);
                }
                standing.reclaim_wall = standing.reclaim_wall.or(order.reclaim_wall);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn now(second: i64) -> Now {
        let t = Timestamp::from_second(second).unwrap();
        Now { market: t, wall: t }
    }

    #[test]
    fn a_life_runs_one_way() {
        let planned = AttemptState::Planned { at: now(1) };
        let running = planned.clone().launch(now(2)).unwrap().run(now(3)).unwrap();
        let ended = running.end(now(4), Outcome::Succeeded).unwrap();
        assert!(ended.clone().run(now(5)).is_err());
        assert!(ended.clone().end(now(5), Outcome::Lost).is_err(), "ended once");
        assert!(ended.settle().unwrap().settle().is_err());
        assert!(planned.settle().is_err());
    }

    #[test]
    fn it_is_remembered_since_when_it_had_its_machines() {
        let launching = AttemptState::Planned { at: now(1) }.launch(now(2)).unwrap();
        let running = launching.clone().run(now(3)).unwrap();
        for (live, started) in [(launching, None), (running, Some(now(3)))] {
            let ended = live.end(now(4), Outcome::Lost).unwrap();
            for state in [ended.clone(), ended.settle().unwrap()] {
                assert_eq!((state.placed(), state.started()), (Some(now(1)), started), "{state:?}");
            }
        }
        let heard_late = AttemptState::Running { placed: None, launched: now(2), since: now(9) };
        assert_eq!(heard_late.end(now(4), Outcome::Lost).unwrap().started(), Some(now(4)));
        let before = serde_json::json!({
            "state": "ended", "started": null, "at": now(4), "outcome": {"outcome": "lost"},
        });
        let read: AttemptState = serde_json::from_value(before).unwrap();
        assert_eq!(read.placed(), None, "documents of before do not say");
    }
}
