//! What a command is answered with.

use std::time::Duration;

use spotwise_model::attempt::{CheckpointRef, StopReason};
use spotwise_model::{Attempt, AttemptId, Job, JobId};

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The jobs of a submission, and whether an earlier call had made them.
    Submitted {
        /// In the order of the document, arrays expanded.
        jobs: Vec<JobId>,
        /// What this call has made: the very jobs, so that nobody asks for them again.
        made: Vec<Job>,
        /// True for a repeated call.
        replayed: bool,
    },
    /// A job's terms have changed.
    Edited {
        /// The job as it is now; none where that is as it was.
        job: Option<Box<Job>>,
        /// What has changed, with the old and the new.
        words: Vec<String>,
        /// True for a repeated call.
        replayed: bool,
    },
    /// The jobs that will end as cancelled.
    Cancelled {
        /// Which.
        jobs: Vec<JobId>,
    },
    /// What a worker shall run; none while its gang is not complete.
    Assigned(Option<Box<Assigned>>),
    /// What a worker shall do.
    Orders(Orders),
    /// Taken note of.
    Noted,
}

/// What a worker shall run.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The job as it stands.
    pub job: Job,
    /// The attempt.
    pub attempt: Attempt,
    /// Where to resume from.
    pub restore: Option<CheckpointRef>,
    /// Whether to resume from the newest checkpoint of any earlier attempt instead:
    /// the scheduler may not know it.
    pub newest_saved: bool,
    /// Addresses of the gang, by rank.
    pub addresses: Vec<String>,
    /// How long its money lasts from the call on; none without a budget.
    pub money_lasts: Option<Duration>,
}

/// What a worker shall do. Durations count from the round that answers: a worker
/// counts them from its call, which is earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The capacity is gone after this; none while nobody wants it back.
    pub reclaim_in: Option<Duration>,
    /// The attempt has to end: why, and within what time.
    pub stop: Option<(StopReason, Duration)>,
    /// How long its money lasts; none without a budget.
    pub money_lasts: Option<Duration>,
}

/// Why a command was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The idempotency key was used for another document.
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
    /// The attempt is over, or a newer one has taken its place.
    #[error("attempt {attempt} is not the live attempt of its job")]
    Fenced {
        /// Which.
        attempt: AttemptId,
    },
    /// Too much is waiting to be worked on.
    #[error("the scheduler is overloaded, try again in a second")]
    Overloaded,
    /// The scheduler stops, or its store does not answer.
    #[error("the scheduler is not available: {0}")]
    Unavailable(String),
}
