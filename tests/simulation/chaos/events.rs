//! What happens in a world, and what its processes say to each other.

use spotwise_control::{Command, WorkerId};
use spotwise_model::id::PoolName;
use spotwise_model::{AttemptId, InstanceId, JobId};
use spotwise_simulated_cloud::LaunchRequest;
use spotwise_supervisor::HeartbeatAnswer;

use super::restores::Backup;
use super::time::Ms;
use super::worker::{Pid, Task};

/// Who made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Worker(Pid),
    Client(usize),
    /// The scheduler itself, about its pool.
    Pool,
}

/// Something on its way to a scheduler.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) caller: Caller,
    pub(crate) made: Ms,
    pub(crate) command: Command,
}

/// What a caller hears.
#[derive(Clone, Debug)]
pub(crate) enum Response {
    Assigned(Option<Task>),
    Orders(HeartbeatAnswer),
    Submitted { jobs: Vec<JobId>, replayed: bool },
    Cancelled,
    Noted,
    Fenced,
    Unavailable,
    KeyReused,
    Refused(String),
}

/// What happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    Tick(usize, u64),
    Deliver(usize, Request),
    Answer(Caller, u64, Ms, Response),
    Wake(Pid, u64),
    Client(usize),
    Launch(usize, u64, WorkerId),
    /// A request for a machine arrives in the account.
    LaunchMachine(usize, u64, Box<LaunchRequest>),
    /// An order to end one is about to be given.
    TerminateMachine(usize, u64, InstanceId),
    /// A pool of the account is listed.
    ListPool(usize, u64, PoolName),
    /// What a process has asked for comes back to it.
    Told(usize, u64, Command),
    /// Something happens in the account.
    AccountTicks,
    Kill(AttemptId),
    MachineGone(InstanceId),
    Campaign(usize),
    Boot(usize),
    Resume(usize, u64),
    /// The store answers again.
    StoreBack,
    /// Renewals get through again.
    RenewalsBack(usize),
    Inject,
    /// The money of this attempt is about to be over.
    MoneyEnds(AttemptId),
    /// The store is lost: this is what is left.
    Restore(Box<Backup>),
}
