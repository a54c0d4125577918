//! What limits on machines leave while machines are opened.

use super::shelf::Shelf;
use crate::statement::limits::Taking;
use crate::statement::market::Market;

/// What is left of each limit while a draft is made.
#[derive(Clone, Debug)]
pub(super) struct LimitRoom {
    pub(super) left: Vec<u64>,
    /// Whether machines that are not open yet are reserved anywhere.
    pub(super) keeps_fresh: bool,
}

impl LimitRoom {
    pub(super) fn new(market: &Market<'_>) -> Self {
        let left = market.machine_limits.iter().map(|limit| limit.state.left()).collect();
        Self { left, keeps_fresh: false }
    }

    /// Takes what a new machine takes, and leaves the others that much less to open.
    pub(super) fn take(&mut self, market: &Market<'_>, takings: &[Taking], shelves: &mut [Shelf]) {
        for taking in takings {
            let limit = market.machine_limits.get(taking.limit);
            let (Some(left), Some(limit)) = (self.left.get_mut(taking.limit), limit) else {
                continue;
            };
            *left = left.saturating_sub(taking.takes);
            for (at, takes) in &limit.takes {
                let idle = market.listings.get(*at).map_or(0, |listing| listing.idle.len());
                if let Some(shelf) = shelves.get_mut(*at) {
                    let open = shelf.opened.len().max(idle) as u64;
                    shelf.allowed = shelf.allowed.min(open.saturating_add(*left / takes));
                }
            }
        }
    }
}
