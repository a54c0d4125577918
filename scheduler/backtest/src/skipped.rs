//! The parts of a trace that are left out.

use serde::Serialize;

/// Jobs of a trace that are not replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Shorter than requested.
    pub too_short: usize,
    /// Longer than requested.
    pub too_long: usize,
    /// With more GPUs than requested.
    pub too_wide: usize,
    /// Their deadline lies beyond the end of the market.
    pub beyond_the_market: usize,
}
