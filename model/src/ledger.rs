//! Ledger entries: immutable charges in micro-dollars.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, InstanceId, JobId};
use crate::money::{Money, Price};
use crate::offer::OfferKey;

/// What an entry pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    /// Work that counted.
    Compute,
    /// From purchase to the first step of the command.
    Startup,
    /// Work done after the last checkpoint and lost with the capacity.
    LostWork,
    /// What nobody used of a machine.
    Idle,
    /// What the provider gives back: a spot machine that it interrupts within
    /// its first hour is free. Negative.
    Waiver,
    /// Kept bytes.
    Storage,
    /// Moved bytes.
    Network,
}

impl LineKind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 7] = [
        Self::Compute,
        Self::Startup,
        Self::LostWork,
        Self::Idle,
        Self::Waiver,
        Self::Storage,
        Self::Network,
    ];

    /// Its name in tables and exports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Startup => "startup",
            Self::LostWork => "lost-work",
            Self::Idle => "idle",
            Self::Waiver => "waiver",
            Self::Storage => "storage",
            Self::Network => "network",
        }
    }
}

impl fmt::Display for LineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One charge. `(instance, sequence)` names it for ever; entries are never
/// changed, only reversed by others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The machine that was billed.
    pub instance: InstanceId,
    /// Its number among the entries of that machine, from 0.
    pub sequence: u32,
    /// Who pays: none for what was idle while no attempt ran.
    pub attempt: Option<AttemptId>,
    /// What for.
    pub kind: LineKind,
    /// What was bought.
    pub offer: OfferKey,
    /// Start of the interval (market time).
    pub from: Timestamp,
    /// End of the interval (market time).
    pub to: Timestamp,
    /// The price in force.
    pub price: Price,
    /// What it cost.
    pub amount: Money,
    /// What the same share of the same hours costs on demand.
    pub on_demand_amount: Money,
    /// The named, versioned way the machine was split over its jobs.
    pub method: String,
    /// Dimensions copied from the job when it was charged: `model`, `class`
    /// and its tags; with them the `commitment` that paid the hours. Without both
    /// where no attempt pays for bought ones.
    pub dimensions: std::collections::BTreeMap<String, String>,
    /// When it was written (market time); none in ledgers of before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booked: Option<Timestamp>,
}

impl LedgerEntry {
    /// The job that pays.
    pub fn job(&self) -> Option<JobId> {
        self.attempt.map(|attempt| attempt.job)
    }
}
