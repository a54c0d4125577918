//! Replies to commands.

use std::time::Duration;

use spotwise_model::attempt::{CheckpointRef, StopReason};
use spotwise_model::{Attempt, AttemptId, Job, JobId};

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The jobs of a submission, and whether an earlier call had created them.
    Submitted {
        /// In document order, arrays expanded.
        jobs: Vec<JobId>,
        /// The jobs that this call created, so that nobody has to ask for them again.
        made: Vec<Job>,
        /// True for a repeated call.
        replayed: bool,
    },
    /// A job's terms have changed.
    Edited {
        /// The job as it is now; `None` if it is unchanged.
        job: Option<Box<Job>>,
        /// What has changed, with old and new values.
        words: Vec<String>,
        /// True for a repeated call.
        replayed: bool,
    },
    /// The jobs that will end as cancelled.
    Cancelled {
        /// Which.
        jobs: Vec<JobId>,
    },
    /// What a worker should run; `None` while its gang is incomplete.
    Assigned(Option<Box<Assigned>>),
    /// Another worker has the attempt and rank, or it comes too late.
    NotTheWorker,
    /// What a worker should do.
    Orders(Orders),
    /// Acknowledged.
    Noted,
}

/// What a worker should run.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The job as it stands.
    pub job: Job,
    /// The attempt.
    pub attempt: Attempt,
    /// Where to resume from.
    pub restore: Option<CheckpointRef>,
    /// Whether to resume from the newest checkpoint of any earlier attempt instead, which
    /// the scheduler may not know.
    pub newest_saved: bool,
    /// Addresses of the gang, by rank.
    pub addresses: Vec<String>,
    /// How long its money lasts, counted from the call; `None` without a budget.
    pub money_lasts: Option<Duration>,
}

/// What a worker should do. Durations count from the round that answers: a worker counts
/// them from its call, which is earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The capacity is gone after this; `None` unless it is being reclaimed.
    pub reclaim_in: Option<Duration>,
    /// The attempt must end: why, and within what time.
    pub stop: Option<(StopReason, Duration)>,
    /// How long its money lasts; `None` without a budget.
    pub money_lasts: Option<Duration>,
}

/// Why a command was refused. In that case nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The idempotency key was used for a different document.
    #[error("this idempotency key was used for another document")]
    KeyReused,
    /// What was sent is not acceptable: a stable code, the field, the remedy.
    #[error("{field}: {message}")]
    Invalid {
        /// Stable, for programs.
        code: &'static str,
        /// The field.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// It does not fit the current state: a stable code, and why.
    #[error("{message}")]
    Conflict {
        /// Stable, for programs.
        code: &'static str,
        /// Why, and what to do.
        message: String,
    },
    /// The attempt has ended, or a newer one has taken its place.
    #[error("attempt {attempt} is not the live attempt of its job")]
    Fenced {
        /// Which.
        attempt: AttemptId,
    },
    /// Too much is waiting to be processed.
    #[error("the scheduler is overloaded, try again in a second")]
    Overloaded,
    /// The scheduler is stopping, or its store does not answer.
    #[error("the scheduler is not available: {0}")]
    Unavailable(String),
}
