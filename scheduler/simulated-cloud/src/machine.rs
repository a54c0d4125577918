//! One machine, from its provider's side.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::instance::EndedBy;
use spotwise_model::inventory::{MachinePhase, SeenMachine};
use spotwise_model::time::after;
use spotwise_model::{InstanceId, MarketKey};

/// The tags by which an installation knows its machines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The installation.
    pub install: String,
    /// Its pool.
    pub pool: PoolName,
    /// Its number of the machine.
    pub instance: InstanceId,
    /// The token by which it asked for it.
    pub token: String,
}

/// Why a machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Somebody ordered it.
    Ordered,
    /// The provider took a spot machine back.
    Reclaimed,
    /// The provider retired the hardware.
    Retired,
}

/// The end of a machine's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// When; it is billed until then.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
}

impl Stop {
    /// Who ended it, for the bill.
    pub const fn by(&self) -> EndedBy {
        match self.cause {
            Cause::Ordered => EndedBy::Us,
            Cause::Reclaimed | Cause::Retired => EndedBy::Provider,
        }
    }
}

/// A machine and its life so far. Times are market time; those that lie ahead are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The provider's name.
    pub id: ProviderId,
    /// Whose it is; `None` for one that carries no mark.
    pub mark: Option<Mark>,
    /// Whether the foreign tenant opened it: nobody else may end it.
    pub foreign: bool,
    /// What it is.
    pub market: MarketKey,
    /// From when it is billed.
    pub launched: Timestamp,
    /// When it had booted.
    pub booted: Option<Timestamp>,
    /// When it had joined its pool.
    pub registered: Option<Timestamp>,
    /// When the provider will take it back, once that is decided.
    pub reclaim_at: Option<Timestamp>,
    /// When and why it stopped.
    pub stopped: Option<Stop>,
    /// When it was gone.
    pub terminated: Option<Timestamp>,
}

impl Machine {
    /// How a listing as of `as_of` shows it; `None` if it carries no mark, was not there yet,
    /// or had been gone for longer than `kept`.
    pub(crate) fn seen(&self, as_of: Timestamp, kept: Duration) -> Option<SeenMachine> {
        let passed = |time: Option<Timestamp>| time.is_some_and(|time| time <= as_of);
        let there = self.launched <= as_of && !passed(self.terminated.map(|at| after(at, kept)));
        let mark = self.mark.as_ref().filter(|_| there)?;
        let stop = self.stopped.filter(|stop| stop.at <= as_of);
        let phase = match stop {
            Some(_) if passed(self.terminated) => MachinePhase::Terminated,
            Some(_) => MachinePhase::Terminating,
            None if passed(self.registered) => MachinePhase::Registered,
            None => MachinePhase::Booting,
        };
        Some(SeenMachine {
            instance: mark.instance,
            token: mark.token.clone(),
            market: self.market.clone(),
            phase,
            launched: self.launched,
            ended: stop.map(|stop| (stop.at, stop.by())),
        })
    }
}
