//! Everything that happens is a [`Change`]: the new value of one thing. A phase makes
//! changes, the store writes them, the state applies them.
//!
//! Changes carry whole values, so that applying one cannot fail and writing one is one
//! upsert. Which transition a thing may take is decided beforehand, in `model`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spotwise_model::access::Token;
use spotwise_model::freeze::Freeze;
use spotwise_model::{Attempt, AttemptId, Instance, Job, JobId, LedgerEntry, PoolSet};

use super::audit::AuditEntry;
use super::availability_history::AvailabilityUpdate;
use super::prices::PriceUpdate;

/// One thing that has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", content = "value", rename_all = "kebab-case")]
pub enum Change {
    /// A job, new or in its next state.
    Job(Box<Job>),
    /// An attempt, new or in its next state.
    Attempt(Box<Attempt>),
    /// An instance, new or in its next state.
    Instance(Box<Instance>),
    /// Charges; only ever added.
    Ledger(Vec<LedgerEntry>),
    /// The record of an accepted submission, for its idempotency key.
    Submission(SubmissionRecord),
    /// Something a person wants to read later.
    Event(Event),
    /// The pools, in a new version.
    Pools(Box<PoolSet>),
    /// Buying is stopped, or goes on.
    Freeze(Option<Freeze>),
    /// A token, new, used or revoked.
    Token(Box<Token>),
    /// What somebody did.
    Audit(Box<AuditEntry>),
    /// What has been observed of the spot markets since the previous one of these.
    #[serde(rename = "watched")]
    Availability(Box<AvailabilityUpdate>),
    /// What has been heard of prices since the previous one of these.
    Prices(Box<PriceUpdate>),
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionRecord {
    /// The key that the client chose.
    pub key: String,
    /// SHA-256 of the canonical document, in hex: the same key with another
    /// document is a conflict.
    pub document_hash: String,
    /// The jobs it created.
    pub jobs: Vec<JobId>,
    /// When (market time).
    pub at: Timestamp,
}

/// A line in the history of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, from 1, without gaps; 0 until the state has applied it.
    pub number: u64,
    /// Whose.
    pub job: JobId,
    /// In which attempt.
    pub attempt: Option<AttemptId>,
    /// When (market time).
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Text with figures.
    pub message: String,
    /// Who asked for it, if anybody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Accepted.
    Submitted,
    /// It now waits for something else.
    Waiting,
    /// Given an offer.
    Placed,
    /// Its command is running, from the start.
    Started,
    /// Its command is running, from a checkpoint.
    Resumed,
    /// A checkpoint was committed.
    Checkpointed,
    /// The provider has announced that it is taking the capacity back.
    Noticed,
    /// An attempt is being stopped.
    Stopping,
    /// An attempt ended without finishing the job.
    Ended,
    /// May not run for now.
    Held,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Not needed.
    Skipped,
    /// Its charges are in the ledger.
    Settled,
    /// The database is an older one: not everything about the job is known.
    Restored,
    /// Its deadline can no longer be met.
    DeadlineLost,
    /// Its deadline can be met after all.
    DeadlineBack,
    /// Its owner has changed its budget, deadline, priority or retries.
    Edited,
    /// Something about its files that its owner should know: what is left out of a
    /// checkpoint or of its outputs, or what prevents a checkpoint.
    Warning,
}

impl EventKind {
    /// Its name on the wire and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Waiting => "waiting",
            Self::Placed => "placed",
            Self::Started => "started",
            Self::Resumed => "resumed",
            Self::Checkpointed => "checkpointed",
            Self::Noticed => "noticed",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
            Self::Held => "held",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Settled => "settled",
            Self::Restored => "restored",
            Self::DeadlineLost => "deadline-lost",
            Self::DeadlineBack => "deadline-back",
            Self::Edited => "edited",
            Self::Warning => "warning",
        }
    }
}

impl Change {
    /// Whether a plan may turn out differently because of it. Who asked for it does not
    /// count, nor that the market was observed; what it offers now, and at what price, a round determines itself.
    pub const fn is_news(&self) -> bool {
        !matches!(self, Self::Availability(_) | Self::Prices(_) | Self::Token(_) | Self::Audit(_))
    }

    /// A new line in a job's history.
    pub fn event(
        job: JobId,
        attempt: Option<AttemptId>,
        at: Timestamp,
        kind: EventKind,
        message: impl Into<String>,
    ) -> Self {
        Self::Event(Event { number: 0, job, attempt, at, kind, message: message.into(), by: None })
    }
}

impl From<Job> for Change {
    fn from(job: Job) -> Self {
        Self::Job(Box::new(job))
    }
}

impl From<Attempt> for Change {
    fn from(attempt: Attempt) -> Self {
        Self::Attempt(Box::new(attempt))
    }
}

impl From<Instance> for Change {
    fn from(instance: Instance) -> Self {
        Self::Instance(Box::new(instance))
    }
}
