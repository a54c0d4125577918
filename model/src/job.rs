//! A submitted job, and its state.
//!
//! ```text
//! Held <-> Waiting <-> Active -> Succeeded | Failed | Cancelled
//!   \_________\________________> Cancelled | Skipped | Rejected
//! ```

mod parents;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Now;
use crate::attempt::{CheckpointRef, Progress};
use crate::dependency::Condition;
use crate::id::{AttemptId, JobId};
use crate::measured::Measured;
use crate::money::Money;
use crate::plan::WaitReason;
use crate::quote::Quoted;
use crate::spec::JobSpec;

pub use state::{CancelReason, FailReason, HoldReason, InvalidTransition, JobState};

/// Where a deadline comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadlineSource {
    /// Given in the spec.
    Given,
    /// Submission plus three times the expected duration.
    Derived,
}

/// The position of a job in an array or sweep.
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
    /// Whether the worker of an element that has succeeded takes the next one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuse_workers: bool,
}

/// What is unknown about a job after an older database was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreGap {
    /// The last attempt that may not be fully known.
    pub attempt: u32,
    /// From when none of its workers can still be alive (market time).
    pub over: Timestamp,
    /// The time of the backup, until a worker from before the restore reports again: what
    /// was done after it is unknown.
    #[serde(rename = "known_until")]
    pub uncertain_since: Option<Now>,
}

/// What a job is a resubmission of, and what it inherits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resubmission {
    /// The job that ended.
    pub of: JobId,
    /// The submission whose shared folder it uses: the original one's.
    pub shared: JobId,
    /// Jobs whose checkpoints it may resume from, newest first; it never writes there.
    pub lineage: Vec<JobId>,
    /// Whether they may have newer checkpoints than the known one.
    #[serde(default)]
    pub may_have_more: bool,
}

/// A submitted job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// The first job of the same submission, that is, of the same document.
    pub group: JobId,
    /// Its place in an array or sweep.
    pub array: Option<ArrayPlace>,
    /// What its owner wrote, validated.
    pub spec: Arc<JobSpec>,
    /// When it was accepted (market time).
    pub submitted: Timestamp,
    /// Who submitted it; `None` where nobody was asked for his name yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_by: Option<String>,
    /// When it must be done (market time).
    pub deadline: Timestamp,
    /// Where the deadline comes from.
    pub deadline_source: DeadlineSource,
    /// The jobs that must end first.
    pub after: Vec<JobId>,
    /// The conditions on those that need not succeed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on: BTreeMap<JobId, Condition>,
    /// Array elements of which one must fail, each with the first of its array: one failure
    /// is enough.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub one_of: BTreeMap<JobId, JobId>,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts that failed by themselves.
    pub errors: u32,
    /// Attempts that lost their capacity.
    pub interruptions: u32,
    /// Consecutive attempts that asked to be run again and had saved nothing new.
    #[serde(default)]
    pub fruitless: u32,
    /// The highest step at which any of its attempts has saved something.
    #[serde(default)]
    pub saved_step: Option<u64>,
    /// Its progress, saved or not.
    pub progress: Progress,
    /// The newest verified checkpoint.
    pub checkpoint: Option<CheckpointRef>,
    /// What is unknown about it, since an older database was restored.
    #[serde(default, rename = "half_known")]
    pub restore_gap: Option<RestoreGap>,
    /// How long the whole work takes, once progress has been reported.
    #[serde(default)]
    pub measured: Measured,
    /// Settled charges.
    pub spent: Money,
    /// When its owner asked to cancel it (market time).
    pub cancel_asked: Option<Timestamp>,
    /// Not placed again before this market time (after a failure).
    pub not_before: Option<Timestamp>,
    /// The deadline that was reported as no longer attainable; `None` while it can be met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_lost: Option<Timestamp>,
    /// Its budget was raised during its present attempt: if that attempt is stopped for the
    /// old budget, the job need not be held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub budget_raised: bool,
    /// What it resubmits; `None` for a new job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resubmission: Option<Resubmission>,
    /// Its expected cost when the planner first saw it; `None` before that, and for jobs
    /// older than this record.
    #[serde(default)]
    pub quoted: Option<Quoted>,
    /// Its state.
    pub state: JobState,
}

impl Job {
    /// A newly accepted job: queued, alone in its group, with the deadline given by its
    /// document.
    pub fn new(id: JobId, spec: Arc<JobSpec>, submitted: Timestamp, deadline: Timestamp) -> Self {
        let (since, why_since) = (submitted, submitted);
        Self {
            id,
            group: id,
            array: None,
            spec,
            submitted,
            submitted_by: None,
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
            restore_gap: None,
            measured: Measured::default(),
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

    /// Its name for people: `name`, or `name[3]` in an array.
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

    /// Its progress if it started again now: what its newest checkpoint holds, or nothing.
    pub fn saved_progress(&self) -> Progress {
        match self.checkpoint {
            Some(checkpoint) if self.spec.resumable() => checkpoint.progress,
            _ => Progress::default(),
        }
    }

    /// Whether there may be newer checkpoints than the known one.
    pub fn may_have_saved_more(&self) -> bool {
        let own = self.checkpoint.filter(|newest| newest.attempt.job == self.id);
        let newest = own.map_or(0, |newest| newest.attempt.number);
        let taken_over = self.resubmission.as_ref().is_some_and(|it| it.may_have_more);
        let may = self.restore_gap.is_some_and(|gap| newest <= gap.attempt)
            || own.is_none() && taken_over;
        self.spec.resumable() && may
    }

    /// Up to when an attempt's actions are known; `None` if they are known up to now.
    pub fn uncertain_since(&self, attempt: AttemptId) -> Option<Now> {
        self.restore_gap.filter(|gap| attempt.number <= gap.attempt)?.uncertain_since
    }

    /// A worker of this attempt has reported: what it does is known again.
    pub fn mark_observed(&mut self, attempt: AttemptId) {
        if let Some(known) = self.restore_gap.as_mut().filter(|gap| attempt.number <= gap.attempt) {
            known.uncertain_since = None;
        }
    }

    /// Whether it met its deadline; `None` if it has not finished.
    pub fn met_deadline(&self) -> Option<bool> {
        match self.state {
            JobState::Succeeded { at } => Some(at <= self.deadline),
            _ => None,
        }
    }
}
