//! The pure core of the control plane: the state, and its changes. Nothing here is
//! asynchronous, does I/O or reads a clock.

pub mod arrivals;
pub mod attempts;
pub mod audit;
pub mod availability_history;
pub mod beliefs;
pub mod change;
pub mod due;
pub mod hours;
pub mod leftovers;
pub mod own_log;
pub mod prices;
pub mod queue;
pub mod refusals;
pub mod state;

pub use attempts::Attempts;
pub use audit::{Asker, AuditEntry, AuditHead};
pub use availability_history::AvailabilityHistory;
pub use beliefs::Beliefs;
pub use change::{Change, Event, EventKind, SubmissionRecord};
pub use leftovers::Leftovers;
pub use own_log::OwnLog;
pub use prices::PriceBook;
pub use state::State;
