//! What was submitted, and where it is.
//!
//! ```text
//! Held <-> Waiting <-> Active -> Succeeded | Failed | Cancelled
//!   \_________\________________> Cancelled | Skipped | Rejected
//! ```

mod parents;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Now;
use crate::attempt::{CheckpointRef, Progress};
use crate::dependency::{Condition, Ending, Unmet};
use crate::id::{AttemptId, JobId};
use crate::money::Money;
use crate::plan::WaitReason;
use crate::quote::Quoted;
use crate::spec::JobSpec;

/// Why a job may not run although it could.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub enum HoldReason {
    /// What is left of its budget does not pay for going on.
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
    /// A job it waits for did not succeed. Not made any more: see [`CancelReason`].
    Dependency {
        /// That job.
        job: JobId,
    },
}

/// Why a job was cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CancelReason {
    /// Its owner did not want it any more.
    #[default]
    Owner,
    /// A job that it waits for failed or was cancelled.
    Unmet(Unmet),
}

/// Where a job is. Times are market time.
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
        /// What for, as the last round saw it.
        why: WaitReason,
        /// Since when for that very reason.
        why_since: Timestamp,
    },
    /// Has a live attempt.
    Active {
        /// Since when.
        since: Timestamp,
        /// Which.
        attempt: AttemptId,
    },
    /// Done.
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
    /// Its owner did not want it any more, or what it waits for did not come.
    Cancelled {
        /// When.
        at: Timestamp,
        /// Why.
        #[serde(default)]
        why: CancelReason,
    },
    /// Not needed: it was to run only where another job fails, which did not.
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
        /// Why, in words.
        why: String,
    },
}

/// A step that the life of a job does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} cannot become {to}")]
pub struct InvalidTransition {
    from: &'static str,
    to: &'static str,
}

impl JobState {
    /// One word for tables.
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

    /// Every name that [`Self::name`] gives.
    pub const NAMES: [&'static str; 8] =
        ["held", "waiting", "active", "succeeded", "failed", "cancelled", "skipped", "rejected"];

    /// Whether it is over for good.
    pub const fn is_terminal(&self) -> bool {
        self.ended().is_some()
    }

    /// When it was over, if it is.
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

    /// How it ended, for those that wait for it; none while it is not over.
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

    /// An attempt was made for it.
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

    /// Its owner's wish is carried out.
    pub fn cancel(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        if self.is_terminal() {
            return self.refuse("cancelled");
        }
        Ok(Self::Cancelled { at, why: CancelReason::Owner })
    }

    /// What it waits for can never come: cancelled where that is a pity, skipped
    /// where all is well without it.
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

/// Where a deadline comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadlineSource {
    /// The spec names it.
    Given,
    /// Submission plus three times the expected duration.
    Derived,
}

/// The place of a job in an array or sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayPlace {
    /// The job of element 0.
    pub first: JobId,
    /// Which element, from 0.
    pub index: u32,
    /// How many elements there are.
    pub size: u32,
    /// At most this many at once.
    pub max_parallel: Option<u32>,
}

/// A job whose database is older than what the job has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfKnown {
    /// The last attempt of which not everything may be known.
    pub attempt: u32,
    /// From when on none of its workers can be left (market time).
    pub over: Timestamp,
    /// The time of the backup, until a worker of before is heard again: what was done
    /// after it is not known.
    pub known_until: Option<Now>,
}

/// What a job is a resubmission of, and what it takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resubmission {
    /// The job that ended.
    pub of: JobId,
    /// The submission whose shared folder it uses: the first one's.
    pub shared: JobId,
    /// Jobs whose checkpoints it may go on from, newest first; it never writes there.
    pub lineage: Vec<JobId>,
    /// Whether there may be newer checkpoints of them than the one that is known.
    #[serde(default)]
    pub may_have_more: bool,
}

/// What was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// The first job of the same submission: what one document made together.
    pub group: JobId,
    /// Its place in an array or sweep.
    pub array: Option<ArrayPlace>,
    /// What its owner wrote, validated.
    pub spec: Arc<JobSpec>,
    /// When it was accepted (market time).
    pub submitted: Timestamp,
    /// When it must be done (market time).
    pub deadline: Timestamp,
    /// Where the deadline comes from.
    pub deadline_source: DeadlineSource,
    /// The jobs that must end first.
    pub after: Vec<JobId>,
    /// How those of them must end that need not succeed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on: BTreeMap<JobId, Condition>,
    /// Elements of arrays that have to fail, by the first of their array: one of them is
    /// enough.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub one_of: BTreeMap<JobId, JobId>,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts that failed by themselves.
    pub errors: u32,
    /// Attempts that lost their capacity.
    pub interruptions: u32,
    /// Attempts in a row that asked to be run again and had saved nothing new.
    #[serde(default)]
    pub fruitless: u32,
    /// The highest step at which one of its attempts has saved something.
    #[serde(default)]
    pub saved_step: Option<u64>,
    /// How far it is, saved or not.
    pub progress: Progress,
    /// The newest verified checkpoint.
    pub checkpoint: Option<CheckpointRef>,
    /// What is not known of it, since an older database was restored.
    #[serde(default)]
    pub half_known: Option<HalfKnown>,
    /// Duration of the whole work as measured on the last attempt's machine,
    /// once progress has been reported.
    pub measured: Option<Duration>,
    /// Settled charges.
    pub spent: Money,
    /// When its owner asked to cancel it (market time).
    pub cancel_asked: Option<Timestamp>,
    /// Not placed again before this market time (after a failure).
    pub not_before: Option<Timestamp>,
    /// The deadline of which it was said that it can no longer be met; none while
    /// it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_lost: Option<Timestamp>,
    /// Its budget was raised while its present attempt lives: that this is stopped
    /// for the old one is no reason to hold it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub budget_raised: bool,
    /// What it comes back from; none for a job that was new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resubmission: Option<Resubmission>,
    /// What it was expected to cost when the planner saw it first; none before
    /// that, and for jobs that are older than this record.
    #[serde(default)]
    pub quoted: Option<Quoted>,
    /// Where it is.
    pub state: JobState,
}

impl Job {
    /// A job that has just been accepted: queued, alone in its group, with the deadline
    /// that its document gives.
    pub fn new(id: JobId, spec: Arc<JobSpec>, submitted: Timestamp, deadline: Timestamp) -> Self {
        let (since, why_since) = (submitted, submitted);
        Self {
            id,
            group: id,
            array: None,
            spec,
            submitted,
            deadline,
            deadline_source: DeadlineSource::Given,
            after: Vec::new(),
            on: BTreeMap::new(),
            one_of: BTreeMap::new(),
            attempts: 0,
            errors: 0,
            interruptions: 0,
            fruitless: 0,
            saved_step: None,
            progress: Progress::default(),
            checkpoint: None,
            half_known: None,
            measured: None,
            spent: Money::ZERO,
            cancel_asked: None,
            not_before: None,
            deadline_lost: None,
            budget_raised: false,
            resubmission: None,
            quoted: None,
            state: JobState::Waiting { since, why: WaitReason::Queued, why_since },
        }
    }

    /// What a person calls it: `name`, or `name[3]` in an array.
    pub fn display_name(&self) -> String {
        match self.array {
            Some(place) => format!("{}[{}]", self.spec.name, place.index),
            None => self.spec.name.to_string(),
        }
    }

    /// The submission whose shared folder it uses.
    pub fn shared(&self) -> JobId {
        self.resubmission.as_ref().map_or(self.group, |it| it.shared)
    }

    /// How far it would be if it started again now: what its newest checkpoint
    /// holds, or nothing.
    pub fn saved_progress(&self) -> Progress {
        match self.checkpoint {
            Some(checkpoint) if self.spec.resumable() => checkpoint.progress,
            _ => Progress::default(),
        }
    }

    /// Whether there may be newer checkpoints than the one that is known.
    pub fn may_have_saved_more(&self) -> bool {
        let own = self.checkpoint.filter(|newest| newest.attempt.job == self.id);
        let newest = own.map_or(0, |newest| newest.attempt.number);
        let taken_over = self.resubmission.as_ref().is_some_and(|it| it.may_have_more);
        let may = self.half_known.is_some_and(|known| newest <= known.attempt)
            || own.is_none() && taken_over;
        self.spec.resumable() && may
    }

    /// Up to when it is known what an attempt has done; none where that is up to now.
    pub fn known_until(&self, attempt: AttemptId) -> Option<Now> {
        self.half_known.filter(|known| attempt.number <= known.attempt)?.known_until
    }

    /// A worker of this attempt speaks: what it does is known again.
    pub fn hear(&mut self, attempt: AttemptId) {
        if let Some(known) = self.half_known.as_mut().filter(|k| attempt.number <= k.attempt) {
            known.known_until = None;
        }
    }

    /// Whether it met its deadline; none while it is not done.
    pub fn met_deadline(&self) -> Option<bool> {
        match self.state {
            JobState::Succeeded { at } => Some(at <= self.deadline),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
