//! Views derived from the state, on which phases decide and from which questions are
//! answered. Nothing here changes anything.

pub mod accrued;
pub mod availability;
pub mod deadline;
pub(crate) mod free;
pub mod limits;
pub mod machines;
pub mod offers;
pub mod pools;
pub mod shares;
pub mod snapshot;
