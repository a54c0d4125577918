//! What a job is expected to cost and when to finish, before it is submitted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::offer::OfferKey;
use crate::reason::Alternative;

/// A figure as a chance: half of all outcomes are at most `p50`, nine of ten at
/// most `p90`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread<T> {
    /// The median.
    pub p50: T,
    /// Nine of ten.
    pub p90: T,
}

/// When a job would start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "start", rename_all = "kebab-case")]
pub enum Start {
    /// At once.
    Now,
    /// When cheaper capacity is free, on on-demand at the latest at this time.
    Later {
        /// The last moment for on-demand (market time).
        latest: Timestamp,
    },
    /// When any capacity that holds it is free.
    WhenFree,
}

/// A forecast for one job alone: other jobs may take what it counts on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// The mean of what it is expected to be charged until it is done.
    pub expected_cost: Money,
    /// The same as a chance.
    pub cost: Spread<Money>,
    /// The mean and the chances of the machines alone: what the ledger will hold,
    /// which has no line for moved data.
    pub machines: (Money, Spread<Money>),
    /// When it is expected to be done (market time).
    pub finish: Spread<Timestamp>,
    /// By when it must be done (market time).
    pub deadline: Timestamp,
    /// The offer that it would take; none where none holds it.
    pub offer: Option<OfferKey>,
    /// When it would start there.
    pub start: Start,
    /// Of the median cost: bringing its data to the offer's region, at each start.
    pub transfer: Money,
    /// Expected number of interruptions until it is done.
    pub interruptions: f64,
    /// Part of its expected time that it is on spot, 0 to 1.
    pub spot_share: f64,
    /// What it would cost on on-demand alone; none where none holds it.
    pub on_demand_cost: Option<Money>,
    /// What the job is expected to cost less if its deadline were two hours later;
    /// none where no forecast says.
    pub two_more_hours: Option<Money>,
    /// The three next best offers.
    pub alternatives: Vec<Alternative>,
    /// Why it cannot run at all, in words; none where it can.
    pub unschedulable: Option<String>,
}

impl Quote {
    /// What is kept of it with the job, to be held against what comes; none where
    /// no offer holds the job.
    pub fn keep(&self, at: Timestamp) -> Option<Quoted> {
        self.offer.as_ref().map(|_| Quoted {
            at,
            expected_cost: self.machines.0,
            cost: self.machines.1,
            finish: self.finish,
            interruptions: self.interruptions,
        })
    }
}

/// What a job was expected to cost and when to finish, as the planner saw it when
/// it looked at the job for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quoted {
    /// When that was (market time).
    pub at: Timestamp,
    /// The mean of what its machines were expected to cost.
    pub expected_cost: Money,
    /// The same as a chance.
    pub cost: Spread<Money>,
    /// When it was expected to be done (market time).
    pub finish: Spread<Timestamp>,
    /// Expected number of interruptions.
    pub interruptions: f64,
}
