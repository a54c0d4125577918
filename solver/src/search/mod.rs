//! The ways to a plan: one job after the other, prices, the integer program.

pub(crate) mod decompose;
pub(crate) mod greedy;
pub(crate) mod pack;
pub(crate) mod plain;
pub(crate) mod program;
