//! A round's placements and waits, each with its typed reason.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dependency::Condition;
use crate::freeze::Freeze;
use crate::id::{InstanceId, JobId};
use crate::limit::LimitUse;
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
    /// Other jobs must end first.
    Dependencies {
        /// Those that have not finished.
        jobs: Vec<JobId>,
        /// The conditions on those that need not succeed.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        on: BTreeMap<JobId, Condition>,
    },
    /// Nothing is bought, by order.
    Frozen(Freeze),
    /// It failed, or asked to be run again, and will be retried later.
    Backoff {
        /// When (market time).
        until: Timestamp,
        /// Its consecutive attempts that asked to be run again and had saved nothing new.
        #[serde(default)]
        fruitless: u32,
    },
    /// An older database was restored: a worker from before may still be running.
    FormerWorkers {
        /// The latest time at which it ends (market time).
        until: Timestamp,
    },
    /// No offer of any pool has a machine that holds it.
    Unschedulable {
        /// What was requested and what the nearest machine has, as text.
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
    /// The market has machines for it, and a limit on open machines does not allow them.
    LimitReached {
        /// The limit, with what this plan buys in its use.
        limit: LimitUse,
        /// What one more machine of the cheapest offer that it holds back takes, in the
        /// limit's unit. Where that much is left, the job needs several machines at once.
        needs: u64,
        /// When a machine that counts against it is expected to end (market time), if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_end: Option<Timestamp>,
    },
    /// Spot capacity is worth waiting for.
    CheaperLater {
        /// The cost of going ahead now, on the cheapest free offer.
        now: Money,
        /// The expected cost if it waits.
        later: Money,
        /// The last moment at which on-demand still meets the deadline (market time).
        latest_start: Timestamp,
    },
    /// Its budget does not cover the cheapest way to continue.
    OverBudget {
        /// What the cheapest way needs.
        needs: Money,
        /// What is left.
        left: Money,
    },
    /// The array is already running as many elements as it may.
    ArrayLimit {
        /// The limit.
        max_parallel: u32,
    },
    /// It goes before others and does not fit yet: room is reserved for it.
    Reserved {
        /// When it is expected to start (market time).
        start: Timestamp,
        /// Some of the running jobs whose end it waits for.
        behind: Vec<JobId>,
    },
    /// Free room is reserved for a job that goes before it, and this one is not expected to
    /// finish by then.
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
    /// A wait for jobs that must end in these ways first.
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

    /// Whether both are of the same kind, regardless of their figures.
    pub fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The machine that a node of a job goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// One that is already running.
    Existing(InstanceId),
    /// The n-th machine bought from the placement's offer in this plan, from 0.
    New(u32),
}

/// A job placed on an offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The job.
    pub job: JobId,
    /// The offer.
    pub offer: OfferKey,
    /// What it takes of each machine.
    pub share: Share,
    /// One machine per node, by rank. Gang members may share a machine only if the spec
    /// asks for it.
    pub targets: Vec<Target>,
    /// Why here.
    pub why: PlacementReason,
}

/// Room that a plan reserves for a job that goes before others and does not fit yet. Jobs
/// not expected to finish by its start do not take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The job.
    pub job: JobId,
    /// Where it is expected to run: in this offer's pool.
    pub offer: OfferKey,
    /// What each node takes.
    pub share: Share,
    /// How many machines it needs.
    pub nodes: u32,
    /// Machines of ours reserved for it, by id.
    pub machines: Vec<InstanceId>,
    /// Machines of the offer that are reserved for it but not yet bought or idle.
    pub fresh: u32,
    /// When it is expected to start (market time).
    pub start: Timestamp,
    /// When it is expected to be gone at the latest (market time); `None` if unknown.
    pub end: Option<Timestamp>,
    /// Whether the job could start now and is waiting for something cheaper: its room is
    /// reserved from the last moment at which its deadline can be met.
    pub by_choice: bool,
    /// Some of the running jobs whose end it waits for.
    pub behind: Vec<JobId>,
}

/// How a plan was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// There was nothing to choose.
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
    /// Jobs to stop, with a checkpoint, because they do better elsewhere or are at risk
    /// where they are.
    pub moves: BTreeMap<JobId, PlacementRule>,
    /// The expected cost and finish of each job it looked at for the first time, each alone
    /// on the market of the plan.
    #[serde(default)]
    pub quotes: BTreeMap<JobId, Quoted>,
    /// Room reserved for waiting jobs.
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

/// JSON has only text keys, so purchases are written as a list.
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
