//! What a price feed answers: prices as they came into force, asked for from time to time.
//! A [`Market`](crate::Market) answers like one; whoever asks keeps what was answered, and
//! prices the past from that.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{CapacityType, Price};

/// A price this many times the last good one, or this small a fraction of it, is taken for
/// an error of the feed.
const JUMP: i64 = 1_000;

/// What has a price: the same for every account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PriceKey {
    /// The zone.
    pub zone: Zone,
    /// The machine type.
    pub instance_type: InstanceType,
    /// Spot or on-demand.
    pub capacity_type: CapacityType,
}

/// A price, from a time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceRow {
    /// Of what.
    pub key: PriceKey,
    /// From when on.
    pub at: Timestamp,
    /// What a machine costs.
    pub price: Price,
}

/// What a feed answers to "what has changed since?".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceAnswer {
    /// What was in force at the time asked from, each with the time since when. Only if that
    /// was asked for: who has heard the feed before knows.
    pub standing: Vec<PriceRow>,
    /// What came into force after the time asked from: in any order, and whatever else the
    /// feed says.
    pub changes: Vec<PriceRow>,
    /// Nothing before this time is still to come.
    pub until: Timestamp,
}

/// Whether a price can be meant: positive, and not a thousand times the last good one or a
/// thousandth of it.
pub fn is_believable(price: Price, last_good: Price) -> bool {
    let (price, good) = (price.micros_per_hour(), last_good.micros_per_hour());
    price > 0 && price / JUMP < good && good / JUMP < price
}
