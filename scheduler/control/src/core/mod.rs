//! The pure heart of the control plane: the state, and the changes to it. Nothing
//! here is asynchronous, does I/O or reads a clock.

pub mod attempts;
pub mod change;
pub mod due;
pub mod hours;
pub mod queue;
pub mod spells;
pub mod state;
pub mod traces;

pub use attempts::Attempts;
pub use change::{Change, Event, EventKind, SubmissionRecord};
pub use spells::Spells;
pub use state::State;
pub use traces::Traces;
