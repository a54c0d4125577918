//! The choice: what runs where, now, and why. Pure functions from a
//! [`PlanInput`] to a [`model::Plan`](spotwise_model::Plan).
//!
//! This crate must never read a clock, draw a random number, do I/O, or act on
//! what it proposes: planning proposes, the scheduler disposes.

pub mod check;
pub mod graph;
pub mod input;
pub mod plan;

mod choice;
mod explain;
mod greedy;
mod market;
mod moves;
mod program;
mod quote;
mod room;
mod value;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;

pub use check::{Violation, check};
pub use input::{PlanInput, PlanInstance, PlanJob, PoolLimit, RunningJob};
pub use plan::{PlanReport, plan};
pub use quote::quote;
