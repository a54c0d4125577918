//! Slices of GPUs (MIG): where the next one goes, and which layouts are worth a
//! repartition.
//!
//! [`Geometry`] holds every layout of one GPU and the ways between them;
//! [`Demand`] learns which profiles are asked for; [`Outlook`] says what each
//! layout is worth under a demand, and [`Worth`] keeps that for whoever gives
//! slices their seats; [`Placer`] chooses GPU and start; and
//! [`repack()`] says which GPUs to lay out anew, where a repartition closes its
//! GPU until it is idle and for as long as it takes.

mod geometry;
mod outlook;
mod place;
mod repack;
mod worth;

pub use geometry::{Geometry, PerProfile, State};
pub use outlook::{Demand, Outlook};
pub use place::{Placer, Rule, Spot};
pub use repack::{Repack, Repacked, Repartition, Sliced, repack};
pub use worth::Worth;
