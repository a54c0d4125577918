//! What a pool's provider says is there: machines with the provider's own names, states
//! and times. A listing is looked at as a whole and replaced by the next; nothing of
//! it is stored.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, ProviderId};
use crate::instance::EndedBy;
use crate::offer::MarketKey;

/// One listing of a pool. Its times are market times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// When the first of its pages was asked for: whatever was requested later need not be
    /// in it.
    pub begun: Timestamp,
    /// When the last of its pages came.
    pub completed: Timestamp,
    /// Whether every page came: only then does absence mean anything.
    pub complete: bool,
    /// The machines that carry this installation's mark, by the provider's names.
    pub machines: BTreeMap<ProviderId, SeenMachine>,
}

impl Inventory {
    /// What is known of a pool that has listed nothing yet: nothing.
    pub const fn unknown() -> Self {
        Self {
            begun: Timestamp::MIN,
            completed: Timestamp::MIN,
            complete: false,
            machines: BTreeMap::new(),
        }
    }
}

/// A machine as its provider lists it. Its times are the provider's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenMachine {
    /// The number that we gave it when we asked for it.
    pub instance: InstanceId,
    /// The token of that request: numbers may come again after a restore, tokens do not.
    pub token: String,
    /// What it is.
    pub market: MarketKey,
    /// How far it is.
    pub phase: MachinePhase,
    /// From when it is billed.
    pub launched: Timestamp,
    /// When it ended and who ended it, if it has.
    pub ended: Option<(Timestamp, EndedBy)>,
}

/// How far a machine is, in its provider's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachinePhase {
    /// It exists and boots.
    Booting,
    /// It has joined its pool and takes workers.
    Registered,
    /// It is being ended.
    Terminating,
    /// It is gone; providers list it for a while.
    Terminated,
}
