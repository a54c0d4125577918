//! Limits on machines as the prices see them: each has one price for a unit, and every
//! machine that is opened pays for what it takes.

use crate::statement::limits::Limit;
use crate::statement::market::Market;

/// The limits of a round, which stay the same from step to step.
pub(super) struct LimitScopes<'r, 'a> {
    limits: Vec<(&'r Limit<'a>, Scope)>,
}

struct Scope {
    /// For all machines that are opened, idle ones counted like new ones.
    left: f64,
    /// What jobs would pay for one unit on average: the measure of a step.
    worth: f64,
}

impl<'r, 'a> LimitScopes<'r, 'a> {
    /// From the machines of each listing that can be opened, and what jobs would pay for one.
    pub(super) fn new(market: &'r Market<'a>, machines: &[(f64, f64)]) -> Self {
        let of = |limit: &Limit<'_>| {
            let (mut dollars, mut units) = (0.0, 0.0);
            for (at, takes) in &limit.takes {
                if let Some((openable, worth)) = machines.get(*at) {
                    dollars += worth * openable;
                    units += *takes as f64 * openable;
                }
            }
            let idle = |at: usize| market.listings.get(at).map_or(0, |listing| listing.idle.len());
            let worth = if units > 0.0 { dollars / units } else { 0.0 };
            Scope { left: limit.for_opened(idle), worth }
        };
        Self { limits: market.machine_limits.iter().map(|limit| (limit, of(limit))).collect() }
    }

    /// Nothing is scarce.
    pub(super) fn start(&self) -> Vec<f64> {
        vec![0.0; self.limits.len()]
    }

    /// What all that the limits leave is worth.
    pub(super) fn worth(&self, prices: &[f64]) -> f64 {
        prices.iter().zip(&self.limits).map(|(price, (_, scope))| price * scope.left).sum()
    }

    /// Makes dearer what is short, and cheaper what is left over, by `moved`: a price, what a
    /// unit is worth, and the part that is asked for beyond what there is.
    pub(super) fn step(
        &self,
        prices: &mut [f64],
        opened: &[f64],
        moved: impl Fn(f64, f64, f64) -> f64,
    ) {
        for (price, (limit, scope)) in prices.iter_mut().zip(&self.limits) {
            let machines = |at: usize| opened.get(at).copied().unwrap_or(0.0);
            let used: f64 =
                limit.takes.iter().map(|(at, takes)| machines(*at) * *takes as f64).sum();
            if scope.left > 0.0 {
                *price = moved(*price, scope.worth, (used - scope.left) / scope.left);
            }
        }
    }
}
