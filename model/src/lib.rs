//! The vocabulary of spotwise: identifiers, money, resources, the job
//! specification, states and their legal transitions, offers, plans and ledger
//! entries.
//!
//! Everything here is plain data and pure functions. This crate must never do
//! I/O, read a clock, draw a random number or be asynchronous.

pub mod access;
pub mod attempt;
pub mod commitment;
pub mod dependency;
pub mod egress;
pub mod ending;
pub mod freeze;
pub mod gpu;
pub mod id;
pub mod instance;
pub mod inventory;
pub mod job;
pub mod ledger;
pub mod limit;
pub mod measured;
pub mod memory;
pub mod mig;
pub mod money;
pub mod offer;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod pool;
pub mod pools_file;
pub mod progress;
pub mod quote;
pub mod reason;
pub mod resources;
pub mod sharing;
pub mod spec;
pub mod stop;
pub mod time;
pub mod timing;
mod words;

pub use attempt::{Attempt, AttemptState};
pub use commitment::{Commitment, CoveredSpan, PaidFor};
pub use dependency::{Condition, Ending, Unmet};
pub use id::{AttemptId, InstanceId, JobId};
pub use instance::{Instance, InstanceState};
pub use job::{Job, JobState};
pub use ledger::LedgerEntry;
pub use measured::Measured;
pub use money::{Money, Price};
pub use offer::{CapacityType, MarketKey, Offer, OfferKey, Supply};
pub use outcome::Outcome;
pub use plan::{Placement, Plan, WaitReason};
pub use pool::{Pool, PoolSet};
pub use resources::{NodeShape, Share};
pub use spec::JobSpec;
pub use time::Now;
