//! Whole rounds: cases with a known answer, chance, and sizes.

pub(crate) mod brute;
pub(crate) mod fixture;
pub(crate) mod large;
pub(crate) mod limits;
pub(crate) mod pathological;
pub(crate) mod properties;
pub(crate) mod scenarios;
pub(crate) mod slices;
