//! Workers started by something else: they know the secret of the data folder, learn of
//! their attempts from events, and register like any worker. Nothing of theirs can be
//! listed or killed from here; an expired lease is all that is known of them. Made for load
//! tests of the control plane.

use spotwise_solver::PoolLimit;

use super::limits;
use crate::config::ServeConfig;

/// A pool whose machines are not ours.
#[derive(Debug)]
pub struct ExternalWorkers {
    total: PoolLimit,
}

impl ExternalWorkers {
    /// As large as the configuration says.
    pub fn new(config: &ServeConfig) -> Self {
        Self { total: limits::of_this_machine(config) }
    }

    /// What the pool has in all.
    pub fn total(&self) -> PoolLimit {
        self.total.clone()
    }
}
