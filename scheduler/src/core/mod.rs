//! The pure heart of the control plane: the state, the changes to it, and what
//! becomes of a request. Nothing here is asynchronous, does I/O or reads a clock.

pub mod change;
pub mod intake;
pub mod state;

pub use change::{Change, Event, EventKind, SubmissionRecord};
pub use state::State;
