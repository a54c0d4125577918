//! Backtests: what policies would have paid on recorded markets.
//!
//! [`single`] runs one job per window, to compare policies with each other and with the
//! exact optimum. [`workload`] lets many jobs compete for limited capacity through the same
//! phases as the scheduler, in a [`World`](spotwise_control::world::World) in virtual time.

mod error;
mod index;
mod jobs;
mod measure;
mod parallel;
mod plot;
mod recording;
mod shared_market;
mod simulated_workers;
pub mod single;
mod skipped;
pub mod workload;

pub use error::BacktestError;
pub use index::{Entry, read_entry};
pub use jobs::JobsOptions;
pub use measure::{Measures, Series};
pub use plot::plot;
pub use recording::{Source, read_market};
pub use shared_market::SharedMarketOptions;
pub use skipped::Skipped;
