//! The steps of a round, in order. Each is a pure function from the state and
//! the time to changes; each is safe to run twice; none gets a message.

pub mod admit;
pub mod commit;
pub mod deadlines;
pub mod due;
pub mod ending;
pub mod fill;
pub mod follow;
pub mod forecast;
pub mod guard;
pub mod launch;
pub mod observe;
pub mod plan;
mod purchases;
pub mod restored;
pub mod round;
pub mod seats;
pub mod settle;
