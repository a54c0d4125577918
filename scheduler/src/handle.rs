//! The one door to the scheduler's loop: servers hold a [`Handle`], send
//! commands and questions through it, and never touch the state.
//!
//! A command is answered when what it changed is durable. A question sees
//! committed state only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::{CheckpointRef, Exit, Progress, StopReason, Told};
use spotwise_model::memory::MemoryUse;
use spotwise_model::spec::{Edit, Submission};
use spotwise_model::{AttemptId, Ending, Job, JobId, JobSpec, Money, Now};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::core::{Event, State};

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

/// What somebody wants done.
#[derive(Debug)]
pub enum Command {
    /// Accept all jobs of a submission, or none.
    Submit(Submit),
    /// Keep forecasts ready for such jobs for a while: somebody asks what they
    /// would cost.
    Expect(Vec<Arc<JobSpec>>),
    /// Bring ended jobs back, or none.
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
        /// How the pool knows it.
        handle: String,
        /// Where the rest of its gang finds it.
        address: String,
    },
    /// A worker is alive.
    Heartbeat {
        /// Who.
        worker: WorkerId,
        /// The step and the total (0 for unknown) it last read, if any.
        step: Option<(u64, u64)>,
        /// What its command has used so far, where it measures.
        memory: Option<MemoryUse>,
    },
    /// What a worker's command has used up to its end; its end is said next.
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
        /// The checkpoint that was really loaded.
        restored: Option<Loaded>,
        /// Checkpoints that did not verify.
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
    /// A worker has ended its command by itself, since its money was over and
    /// nobody had told it a later time.
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
    /// A worker has something to say of a job's files.
    Note {
        /// Which.
        worker: WorkerId,
        /// From 1: one that comes again is the same.
        number: u32,
        /// In words, on one line.
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
        /// Whether the same may go through later: too many calls, no capacity.
        retryable: bool,
    },
    /// The answer of a launch call was lost.
    LaunchUnknown {
        /// Which.
        worker: WorkerId,
    },
    /// The pool says that a worker is gone.
    WorkerGone {
        /// Which.
        worker: WorkerId,
    },
}

impl Command {
    /// Whether it comes from what runs, and costs money while nobody listens.
    /// Cancelling saves money; only new work can wait.
    const fn is_urgent(&self) -> bool {
        !matches!(self, Self::Submit(_) | Self::Resubmit(_) | Self::Expect(_))
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
    /// What the store remembers of that key, looked up before.
    pub known: Option<(String, Vec<JobId>)>,
    /// How jobs that `after` names by number ended, where they have left memory.
    pub ended_parents: Vec<(JobId, Ending)>,
    /// The elements, in order, of arrays that `after` names by number and waits for
    /// element by element.
    pub arrays: BTreeMap<JobId, Vec<JobId>>,
}

/// Jobs that come back.
#[derive(Clone, Debug, Default)]
pub struct Resubmit {
    /// Which, each after those it waits for.
    pub jobs: Vec<Again>,
    /// What stands now for jobs that came back before: their newest resubmissions.
    pub heads: BTreeMap<JobId, JobId>,
    /// How jobs ended that these wait for, where they have left memory.
    pub ended_parents: Vec<(JobId, Ending)>,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// SHA-256 of what was asked, in hex.
    pub hash: String,
    /// What the store remembers of that key, looked up before.
    pub known: Option<(String, Vec<JobId>)>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Again {
    /// As it ended.
    pub old: Job,
    /// What runs now.
    pub spec: JobSpec,
    /// Whether it goes on from where the old one was saved.
    pub goes_on: bool,
    /// Jobs that the old one was a resubmission of.
    pub replaces: Vec<JobId>,
}

/// A job whose terms change.
#[derive(Clone, Debug)]
pub struct EditJob {
    /// Which.
    pub job: JobId,
    /// What changes.
    pub edit: Edit,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// SHA-256 of the job and what changes, in hex.
    pub hash: String,
    /// What the store remembers of that key, looked up before.
    pub known: Option<(String, Vec<JobId>)>,
    /// Where an attempt of it lives: what it has used of its budget and needs to stop
    /// cleanly, and when that was reckoned (wall time).
    pub used: Option<(Timestamp, Money)>,
}

/// One worker: an attempt and its rank in the gang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId {
    /// The attempt.
    pub attempt: AttemptId,
    /// 0 to nodes - 1.
    pub rank: u32,
}

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
    pub attempt: spotwise_model::Attempt,
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

/// What a worker shall do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The capacity is gone at this wall time.
    pub reclaim_at: Option<Timestamp>,
    /// The attempt has to end: why, and by when at the latest (wall time).
    pub stop: Option<(StopReason, Timestamp)>,
    /// How long its money lasts from the call on; none without a budget.
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

/// Something to look up in committed state.
pub type Question = Box<dyn FnOnce(&State, Now) + Send>;

/// What travels to the loop.
pub enum Message {
    /// Something to do, and where the answer goes.
    Command(Command, oneshot::Sender<Result<Reply, Refusal>>),
    /// Something to look up in committed state.
    Question(Question),
    /// Look at the world: a price moved, a plan is ready, a process ended.
    Wake,
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    /// What workers and pools say, cancellations, and wakes.
    first: mpsc::Sender<Message>,
    /// New work, and questions.
    second: mpsc::Sender<Message>,
    events: broadcast::Sender<Event>,
    /// Whether the loop was asked to look at the world.
    woken: Arc<AtomicBool>,
}

/// The loop's end of the door. What workers say is taken first: a flood of
/// submissions must not make the scheduler deaf to what runs and costs money.
pub struct Inbox {
    first: mpsc::Receiver<Message>,
    second: mpsc::Receiver<Message>,
    woken: Arc<AtomicBool>,
}

impl Inbox {
    /// Whether somebody wants the world to be looked at, once.
    pub fn take_wake(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }

    /// The next message; none when every handle is gone.
    pub async fn recv(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            Some(message) = self.first.recv() => Some(message),
            message = self.second.recv() => message,
        }
    }

    /// The next message, if one waits.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.first.try_recv().or_else(|_| self.second.try_recv()).ok()
    }
}

/// Messages of either kind that may wait for the loop at once; more are refused
/// as overload.
pub const QUEUE: usize = 4_096;
/// Events a slow watcher may lag behind before it has to read the store again.
pub const EVENT_BACKLOG: usize = 1_024;

impl Handle {
    /// A door and the loop's end of it.
    pub fn new() -> (Self, Inbox) {
        let (first, urgent) = mpsc::channel(QUEUE);
        let (second, rest) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let woken = Arc::new(AtomicBool::new(false));
        let inbox = Inbox { first: urgent, second: rest, woken: woken.clone() };
        (Self { first, second, events, woken }, inbox)
    }

    /// Has a command carried out; the answer comes when it is durable.
    pub async fn command(&self, command: Command) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        let lane = if command.is_urgent() { &self.first } else { &self.second };
        lane.try_send(Message::Command(command, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Overloaded,
            mpsc::error::TrySendError::Closed(_) => away(),
        })?;
        answer.await.unwrap_or_else(|_| Err(away()))
    }

    /// Asks committed state something.
    pub async fn ask<T, F>(&self, question: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&State, Now) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |state: &State, now: Now| {
            // The asker may have gone; nobody is left to tell then.
            let _ = reply.send(question(state, now));
        });
        self.second.send(Message::Question(question)).await.map_err(|_| away())?;
        answer.await.map_err(|_| away())
    }

    /// Makes the loop look at the world soon. Never waits: where the inbox is full,
    /// the loop is awake and finds the mark.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        let _ = self.first.try_send(Message::Wake);
    }

    /// Events from now on. A receiver that lags reads the store and goes on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// For the loop: tells watchers of an event that is durable.
    pub(crate) fn publish(&self, event: &Event) {
        // Nobody may be watching.
        let _ = self.events.send(event.clone());
    }
}

/// Nobody answers: it stops, or its database is away.
fn away() -> Refusal {
    Refusal::Unavailable("it is stopping, or its database does not answer".to_owned())
}

/// A step as workers report it, as progress.
pub fn progress_of_step(step: Option<(u64, u64)>) -> Option<Progress> {
    step.map(|(step, total)| Progress::of_step(step, (total > 0).then_some(total)))
}
