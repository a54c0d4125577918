//! Views derived from the state, on which phases decide and from which questions are
//! answered. Nothing here changes anything.

pub mod accrued;
pub mod deadline;
pub(crate) mod free;
pub mod limits;
pub mod offers;
pub mod pools;
pub mod shares;
pub mod snapshot;
