//! A job's expected cost and finish, before it is submitted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::offer::OfferKey;
use crate::reason::Alternative;

/// A figure as a distribution: half of all outcomes are at most `p50`, nine of ten at most
/// `p90`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread<T> {
    /// The median.
    pub p50: T,
    /// The 90th percentile.
    pub p90: T,
}

/// When a job would start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "start", rename_all = "kebab-case")]
pub enum Start {
    /// At once.
    Now,
    /// When cheaper capacity becomes free; at this time at the latest, on on-demand.
    Later {
        /// The last moment for on-demand (market time).
        latest: Timestamp,
    },
    /// When any capacity that holds it becomes free.
    WhenFree,
}

/// A forecast for one job alone: other jobs may take the capacity it counts on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// The mean of what it is expected to be charged until it finishes.
    pub expected_cost: Money,
    /// The same as a distribution.
    pub cost: Spread<Money>,
    /// The mean and the distribution for the machines alone: what the ledger will hold,
    /// which has no entries for moved data.
    pub machines: (Money, Spread<Money>),
    /// Its expected finish (market time).
    pub finish: Spread<Timestamp>,
    /// By when it must be done (market time).
    pub deadline: Timestamp,
    /// The offer it would take; `None` if no offer holds it.
    pub offer: Option<OfferKey>,
    /// When it would start there.
    pub start: Start,
    /// Part of the median cost: bringing its data to the offer's region, at each start.
    pub transfer: Money,
    /// Expected number of interruptions until it finishes.
    pub interruptions: f64,
    /// Fraction of its expected time spent on spot, 0 to 1.
    pub spot_share: f64,
    /// Its cost on on-demand alone; `None` if no offer holds it.
    pub on_demand_cost: Option<Money>,
    /// How much less the job is expected to cost if its deadline were two hours later;
    /// `None` without a forecast.
    pub two_more_hours: Option<Money>,
    /// The three next best offers.
    pub alternatives: Vec<Alternative>,
    /// Why it cannot run at all, as text; `None` if it can.
    pub unschedulable: Option<String>,
}

impl Quote {
    /// The part stored with the job, to compare with the outcome; `None` if no offer holds
    /// the job.
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

/// A job's expected cost and finish, as the planner estimated them when it first looked at
/// the job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quoted {
    /// When that was (market time).
    pub at: Timestamp,
    /// The mean of the expected cost of its machines.
    pub expected_cost: Money,
    /// The same as a distribution.
    pub cost: Spread<Money>,
    /// Its expected finish (market time).
    pub finish: Spread<Timestamp>,
    /// Expected number of interruptions.
    pub interruptions: f64,
}
