//! The steps of a round, in order. Each is a pure function from the state and
//! the time to changes; each is safe to run twice; none gets a message.

pub mod admit;
pub mod attempt_end;
pub mod commitments;
pub mod deadlines;
pub mod due;
pub mod fill;
pub mod forecast;
pub mod gpu_slots;
pub mod guard;
pub mod keep;
pub mod launch;
pub mod machines;
pub mod observe;
pub mod plan;
mod provisioning;
pub mod reconcile;
pub mod restored;
pub mod round;
pub mod settle;
