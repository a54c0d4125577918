//! Where a job is.

/// Where a job is, and what a policy chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobLocation {
    /// Nowhere: nothing is paid, nothing is done.
    Idle,
    /// On a spot machine of the zone with this index.
    Spot(usize),
    /// On a machine that is not taken back.
    OnDemand,
}
