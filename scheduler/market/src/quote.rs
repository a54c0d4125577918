//! What goes into a market and what comes out of it: rows of one zone and type, and
//! what is offered at one time.

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{CapacityType, Commitment, NodeShape, Price};

/// What a market is built from: the rows of one zone and type.
#[derive(Clone, Debug)]
pub struct MarketSeries {
    /// The zone.
    pub zone: Zone,
    /// The machine type.
    pub instance_type: InstanceType,
    /// What one machine has.
    pub shape: NodeShape,
    /// What one machine costs on demand.
    pub on_demand: Price,
    /// Its rows. Of two rows with the same time the later in the list counts.
    pub rows: Vec<Row>,
}

/// One observation; it holds until the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// When.
    pub at: Timestamp,
    /// Spot machines that were available.
    pub available: u32,
    /// The spot price; `None` if the feed gave an impossible value (zero, negative, not a
    /// number).
    pub price: Option<Price>,
}

/// Capacity as the market offers it at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketQuote {
    /// The zone.
    pub zone: Zone,
    /// The machine type.
    pub instance_type: InstanceType,
    /// Spot, on-demand, or reserved.
    pub capacity_type: CapacityType,
    /// What one machine has.
    pub shape: NodeShape,
    /// What one machine costs now.
    pub price: Price,
    /// What it costs on demand.
    pub on_demand: Price,
    /// Total machines, including those already held.
    pub available: u32,
    /// Since when there has been capacity, or none.
    pub spell_since: Timestamp,
    /// Expected interruptions per machine-hour; 0 for on-demand.
    pub hazard_per_hour: f64,
    /// The commitment that pays for it; `None` for bought capacity.
    pub commitment: Option<Commitment>,
}

/// A span of time with one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// The price in force, per hour.
    pub price: Price,
}

/// A series whose feed gave an impossible value: the last good price was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedAnomaly {
    /// The zone.
    pub zone: Zone,
    /// The machine type.
    pub instance_type: InstanceType,
    /// Rejected quotes.
    pub bad_quotes: u32,
    /// When the first of them came.
    pub first_at: Timestamp,
}
