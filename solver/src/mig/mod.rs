//! Slices of GPUs (MIG): what each layout is worth.
//!
//! [`Geometry`] holds every layout of one GPU and the ways between them;
//! [`Demand`] learns which profiles are asked for; [`Outlook`] says what each
//! layout is worth under a demand, and [`LayoutLosses`] keeps that for whoever gives
//! slices their slots.

mod geometry;
mod layout_losses;
mod outlook;

pub use geometry::{Geometry, PerProfile, State};
pub use layout_losses::LayoutLosses;
pub use outlook::{Demand, Outlook};
