//! Rounds beyond what an integer program proves in time: prices on what is
//! scarce split the round into jobs that choose for themselves. The prices prove
//! a lower bound, and lead to a plan.

mod ascent;
mod build;
mod improve;
mod lagrangian;
mod limit_count;
mod limit_scopes;
mod usage;
mod waiting;

pub(crate) use ascent::ascend;
pub(crate) use build::build;
pub(crate) use improve::improve;
pub(crate) use lagrangian::Lagrangian;
