//! Fills machines: the packing that greedy, the integer program and the
//! decomposition share, and the price of what was packed.

pub(crate) mod cheapest;
pub(crate) mod draft;
mod limit_room;
mod limits;
pub(crate) mod machines;
pub(crate) mod pools;
mod shelf;
pub(crate) mod slot;
mod times;
