//! What a plan says beside its placements: reasons, quotes, moves, the bands' cost.

pub(crate) mod band_report;
pub(crate) mod explain;
pub(crate) mod limit_reached;
pub(crate) mod moves;
pub(crate) mod quote;
