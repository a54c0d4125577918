//! What the machines of a draft take of the limits on machines, while they become more and
//! fewer.

use crate::statement::limits::Taking;
use crate::statement::market::Market;

/// Machines by listing, and what they leave of each limit.
pub(super) struct LimitCount {
    left: Vec<i128>,
    listings: Vec<Counted>,
}

struct Counted {
    opened: i64,
    idle: i64,
    takings: Vec<Taking>,
}

impl Counted {
    /// How many more are bought where so many more are opened: idle ones come first.
    fn bought(&self, more: i64) -> i64 {
        let bought = |opened: i64| (opened - self.idle).max(0);
        bought(self.opened + more) - bought(self.opened)
    }
}

impl LimitCount {
    /// Counts nothing where there are no limits.
    pub(super) fn new(market: &Market<'_>, opened: &[usize]) -> Self {
        let mut count = Self { left: Vec::new(), listings: Vec::new() };
        if market.machine_limits.is_empty() {
            return count;
        }
        let left = market.machine_limits.iter().map(|limit| i128::from(limit.state.left()));
        count.left = left.collect();
        let listings = market.listings.iter().map(|listing| Counted {
            opened: 0,
            idle: listing.idle.len() as i64,
            takings: listing.takings.clone(),
        });
        count.listings = listings.collect();
        for (at, opened) in opened.iter().enumerate() {
            count.apply(&[(at, *opened as i64)]);
        }
        count
    }

    /// Whether the limits allow so many machines more, or fewer, of two listings.
    pub(super) fn allow(&self, changes: &[(usize, i64); 2]) -> bool {
        if self.left.is_empty() || changes.iter().all(|(_, more)| *more <= 0) {
            return true;
        }
        let [(one, more), (two, other)] = *changes;
        // Two machines of one listing are one change of it.
        let merged = if one == two { [(one, more + other), (two, 0)] } else { *changes };
        let takes = |limit: usize| -> i128 {
            let of = |(at, more): &(usize, i64)| {
                let counted = self.listings.get(*at)?;
                let taking = counted.takings.iter().filter(|taking| taking.limit == limit);
                let takes: i128 = taking.map(|taking| i128::from(taking.takes)).sum();
                Some(takes * i128::from(counted.bought(*more)))
            };
            merged.iter().filter_map(of).sum()
        };
        self.left.iter().enumerate().all(|(limit, left)| {
            let takes = takes(limit);
            takes <= 0 || takes <= *left
        })
    }

    /// Makes machines more or fewer.
    pub(super) fn apply(&mut self, changes: &[(usize, i64)]) {
        for (at, more) in changes {
            let Some(counted) = self.listings.get_mut(*at) else { continue };
            let bought = i128::from(counted.bought(*more));
            counted.opened += more;
            for taking in &counted.takings {
                if let Some(left) = self.left.get_mut(taking.limit) {
                    *left -= i128::from(taking.takes) * bought;
                }
            }
        }
    }
}
