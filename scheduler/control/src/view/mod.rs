//! What the state says, worked out: what phases decide by and questions are answered
//! from. Nothing here changes anything.

pub mod accrued;
pub mod deadline;
pub(crate) mod free;
pub mod offers;
pub mod pools;
pub mod shares;
pub mod snapshot;
