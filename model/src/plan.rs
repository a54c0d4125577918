//! A round's placements and waits, each with its typed reason.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dependency::Condition;
use crate::id::{InstanceId, JobId};
use crate::money::Money;
use crate::offer::OfferKey;
use crate::quote::Quoted;
pub use crate::reason::{Alternative, PlacementReason, PlacementRule, PolicyCost, RejectionReason};
use crate::resources::Share;

/// Why a waiting job waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wait", rename_all = "kebab-case")]
pub enum WaitReason {
    /// Submitted; no round has looked at it yet.
    Queued,
    /// Other jobs have to end first.
    Dependencies {
        /// Which are not done.
        jobs: Vec<JobId>,
        /// How those of them must end that need not succeed.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        on: BTreeMap<JobId, Condition>,
    },
    /// It failed, or has asked to be run again, and is tried again later.
    Backoff {
        /// When (market time).
        until: Timestamp,
        /// Its attempts in a row that asked to be run again and had saved nothing new.
        #[serde(default)]
        fruitless: u32,
    },
    /// An older database was restored: a worker of before may still run.
    FormerWorkers {
        /// Until when at the latest (market time).
        until: Timestamp,
    },
    /// No offer of any pool has a machine that holds it.
    Unschedulable {
        /// What was asked and what the nearest machine has, in words.
        detail: String,
    },
    /// Machines that hold it exist, but none is free now.
    NoCapacity {
        /// Offers that would hold it.
        suitable_offers: u32,
    },
    /// The pool has no room left for it: CPUs, memory or GPUs shared by all slots.
    PoolFull {
        /// What is short: `cpus`, `memory` or `gpus`.
        resource: String,
    },
    /// Spot capacity is worth waiting for.
    CheaperLater {
        /// What it would cost to go on now, on the cheapest offer that is free.
        now: Money,
        /// What it is expected to cost by waiting.
        later: Money,
        /// The last moment at which on-demand still meets the deadline (market time).
        latest_start: Timestamp,
    },
    /// Its budget does not hold the cheapest way to go on.
    OverBudget {
        /// What the cheapest way needs.
        needs: Money,
        /// What is left.
        left: Money,
    },
    /// The array runs as many elements as it may.
    ArrayLimit {
        /// The limit.
        max_parallel: u32,
    },
    /// It goes before others and does not fit yet: room is kept for it.
    Reserved {
        /// When it is expected to start (market time).
        start: Timestamp,
        /// The running jobs, a few of them, whose end it waits for.
        behind: Vec<JobId>,
    },
    /// What is free is kept for a job that goes before it, and it is not expected to be
    /// gone by then.
    RoomKept {
        /// For which job.
        job: JobId,
        /// Its priority.
        priority: i32,
        /// Its deadline (market time).
        deadline: Timestamp,
        /// When that job is expected to start (market time).
        start: Timestamp,
    },
    /// Other jobs were worth more in this round.
    Outbid,
}

impl WaitReason {
    /// For jobs that have to end in these ways first.
    pub fn needs(open: impl IntoIterator<Item = (JobId, Condition)>) -> Self {
        let (mut jobs, mut on) = (Vec::new(), BTreeMap::new());
        for (job, condition) in open {
            jobs.push(job);
            if !condition.is_default() {
                on.insert(job, condition);
            }
        }
        Self::Dependencies { jobs, on }
    }

    /// Whether both are of one kind, whatever their figures.
    pub fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The machine a node of a job goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// One that runs already.
    Existing(InstanceId),
    /// The n-th machine bought from the placement's offer in this plan, from 0.
    New(u32),
}

/// A job on an offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The job.
    pub job: JobId,
    /// The offer.
    pub offer: OfferKey,
    /// What it takes of each machine.
    pub share: Share,
    /// One machine a node, by rank. Gang members may share a machine only where
    /// the spec asks for it.
    pub targets: Vec<Target>,
    /// Why here.
    pub why: PlacementReason,
}

/// Room that a plan keeps for a job that goes before others and does not fit yet. Whoever is
/// not expected to be gone by its start does not take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The job.
    pub job: JobId,
    /// Where it is expected to run: of this offer's pool.
    pub offer: OfferKey,
    /// What each node takes.
    pub share: Share,
    /// How many machines it needs.
    pub nodes: u32,
    /// Machines of ours that are kept for it, by id.
    pub machines: Vec<InstanceId>,
    /// Machines of the offer that are kept for it and not bought or idle yet.
    pub fresh: u32,
    /// When it is expected to start (market time).
    pub start: Timestamp,
    /// When it is expected to be gone at the latest (market time); none where nobody knows.
    pub end: Option<Timestamp>,
    /// Whether the job could start now and waits for something cheaper: its room is kept
    /// from the last moment at which its deadline can be met.
    pub by_choice: bool,
    /// The running jobs, a few of them, whose end it waits for.
    pub behind: Vec<JobId>,
}

/// How a plan was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// Nothing to choose.
    Trivial,
    /// Proven to be within `gap` of the best (0 for optimal).
    Proven {
        /// Relative distance to the proven bound.
        gap: f64,
    },
    /// The best found within the time limit, not proven.
    TimeLimit,
    /// Greedy in a fixed order: the solver had no better answer.
    Greedy,
}

/// What a round decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Jobs to start.
    pub placements: Vec<Placement>,
    /// Machines to buy: at least as many as the placements' targets name.
    #[serde(with = "purchase_list")]
    pub purchases: BTreeMap<OfferKey, u32>,
    /// Why the others wait.
    pub waits: BTreeMap<JobId, WaitReason>,
    /// Jobs to stop, checkpointed, because they go on better elsewhere or are
    /// at risk where they are.
    pub moves: BTreeMap<JobId, PlacementRule>,
    /// What the jobs that it looked at for the first time were expected to cost
    /// and when to finish, each alone on the market of the plan.
    #[serde(default)]
    pub quotes: BTreeMap<JobId, Quoted>,
    /// Room that is kept for jobs that wait.
    #[serde(default)]
    pub reservations: Vec<Reservation>,
    /// How it was found.
    pub method: Method,
}

impl Plan {
    /// A plan that does nothing.
    pub const fn empty() -> Self {
        Self {
            placements: Vec::new(),
            purchases: BTreeMap::new(),
            waits: BTreeMap::new(),
            moves: BTreeMap::new(),
            quotes: BTreeMap::new(),
            reservations: Vec::new(),
            method: Method::Trivial,
        }
    }
}

/// JSON has text keys only: purchases travel as a list.
mod purchase_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::offer::OfferKey;

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<OfferKey, u32>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<BTreeMap<OfferKey, u32>, D::Error> {
        Vec::<(OfferKey, u32)>::deserialize(d).map(|list| list.into_iter().collect())
    }
}
