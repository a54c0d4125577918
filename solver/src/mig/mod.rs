//! Slices of GPUs (MIG): what each layout is worth.
//!
//! [`Geometry`] holds every layout of one GPU and the ways between them;
//! [`Demand`] learns which profiles are asked for; [`Outlook`] says what each
//! layout is worth under a demand, and [`Worth`] keeps that for whoever gives
//! slices their seats.

mod geometry;
mod outlook;
mod worth;

pub use geometry::{Geometry, PerProfile, State};
pub use outlook::{Demand, Outlook};
pub use worth::Worth;
