//! What all jobs take under some prices.

use crate::statement::prices::{RESOURCES, add};

/// What all jobs would take under some prices.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// What they pay, or lose by waiting.
    pub(super) dollars: f64,
    /// Machines to open, by listing.
    pub(super) opened: Vec<f64>,
    /// Parts of what running machines have left, by listing.
    pub(super) used: Vec<[f64; RESOURCES]>,
    pub(super) pools: Vec<[f64; RESOURCES]>,
}

impl Usage {
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.dollars += other.dollars;
        for (a, b) in self.opened.iter_mut().zip(other.opened) {
            *a += b;
        }
        for (a, b) in self.used.iter_mut().zip(other.used) {
            add(a, b, 1.0);
        }
        for (a, b) in self.pools.iter_mut().zip(other.pools) {
            add(a, b, 1.0);
        }
        self
    }

    pub(super) fn scale(&mut self, by: f64) {
        self.dollars *= by;
        let rows = self.used.iter_mut().chain(&mut self.pools).flatten();
        for part in self.opened.iter_mut().chain(rows) {
            *part *= by;
        }
    }
}
