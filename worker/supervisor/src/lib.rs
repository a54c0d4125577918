//! The rules of a worker, without a clock, a process or a connection: when to warn,
//! stop and kill the command, how long the lease lasts, and what the last report says.
//!
//! The worker carries them out on a real process; the simulator runs the same code in
//! virtual time. This crate must never read a clock, wait or do I/O.

mod answer;
mod lease;
mod report;
mod supervisor;

pub use answer::{HeartbeatAnswer, Notice};
pub use lease::{Lease, SHORTEST};
pub use report::LastReport;
pub use supervisor::{Action, Order, Supervisor};
