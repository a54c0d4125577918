//! Prices turned into money: what a machine cost, who pays, and the sums.
//!
//! All of it is whole micro-dollars and pure. Per machine, the entries' amounts
//! add up exactly to what the provider bills.

mod charge;
mod report;
mod split;

pub use charge::{InstanceBill, Use, charge_instance};
pub use report::{
    AttemptCost, CostReport, DimensionCost, DimensionRow, InterruptionCost, JobCost, Totals,
    Unbalanced,
};
pub use split::{METHOD, distribute, machine_weight, share_weight};
