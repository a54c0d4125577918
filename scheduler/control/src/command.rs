//! What may be asked of the control plane. A command is data: `intake` decides what to do
//! with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::access::Token;
use spotwise_model::attempt::{CheckpointRef, Exit, Progress, Told};
use spotwise_model::freeze::Freeze;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::inventory::Inventory;
use spotwise_model::memory::MemoryUse;
use spotwise_model::spec::{Edit, Submission};
use spotwise_model::{AttemptId, Ending, InstanceId, Job, JobId, JobSpec, Money, Now, PoolSet};

use crate::core::Asker;

/// A checkpoint that a worker has loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Who wrote it.
    pub attempt: AttemptId,
    /// Its number in that attempt.
    pub sequence: u32,
    /// Size of its shards.
    pub bytes: u64,
    /// The step and the total (0 for unknown) it holds, if known.
    pub step: Option<(u64, u64)>,
}

impl From<CheckpointRef> for Loaded {
    fn from(it: CheckpointRef) -> Self {
        let CheckpointRef { attempt, sequence, bytes, progress, .. } = it;
        let step = progress.step.map(|step| (step, progress.total_steps.unwrap_or(0)));
        Self { attempt, sequence, bytes, step }
    }
}

/// A request to the control plane.
#[derive(Debug)]
pub enum Command {
    /// What somebody asks for by name: recorded, if it changes anything.
    By(Box<Asker>, Box<Command>),
    /// A new token, or one that is known already.
    AddToken(Box<Token>),
    /// A token is good no more.
    RevokeToken {
        /// The part of it that is no secret.
        id: String,
    },
    /// Calls were refused, because who made them was not known.
    LoginFailed {
        /// Where they came from.
        from: String,
        /// How many, since the last of these.
        times: u64,
    },
    /// A token was used (wall time).
    TokenUsed {
        /// The part of it that is no secret.
        id: String,
        /// When.
        at: Timestamp,
    },
    /// Accept all jobs of a submission, or none.
    Submit(Submit),
    /// Keep forecasts ready for such jobs for a while: somebody wants to know what they
    /// would cost.
    RequestForecasts(Vec<Arc<JobSpec>>),
    /// Resubmit ended jobs, or none.
    Resubmit(Resubmit),
    /// Change the terms of a job.
    Edit(EditJob),
    /// Cancel jobs.
    Cancel {
        /// Which.
        job: JobId,
        /// All jobs of the same submission.
        group: bool,
    },
    /// Cancel all elements of an array.
    CancelArray {
        /// Its element 0.
        first: JobId,
    },
    /// A worker asks what to do.
    Register {
        /// Who asks.
        worker: WorkerId,
        /// The pool's name for it.
        handle: String,
        /// Where the rest of its gang can reach it.
        address: String,
        /// The key that it shows.
        key: WorkerKey,
    },
    /// A worker is alive.
    Heartbeat {
        /// Who.
        worker: WorkerId,
        /// The step and the total (0 for unknown) it last read, if any.
        step: Option<(u64, u64)>,
        /// What its command has used so far, if it measures that.
        memory: Option<MemoryUse>,
    },
    /// What a worker's command used up to its end, which is reported next.
    Measured {
        /// Whose.
        worker: WorkerId,
        /// How much.
        memory: MemoryUse,
    },
    /// A worker's command runs.
    Started {
        /// Whose.
        worker: WorkerId,
        /// The checkpoint that was actually loaded.
        restored: Option<Loaded>,
        /// Checkpoints that failed verification.
        rejected_checkpoints: u32,
    },
    /// A checkpoint is durable and verified.
    Checkpointed {
        /// Whose.
        worker: WorkerId,
        /// Its number in the attempt.
        sequence: u32,
        /// Size of its shards.
        bytes: u64,
        /// The step and the total (0 for unknown) it holds, if known.
        step: Option<(u64, u64)>,
    },
    /// A worker's command ended.
    Exited {
        /// Whose.
        worker: WorkerId,
        /// How.
        exit: Exit,
        /// What the command had been told by then.
        told: Told,
        /// The last step and total, if known.
        step: Option<(u64, u64)>,
    },
    /// A worker ended its command by itself, because its money had run out and nobody had
    /// told it a later time.
    OutOfMoney {
        /// Which.
        worker: WorkerId,
        /// How the command ended then.
        exit: Exit,
        /// What the command had been told by then.
        told: Told,
        /// The last step and total, if known.
        step: Option<(u64, u64)>,
    },
    /// A worker reports something about a job's files.
    Note {
        /// Which.
        worker: WorkerId,
        /// From 1: a repeated number is the same note.
        number: u32,
        /// One line of text.
        message: String,
    },
    /// A worker could not start its command.
    StartFailed {
        /// Whose.
        worker: WorkerId,
        /// Why.
        message: String,
    },
    /// The pool refused to launch a worker.
    LaunchFailed {
        /// Which.
        worker: WorkerId,
        /// Why.
        message: String,
        /// Whether the same launch may succeed later: too many calls, no capacity.
        retryable: bool,
    },
    /// The answer to a launch call was lost.
    LaunchUnknown {
        /// Which.
        worker: WorkerId,
    },
    /// A machine exists.
    MachineLaunched {
        /// Which of ours.
        machine: InstanceId,
        /// Its provider's name.
        provider: ProviderId,
        /// From when it is billed (market time).
        launched: Timestamp,
    },
    /// A machine does not exist, and will not under this name.
    MachineRefused {
        /// Which.
        machine: InstanceId,
        /// Why.
        refusal: MachineRefusal,
        /// The provider's words.
        message: String,
    },
    /// The answer to the request for a machine was lost.
    MachineUnknown {
        /// Which.
        machine: InstanceId,
    },
    /// A pool's provider has asked for fewer calls.
    PoolThrottled {
        /// Which.
        pool: PoolName,
    },
    /// A pool was listed.
    PoolListed {
        /// Which.
        pool: PoolName,
        /// What is there.
        inventory: Box<Inventory>,
    },
    /// A provider takes a machine back. It may be said more than once, by any channel.
    MachineNoticed {
        /// Its pool.
        pool: PoolName,
        /// Its provider's name.
        provider: ProviderId,
        /// When it will be gone.
        until: Now,
    },
    /// No new work for a machine; it is given back when it is empty.
    DrainMachine {
        /// Which.
        machine: InstanceId,
    },
    /// The operator's file says that these are the pools.
    SetPools(Box<PoolSet>),
    /// Stop all buying; `None` lets it go on.
    SetFreeze(Option<Freeze>),
    /// The pool reports that a worker is gone.
    WorkerGone {
        /// Which.
        worker: WorkerId,
    },
}

impl Command {
    /// Whether it comes from something running, which costs money while nobody listens.
    /// Cancelling saves money; only new work can wait.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::By(_, command) => command.is_urgent(),
            Self::Submit(_) | Self::Resubmit(_) | Self::RequestForecasts(_) => false,
            _ => true,
        }
    }
}

/// Jobs to accept.
#[derive(Clone, Debug)]
pub struct Submit {
    /// The validated document.
    pub submission: Submission,
    /// SHA-256 of the canonical document, in hex.
    pub document_hash: String,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// What the store has for that key, looked up beforehand.
    pub known: Option<(String, Vec<JobId>)>,
    /// How jobs that `after` names by number ended, if they are no longer in memory.
    pub ended_parents: Vec<(JobId, Ending)>,
    /// The elements, in order, of arrays that `after` names by number and waits for
    /// element by element.
    pub arrays: BTreeMap<JobId, Vec<JobId>>,
}

/// Jobs to resubmit.
#[derive(Clone, Debug, Default)]
pub struct Resubmit {
    /// Which, each after those it waits for.
    pub jobs: Vec<ResubmittedJob>,
    /// What now stands for jobs that were resubmitted before: their newest resubmissions.
    pub heads: BTreeMap<JobId, JobId>,
    /// How jobs that these wait for ended, if they are no longer in memory.
    pub ended_parents: Vec<(JobId, Ending)>,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// SHA-256 of the request, in hex.
    pub hash: String,
    /// What the store has for that key, looked up beforehand.
    pub known: Option<(String, Vec<JobId>)>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct ResubmittedJob {
    /// The job as it ended.
    pub old: Job,
    /// The new spec.
    pub spec: JobSpec,
    /// Whether it resumes from where the old one was saved.
    pub goes_on: bool,
    /// Jobs that the old one was a resubmission of.
    pub replaces: Vec<JobId>,
}

/// A job whose terms are to change.
#[derive(Clone, Debug)]
pub struct EditJob {
    /// Which.
    pub job: JobId,
    /// What changes.
    pub edit: Edit,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// SHA-256 of the job and its changes, in hex.
    pub hash: String,
    /// What the store has for that key, looked up beforehand.
    pub known: Option<(String, Vec<JobId>)>,
    /// If it has a live attempt: how much of its budget it has used and needs to stop
    /// cleanly, and when that was computed (wall time).
    pub used: Option<(Timestamp, Money)>,
}

/// Why a provider gives no machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineRefusal {
    /// The market has none.
    Capacity,
    /// The account's quota is used up.
    Quota,
    /// Anything else that asking again would not change.
    Other,
}

/// One worker: an attempt and its rank in the gang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId {
    /// The attempt.
    pub attempt: AttemptId,
    /// 0 to nodes - 1.
    pub rank: u32,
}

/// A step as workers report it, as progress.
pub fn progress_of_step(step: Option<(u64, u64)>) -> Option<Progress> {
    step.map(|(step, total)| Progress::of_step(step, (total > 0).then_some(total)))
}

/// How a worker that registers proves that it is the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerKey {
    /// The hash of its key.
    pub hash: String,
    /// Whether it also shows what a worker is started with, and not too late: without it
    /// only the worker is let in whose key is bound already.
    pub is_started: bool,
}

impl WorkerKey {
    /// Of a worker that shows what it was started with.
    pub fn of_start(hash: impl Into<String>) -> Self {
        Self { hash: hash.into(), is_started: true }
    }
}
