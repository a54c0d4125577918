//! What is measured beside the solver, and not used by it: rules that place
//! slices and pods, and programs that lay out a whole fleet anew.
//!
//! Nothing of the product links this crate; its benchmarks do. Like the solver it
//! must never read a clock, draw a random number or do I/O.

pub mod mig;
pub mod packing;
