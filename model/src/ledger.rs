//! Ledger entries: immutable charges in micro-dollars.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, InstanceId, JobId, ProviderId};
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
    /// Machine time that nobody used.
    Idle,
    /// A refund from the provider: a spot machine that it interrupts within its first hour
    /// is free. Negative.
    Waiver,
    /// Stored bytes.
    Storage,
    /// Transferred bytes.
    Network,
}

impl LineKind {
    /// Every kind, in report order.
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

/// What a charge is in FOCUS's terms (column ChargeCategory).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChargeCategory {
    /// Something was used.
    #[default]
    Usage,
    /// The provider gives something back.
    Credit,
}

/// The dimension of machine time that no attempt pays for: why there was any.
pub const IDLE: &str = "idle";

/// One charge. `(instance, sequence)` identifies it permanently; entries are never changed,
/// only reversed by others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The machine that was billed.
    pub instance: InstanceId,
    /// Its number among the entries of that machine, from 0.
    pub sequence: u32,
    /// Who pays: `None` for machine time that was idle while no attempt ran.
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
    /// What the same share of the same hours would cost on demand.
    pub on_demand_amount: Money,
    /// The named, versioned method by which the machine was split among its jobs.
    pub method: String,
    /// Dimensions copied from the job when it was charged: `model`, `class` and its tags,
    /// plus the `commitment` that paid for the hours. Empty if no attempt pays and the
    /// hours were bought.
    pub dimensions: std::collections::BTreeMap<String, String>,
    /// The provider's name of the machine; `None` where it has none, and in ledgers older
    /// than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// What kind of charge it is.
    #[serde(default)]
    pub category: ChargeCategory,
    /// GPUs that the line holds over its interval, in millionths of one; 0 in ledgers older
    /// than this field.
    #[serde(default)]
    pub gpu_millionths: u64,
    /// When it was written (market time); `None` in ledgers older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booked: Option<Timestamp>,
}

impl LedgerEntry {
    /// The job that pays.
    pub fn job(&self) -> Option<JobId> {
        self.attempt.map(|attempt| attempt.job)
    }
}
