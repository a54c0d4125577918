//! Limits on the machines that are open at once, as listings count against them.
//!
//! Only machines that are bought take of a limit: those of ours that run are in its use,
//! the idle ones too.

use std::collections::BTreeMap;

use spotwise_model::OfferKey;
use spotwise_model::limit::LimitUse;

use crate::statement::input::{MachineLimit, PlanInput};

/// A limit, and the listings that count against it.
#[derive(Debug)]
pub(crate) struct Limit<'a> {
    pub(crate) state: &'a LimitUse,
    /// Listings with what one new machine of each takes, at least 1, in their order.
    pub(crate) takes: Vec<(usize, u64)>,
}

/// How a listing counts against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taking {
    /// Which of the market's limits.
    pub(crate) limit: usize,
    /// What one new machine takes of it, at least 1.
    pub(crate) takes: u64,
}

/// The limits of a round, with where each offer is among its listings.
pub(crate) fn limits<'a>(
    input: &'a PlanInput,
    by_key: &BTreeMap<&OfferKey, usize>,
) -> Vec<Limit<'a>> {
    let one = |stated: &'a MachineLimit| {
        let counts = |(key, takes): (&OfferKey, &u64)| {
            by_key.get(key).filter(|_| *takes > 0).map(|at| (*at, *takes))
        };
        let mut takes: Vec<(usize, u64)> = stated.takes.iter().filter_map(counts).collect();
        takes.sort_unstable();
        Limit { state: &stated.state, takes }
    };
    input.machine_limits.iter().map(one).collect()
}

impl Limit<'_> {
    /// What all machines that are opened may take together, where each that is idle counts
    /// like one that is bought: never less than the truth.
    pub(crate) fn for_opened(&self, idle: impl Fn(usize) -> usize) -> f64 {
        let idle = self.takes.iter().map(|(at, takes)| idle(*at) as f64 * *takes as f64);
        self.state.left() as f64 + idle.sum::<f64>()
    }
}
