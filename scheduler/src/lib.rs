//! The control plane: state and changes in memory, phases as pure functions,
//! the store, the market, the capacity back ends, the ledger, and the servers.
//!
//! The worker must never know this crate; it meets the scheduler over the wire.

mod alarm;
pub mod backtest;
pub mod capacity;
mod clock;
pub mod config;
pub mod core;
pub mod driver;
mod duty;
pub mod effects;
mod fitter;
pub mod handle;
pub mod http;
pub mod intake;
pub mod lease;
pub mod ledger;
pub mod market;
pub mod options;
pub mod phase;
mod planner;
pub mod rpc;
pub mod serve;
pub mod server;
pub mod service;
pub mod store;
pub mod token;
pub mod worker_program;

pub use options::{MarketChoice, ServeOptions};
pub use serve::{ServeError, serve};
