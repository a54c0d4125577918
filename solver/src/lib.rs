//! The choice: what runs where, now, and why. Pure functions from a
//! [`PlanInput`] to a [`model::Plan`](spotwise_model::Plan).
//!
//! This crate must never read a clock, draw a random number, do I/O, or act on
//! what it proposes: planning proposes, the scheduler disposes.

pub mod baseline;
pub mod graph;
pub mod keep;
pub mod mig;
pub mod replay;

mod answer;
mod audit;
mod fill;
mod parallel;
mod plan;
mod reserve;
mod room;
mod search;
mod spot;
mod statement;

#[cfg(test)]
extern crate self as spotwise_solver;
#[cfg(test)]
mod tests;

pub use answer::band_report::BandReport;
pub use answer::quote::quote;
pub use audit::check::check;
pub use audit::violation::Violation;
pub use audit::worth::{Worth, worth};
pub use fill::{Guide, fill};
pub use plan::{PlanReport, plan, plan_until};
pub use search::plain::{PlainResult, plain_program};
pub use spot::forecast::Forecast;
pub use spot::{forecast, horizon, own};
pub use statement::input::{
    ClassShare, MachineLimit, PlanInput, PlanInstance, PlanJob, PoolLimit, RunningJob,
};
pub use statement::prices::{Prices, Shortage};
pub use statement::scarcity::{LaterPrices, Scarcity};
