//! Whole GPUs and parts of GPUs on machines: where the next pod goes, and how a
//! whole list is packed anew.
//!
//! The setting of the openb trace (Weng et al., "Beware of Fragmentation", ATC
//! 2023): a pod takes CPU, memory and either whole GPUs or a part of one, on one
//! machine, and stays. [`Packer`] places pods one by one by a [`Heuristic`],
//! and may move one to make room; [`repack()`] may move and exchange them all.

mod host;
mod moves;
mod place;
mod repack;
mod workload;

pub use host::{Host, Pod};
pub use place::{Heuristic, Packer, Slot};
pub use repack::{Packing, repack};
pub use workload::Workload;
