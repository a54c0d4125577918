//! The market: the available capacity, what it costs, and how long it lasts.
//!
//! Everything here is read or drawn once, at start; a [`Market`] is then a pure function of
//! time, whose answers depend on nothing later than the time asked for (except
//! [`Market::segments`], which prices the past).

mod catalog;
mod commitments;
mod egress;
mod error;
mod feed;
mod interruption_rate;
mod points;
mod quote;
mod replay;
mod series;
mod synthetic;
#[doc(hidden)]
pub mod test_data;

use std::path::PathBuf;

use jiff::Timestamp;

pub use catalog::{Catalog, CatalogError, MachineType, UnknownType};
pub use commitments::{CommitmentError, Declared, keep, read_commitments};
pub use egress::{EGRESS_COLUMNS, read_egress};
pub use error::{FilePosition, MarketError, Problem};
pub use feed::{PriceAnswer, PriceKey, PriceRow, is_believable};
pub use interruption_rate::{AvailabilitySpells, PRIOR, Prior};
pub use quote::{FeedAnomaly, MarketQuote, MarketSeries, Row, Segment};
pub use replay::{
    ASSUMED_AVAILABLE, COLUMNS, IndexEntry, each_row, price_history, read_price_history,
    read_recording, recording,
};
pub use series::{Market, ON_DEMAND_AVAILABLE};
pub use synthetic::{MOST_MACHINES, SyntheticOptions, synthetic};

/// Where a market comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum MarketSource {
    /// A recorded market.
    Recording {
        /// The table; an `index.json` next to it is read too.
        path: PathBuf,
        /// When its second 0 was, if the index does not say or is to be overridden.
        start: Option<Timestamp>,
    },
    /// The response of AWS's `describe-spot-price-history`.
    PriceHistory {
        /// The JSON file.
        path: PathBuf,
    },
    /// An invented one.
    Synthetic(SyntheticOptions),
}

/// Loads a market; shapes, and prices that the source does not have, come from the
/// catalogue.
pub fn load(source: &MarketSource, catalog: &Catalog) -> Result<Market, MarketError> {
    match source {
        MarketSource::Recording { path, start } => read_recording(path, *start, catalog),
        MarketSource::PriceHistory { path } => read_price_history(path, catalog),
        MarketSource::Synthetic(options) => synthetic(options, catalog),
    }
}
