//! Slices of GPUs (MIG): where the next one goes, and which layouts are worth a
//! repartition.
//!
//! [`Placer`] chooses GPU and start; [`repack()`] says which GPUs to lay out anew,
//! where a repartition closes its GPU until it is idle and for as long as it takes.

mod place;
mod repack;

pub use place::{Heuristic, Placer, Slot};
pub use repack::{Repack, Repacked, Repartition, Sliced, repack};
