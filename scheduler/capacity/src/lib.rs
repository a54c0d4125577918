//! What a pool's back end does: gives machines, ends them, starts workers on them, and says
//! what is there. Everything is idempotent by the name that it is given, and nothing here
//! decides: phases do.
//!
//! A back end is two halves that may come from different providers: *machines* (EC2, nodes
//! of a cluster, a simulated cloud) and *workers* on them (a process, an ECS task, a pod).
//! Implementations live in crates and modules that the control plane's decisions do not
//! know.

use std::collections::BTreeSet;
use std::fmt;

use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::inventory::Inventory;
use spotwise_model::{AttemptId, InstanceId, MarketKey, Now};

/// One pool's back end.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Asks for a machine by a token: the same token is the same machine, however often it
    /// is asked for. Called, like the next two, only for pools whose machines take their
    /// time; slots of a machine that runs anyway are refused.
    fn launch_machine(
        &self,
        _order: MachineOrder,
    ) -> BoxFuture<'_, Result<LaunchedMachine, MachineError>> {
        Box::pin(ready(Err(MachineError::no_machines())))
    }

    /// Ends a machine. One that is gone already is no error.
    fn terminate_machine(&self, _machine: ProviderId) -> BoxFuture<'_, Result<(), MachineError>> {
        Box::pin(ready(Err(MachineError::no_machines())))
    }

    /// Everything of ours that is there, page by page.
    ///
    /// # Errors
    /// Nothing could be listed. If only some pages failed to come, the inventory says that it
    /// is not complete.
    fn list_machines(&self) -> BoxFuture<'_, Result<Inventory, MachineError>> {
        Box::pin(ready(Err(MachineError::no_machines())))
    }

    /// Starts a worker, unless it is running already.
    ///
    /// # Errors
    /// It cannot be started, or has been started before and is lost: a command is never
    /// started twice.
    fn start_worker(&self, order: WorkerOrder) -> BoxFuture<'_, Result<(), StartError>>;

    /// A worker that has carried out attempt `from` (rank 0) and waits is about to carry out
    /// this one, on the same machine. False where that cannot be: then it has to be started
    /// as ever, and nothing has changed.
    fn hand_over(&self, _from: AttemptId, _order: &WorkerOrder) -> bool {
        false
    }

    /// Kills at once whatever is left of an attempt: workers, commands, and what they
    /// started.
    fn kill(&self, attempt: AttemptId) -> BoxFuture<'_, ()>;

    /// Every worker known to the pool, including dead ones until they are cleaned up.
    fn list_workers(&self) -> BoxFuture<'_, Vec<FoundWorker>>;

    /// Ends what runs of ours without a worker and without a live attempt (or whose command
    /// was started and left alone), and removes what ended attempts have left. Nothing
    /// belonging to anyone else is touched. Returns how many were ended.
    fn reap_strays(&self, live: BTreeSet<AttemptId>) -> BoxFuture<'_, usize>;

    /// The next interruption that the provider announces; never, where it announces none.
    fn next_notice(&self) -> BoxFuture<'_, Notice> {
        Box::pin(futures::future::pending())
    }
}

/// A machine to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineOrder {
    /// The pool that it belongs to.
    pub pool: PoolName,
    /// Our number of it, which it carries as a mark.
    pub machine: InstanceId,
    /// The name of the request.
    pub token: String,
    /// What to buy: spot or on demand.
    pub market: MarketKey,
}

/// A machine that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchedMachine {
    /// Its provider's name.
    pub provider: ProviderId,
    /// From when it is billed (market time).
    pub launched: Timestamp,
}

/// Why a call about a machine did not do what it should, as far as it matters for what
/// follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineErrorClass {
    /// The market has no machine; another may.
    Capacity,
    /// The account's quota is used up.
    Quota,
    /// Too many calls: it was not carried out, and may be tried again later.
    Throttled,
    /// Nobody knows whether it was carried out.
    Unknown,
    /// It was not carried out, and may be tried again: the provider was not reached, or our
    /// credentials have expired.
    Unavailable,
    /// It will not be carried out, however often it is asked for.
    Refused,
}

/// A failed call about a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MachineError {
    /// What follows from it.
    pub class: MachineErrorClass,
    /// The provider's words.
    pub message: String,
}

impl MachineError {
    /// What a pool says that is asked for machines although its machines are always there.
    fn no_machines() -> Self {
        Self {
            class: MachineErrorClass::Refused,
            message: "the machines of this pool are neither launched nor ended".to_owned(),
        }
    }
}

/// One worker to start.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerOrder {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Which node of it.
    pub rank: u32,
    /// The machine that it is to run on, by its provider's name; `None` where that is this
    /// one.
    pub machine: Option<ProviderId>,
    /// What the worker shows when it first calls; it is good once.
    pub token: String,
    /// The addresses at which it reaches the scheduler.
    pub server: String,
    /// The fingerprint of the authority whose certificate is shown there, where systems do
    /// not know it.
    pub authority: Option<String>,
}

impl fmt::Debug for WorkerOrder {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, rank, server, .. } = self;
        write!(f, "WorkerOrder({attempt}-{rank} from {server})")
    }
}

/// A worker that could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// Whether the same start may succeed later.
    pub retryable: bool,
    /// Whether it may have succeeded after all.
    pub unknown: bool,
    /// The pool's message.
    pub message: String,
}

/// A worker known to the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundWorker {
    /// Which attempt it carries out.
    pub attempt: AttemptId,
    /// Which node of it.
    pub rank: u32,
    /// Its process, where that is known.
    pub pid: Option<u32>,
    /// Whether it is running, or about to.
    pub alive: bool,
    /// Whether its command may have been started.
    pub started: bool,
}

/// A provider takes a machine back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The machine.
    pub machine: ProviderId,
    /// When it will be gone.
    pub until: Now,
}
