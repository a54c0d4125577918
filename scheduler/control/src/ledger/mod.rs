//! Turning prices into money: what a machine cost, who pays, and the sums.
//!
//! All of it is whole micro-dollars and pure. Per machine, the entries' amounts
//! add up exactly to what the provider bills; cut by time, to themselves.

mod charge;
mod period;
mod report;
mod split;

pub use charge::{InstanceBill, Use, charge_instance};
pub use period::{Every, Piece, piece};
pub use report::{CostReport, Row, Scope, Sums, TooManyRows, Unbalanced, value_of};
pub use split::{METHOD, distribute, machine_weight, share_weight};
