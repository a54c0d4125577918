//! The state of a job, and the transitions allowed from it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dependency::{Ending, Unmet};
use crate::id::{AttemptId, JobId};
use crate::money::Money;
use crate::plan::WaitReason;

/// Why a job may not run although it could.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub enum HoldReason {
    /// What remains of its budget does not pay for continuing.
    Budget {
        /// The budget.
        budget: Money,
        /// What is spent and set aside.
        committed: Money,
    },
    /// Somebody has to approve it.
    Approval,
}

/// Why a job ended without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "kebab-case")]
pub enum FailReason {
    /// It failed more often than its spec allows.
    Errors {
        /// Failures so far.
        errors: u32,
        /// How it ended last: an exit code or a signal.
        last: String,
    },
    /// It was interrupted more often than its spec allows.
    Interruptions {
        /// Interruptions so far.
        interruptions: u32,
    },
    /// It asked to be run again too often without having saved anything new.
    NothingNew {
        /// How often in a row.
        attempts: u32,
    },
    /// It ran longer than its `timeout`.
    TimedOut,
    /// A job it waits for did not succeed. No longer created: see [`CancelReason`].
    Dependency {
        /// That job.
        job: JobId,
    },
}

/// Why a job was cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CancelReason {
    /// Its owner no longer wanted it.
    #[default]
    Owner,
    /// A job that it waits for failed or was cancelled.
    Unmet(Unmet),
}

/// The state of a job. Times are market time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum JobState {
    /// May not run for now.
    Held {
        /// Since when.
        since: Timestamp,
        /// Why.
        why: HoldReason,
    },
    /// Ready for the planner, or not yet.
    Waiting {
        /// Since when.
        since: Timestamp,
        /// What it waits for, as of the last round.
        why: WaitReason,
        /// Since when for that same reason.
        why_since: Timestamp,
    },
    /// Has a live attempt.
    Active {
        /// Since when.
        since: Timestamp,
        /// Which.
        attempt: AttemptId,
    },
    /// Finished.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// Given up.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        why: FailReason,
    },
    /// Its owner no longer wanted it, or a job it waits for ended the wrong way.
    Cancelled {
        /// When.
        at: Timestamp,
        /// Why.
        #[serde(default)]
        why: CancelReason,
    },
    /// Not needed: it was to run only if another job failed, which did not happen.
    Skipped {
        /// When.
        at: Timestamp,
        /// What did not happen.
        why: Unmet,
    },
    /// Never admitted.
    Rejected {
        /// When.
        at: Timestamp,
        /// Why, as text.
        why: String,
    },
}

/// A transition that the life cycle of a job does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} cannot become {to}")]
pub struct InvalidTransition {
    from: &'static str,
    to: &'static str,
}

impl JobState {
    /// A one-word name for tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Waiting { .. } => "waiting",
            Self::Active { .. } => "active",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Skipped { .. } => "skipped",
            Self::Rejected { .. } => "rejected",
        }
    }

    /// Every name that [`Self::name`] returns.
    pub const NAMES: [&'static str; 8] =
        ["held", "waiting", "active", "succeeded", "failed", "cancelled", "skipped", "rejected"];

    /// Whether it has ended for good.
    pub const fn is_terminal(&self) -> bool {
        self.ended().is_some()
    }

    /// When it ended, if it has.
    pub const fn ended(&self) -> Option<Timestamp> {
        match self {
            Self::Succeeded { at }
            | Self::Failed { at, .. }
            | Self::Cancelled { at, .. }
            | Self::Skipped { at, .. }
            | Self::Rejected { at, .. } => Some(*at),
            Self::Held { .. } | Self::Waiting { .. } | Self::Active { .. } => None,
        }
    }

    /// How it ended, for those that wait for it; `None` if it has not ended.
    pub const fn ending(&self) -> Option<Ending> {
        match self {
            Self::Held { .. } | Self::Waiting { .. } | Self::Active { .. } => None,
            Self::Succeeded { .. } => Some(Ending::Succeeded),
            Self::Failed { .. } | Self::Rejected { .. } => Some(Ending::Failed),
            Self::Cancelled { .. } => Some(Ending::Cancelled),
            Self::Skipped { .. } => Some(Ending::Skipped),
        }
    }

    const fn refuse<T>(&self, to: &'static str) -> Result<T, InvalidTransition> {
        Err(InvalidTransition { from: self.name(), to })
    }

    /// Waits (again): after a hold, after an attempt, or for another reason.
    /// `why_since` moves only when the kind of reason does.
    pub fn wait(self, now: Timestamp, why: WaitReason) -> Result<Self, InvalidTransition> {
        match self {
            Self::Waiting { since, why: old, why_since } => {
                let why_since = if old.same_kind(&why) { why_since } else { now };
                Ok(Self::Waiting { since, why, why_since })
            }
            Self::Held { .. } | Self::Active { .. } => {
                Ok(Self::Waiting { since: now, why, why_since: now })
            }
            other => other.refuse("waiting"),
        }
    }

    /// May not run for now.
    pub fn hold(self, now: Timestamp, why: HoldReason) -> Result<Self, InvalidTransition> {
        match self {
            Self::Waiting { .. } | Self::Active { .. } => Ok(Self::Held { since: now, why }),
            Self::Held { since, .. } => Ok(Self::Held { since, why }),
            other => other.refuse("held"),
        }
    }

    /// An attempt has been created for it.
    pub fn activate(self, now: Timestamp, attempt: AttemptId) -> Result<Self, InvalidTransition> {
        match self {
            Self::Waiting { .. } => Ok(Self::Active { since: now, attempt }),
            other => other.refuse("active"),
        }
    }

    /// Its attempt succeeded.
    pub fn succeed(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Active { .. } => Ok(Self::Succeeded { at }),
            other => other.refuse("succeeded"),
        }
    }

    /// It is given up.
    pub fn fail(self, at: Timestamp, why: FailReason) -> Result<Self, InvalidTransition> {
        if self.is_terminal() { self.refuse("failed") } else { Ok(Self::Failed { at, why }) }
    }

    /// Its owner's request is carried out.
    pub fn cancel(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        if self.is_terminal() {
            return self.refuse("cancelled");
        }
        Ok(Self::Cancelled { at, why: CancelReason::Owner })
    }

    /// What it waits for can never happen: cancelled if that is a failure, skipped if all
    /// is well without it.
    pub fn give_up(self, at: Timestamp, why: Unmet) -> Result<Self, InvalidTransition> {
        match self {
            Self::Held { .. } | Self::Waiting { .. } if why.ended.is_good() => {
                Ok(Self::Skipped { at, why })
            }
            Self::Held { .. } | Self::Waiting { .. } => {
                Ok(Self::Cancelled { at, why: CancelReason::Unmet(why) })
            }
            other => other.refuse("skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::Condition;

    #[test]
    fn terminal_is_terminal() {
        let at = Timestamp::from_second(5).unwrap();
        let done = JobState::Succeeded { at };
        let why = Unmet { job: JobId(1), on: Condition::Failed, ended: Ending::Succeeded };
        assert!(done.clone().give_up(at, why).is_err());
        assert!(done.clone().cancel(at).is_err());
        assert!(done.clone().fail(at, FailReason::TimedOut).is_err());
        assert!(done.wait(at, WaitReason::Queued).is_err());
    }

    #[test]
    fn a_reason_that_stays_keeps_its_date() {
        let [t1, t2, t3] = [1, 2, 3].map(|s| Timestamp::from_second(s).unwrap());
        let state = JobState::Waiting { since: t1, why: WaitReason::Queued, why_since: t1 };
        let state = state.wait(t2, WaitReason::needs([(JobId(1), Condition::Succeeded)])).unwrap();
        let state = state.wait(t3, WaitReason::needs([(JobId(2), Condition::Failed)])).unwrap();
        assert!(
            matches!(state, JobState::Waiting { why_since, since, .. } if why_since == t2 && since == t1)
        );
    }
}
