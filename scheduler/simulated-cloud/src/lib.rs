//! A cloud account in one region, simulated: machines with a life of their own, calls that
//! are throttled, late or lost, quotas that others use too, and the provider's own meter.
//!
//! A pure state machine on virtual time: each call says when it is made, in market time,
//! and chance is a seed. The same seed and the same calls give the same answers, however
//! often somebody looks in between. It never reads a clock, waits, or knows what a scheduler
//! is: whoever drives it carries answers and events to where they belong, at the times they
//! name.
//!
//! What it does is what EC2 does where that is known: tokens (idempotency), error codes,
//! eventual consistency, quotas in vCPUs, billing.

mod behaviour;
mod call;
mod cloud;
mod dice;
mod error;
mod event;
mod fault;
mod machine;
mod market;
mod meter;
mod outage;
mod spec;
mod throttle;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod meter_tests;
#[cfg(test)]
mod properties;

pub use behaviour::{Behaviour, ForeignTenant, GoneToken, ReclaimOrder};
pub use call::{Call, Delivery, LaunchRequest, Launched, Page, PageToken};
pub use cloud::{QuotaUse, SimulatedCloud, Violation};
pub use dice::Spread;
pub use error::{CloudError, ErrorClass, Executed};
pub use event::{CloudEvent, Happening};
pub use fault::{Chance, Fault, Interruption, Reach};
pub use machine::{Cause, Machine, Mark, Stop};
pub use market::CloudMarket;
pub use meter::MeterLine;
pub use spec::{Billing, Bucket, Buckets, CloudSpec, QuotaSpec};
pub use throttle::{Action, CallCounts};
