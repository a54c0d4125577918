//! The choice: what runs where, now, and why. Pure functions from a
//! [`PlanInput`] to a [`model::Plan`](spotwise_model::Plan).
//!
//! This crate must never read a clock, draw a random number, do I/O, or act on
//! what it proposes: planning proposes, the scheduler disposes.

pub mod input;

pub use input::{PlanInput, PlanInstance, PlanJob, PoolLimit, RunningJob};
