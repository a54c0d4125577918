//! The scheduler at run time: the loop, its effects on the world, the capacity back ends,
//! the service and its servers.
//!
//! What it decides is in `spotwise-control`, prices are in `spotwise-market`, SQL is in
//! `spotwise-store`. The worker must never depend on this crate; it meets the scheduler
//! over the wire.

pub mod access;
mod alarm;
pub mod capacity;
mod clock;
pub mod config;
pub mod driver;
mod duty_cycle;
pub mod effects;
mod forecast_fitter;
pub mod handle;
pub mod http;
pub mod lease;
pub mod options;
mod planner;
pub mod reuse;
pub mod rpc;
pub mod serve;
pub mod server;
pub mod service;
pub mod storage;
pub mod tls;
pub mod token;
pub mod worker_program;

pub use options::{MarketChoice, ServeOptions};
pub use serve::{ServeError, serve};
