//! The choice: what runs where, now, and why. Pure functions from a
//! [`PlanInput`] to a [`model::Plan`](spotwise_model::Plan).
//!
//! This crate must never read a clock, draw a random number, do I/O, or act on
//! what it proposes: planning proposes, the scheduler disposes.

pub mod baseline;
pub mod check;
pub mod forecast;
pub mod graph;
pub mod horizon;
pub mod input;
pub mod mig;
pub mod plan;
pub mod replay;

mod ask;
mod band_report;
mod bands;
mod choice;
mod decompose;
mod ends;
mod explain;
mod fill;
mod greedy;
mod later;
mod market;
mod moves;
mod parallel;
mod prices;
mod program;
mod quote;
mod reserve;
mod reserved;
mod room;
mod round;
mod scarcity;
mod twins;
mod value;

#[cfg(test)]
extern crate self as spotwise_solver;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod large;
#[cfg(test)]
mod pathological;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod slices;

pub use band_report::BandReport;
pub use check::{Violation, Worth, check, worth};
pub use fill::{Guide, fill};
pub use forecast::Forecast;
pub use input::{ClassShare, PlanInput, PlanInstance, PlanJob, PoolLimit, RunningJob};
pub use plan::{PlainAnswer, PlanReport, plain_program, plan, plan_until};
pub use prices::{Prices, Shortage};
pub use quote::quote;
pub use scarcity::{LaterPrices, Scarcity};
