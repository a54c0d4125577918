//! Why a job is where it is, and why not elsewhere.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::offer::OfferKey;

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementReason {
    /// What decided, in one word.
    pub rule: PlacementRule,
    /// Expected cost from now until the job finishes.
    pub expected_cost: Money,
    /// Expected finish (market time).
    pub finish: Timestamp,
    /// The time from the latest start on on-demand to the deadline; zero if there is none
    /// left.
    pub slack: Duration,
    /// The extra expected cost caused by the operator's preferences for its class.
    #[serde(default, rename = "wished")]
    pub policy_cost: PolicyCost,
    /// Part of the expected cost: bringing its data to the offer's region.
    #[serde(default)]
    pub transfer: Money,
    /// The cheapest other offers, at most five, cheapest first.
    pub alternatives: Vec<Alternative>,
}

/// What decided a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementRule {
    /// The lowest expected cost of everything that is free.
    Cheapest,
    /// The deadline leaves no room for another interruption: on-demand.
    SafetyNet,
    /// Behind the pace that its deadline requires, and no spot is free: on-demand.
    BehindPace,
    /// The job may not be interrupted.
    NotInterruptible,
    /// The machine is already paid for.
    AlreadyPaid,
}

/// One offer considered for a job, with what it would have cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The offer.
    pub offer: OfferKey,
    /// Expected cost until the job finishes.
    pub expected_cost: Money,
    /// Expected finish (market time).
    pub finish: Timestamp,
    /// Why it was not taken; `None` for the chosen one.
    pub why_not: Option<RejectionReason>,
}

/// Why an offer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectionReason {
    /// It costs more.
    Dearer,
    /// It costs no more, but it ends later and misses the deadline.
    Later,
    /// None of it is free.
    NotFree,
    /// Spot would put the deadline at risk.
    DeadlineRisk,
    /// The job may not be interrupted.
    NotInterruptible,
    /// Other jobs took what was free.
    Taken,
    /// A limit on open machines is used up: a quota of the account, what the market has for
    /// several pools, or what the pool's owner allows.
    LimitReached,
    /// Its machines alone are more than such a limit allows.
    OverLimit,
    /// The budget does not cover it.
    OverBudget,
    /// It costs no more, but its class has run outside its spot band, and this would lead
    /// further away from it.
    SpotBand,
    /// It costs no more, but its class runs on too few pools, and mostly on this one.
    TooFewPools,
}

/// What the operator's preferences for a class cost a choice: expected dollars on the bill
/// until the job finishes, beyond what it would have taken without them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCost {
    /// For the spot share.
    pub band: Money,
    /// For more pools.
    pub pools: Money,
}
