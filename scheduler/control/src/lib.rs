//! The control plane as pure functions: the state and its changes, commands and their
//! effects, the phases of a round, and the ledger.
//!
//! Nothing here is asynchronous, does I/O, reads a clock or draws a random number: time and
//! prices are arguments. The `scheduler` crate runs it in real time and commits what it
//! decides; the simulator and the backtests run it in virtual time.

pub mod command;
pub mod config;
pub mod core;
#[doc(hidden)]
pub mod fixture;
pub mod intake;
pub mod ledger;
pub mod phase;
pub mod reply;
pub mod view;
pub mod world;

pub use command::{Command, MachineRefusal, WorkerId};
pub use config::Config;
pub use reply::{Refusal, Reply};
