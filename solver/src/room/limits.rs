//! Machines are opened as limits on them allow it: now, and beside those that are reserved.

use super::machines::Room;
use super::shelf::{Bin, Fresh, Shelf};
use crate::statement::demand::Request;
use crate::statement::ends::SAME;
use crate::statement::limits::Taking;
use crate::statement::market::Listing;

impl Room<'_, '_> {
    /// Opens one more machine of a listing: an idle one while there are any, else a new one,
    /// which the limits have to allow.
    pub(super) fn open(&mut self, at: usize) {
        let market = &self.round.market;
        let (Some(listing), Some(shelf)) = (market.listings.get(at), self.shelves.get_mut(at))
        else {
            return;
        };
        shelf.open(&listing.offer.shape);
        if shelf.opened.len() > listing.idle.len() && !listing.takings.is_empty() {
            self.limits.take(market, &listing.takings, &mut self.shelves);
        }
    }

    /// How many machines more of a listing a job may keep beyond the hour from which some
    /// are reserved, of the same or under the same limits, where it stays that long.
    pub(super) fn most_for(&self, at: usize, request: &Request) -> Option<(u64, f64)> {
        let shelf = self.shelves.get(at)?;
        let own = shelf.most_for(request);
        if !self.limits.keeps_fresh {
            return own;
        }
        let listing = self.round.market.listings.get(at)?;
        let counts = |fresh: &Fresh| fresh.counts(request);
        let under = listing.takings.iter().filter_map(|taking| self.listed_under(*taking));
        let reserved = under.flatten().filter_map(|(at, _)| self.shelves.get(*at));
        let first = reserved.flat_map(|shelf| &shelf.kept).filter(|fresh| counts(fresh));
        let Some(from) = first.map(|fresh| fresh.from).reduce(f64::min) else { return own };
        let wanted = u64::from(request.nodes);
        let most = self.limits_leave(at, wanted, from, counts);
        Some((most.min(own.map_or(u64::MAX, |_| shelf.beyond(request, from))), from))
    }

    /// Of so many machines of a listing, how many the limits leave beside those that are open
    /// and stay beyond an hour, and those reserved ones that count.
    pub(super) fn limits_leave(
        &self,
        at: usize,
        wanted: u64,
        from: f64,
        counts: impl Fn(&Fresh) -> bool,
    ) -> u64 {
        let listings = &self.round.market.listings;
        let of = |at: usize, more: u64| {
            let (Some(shelf), Some(listing)) = (self.shelves.get(at), listings.get(at)) else {
                return 0;
            };
            new_machines(shelf, listing, more, from, &counts)
        };
        let takings = listings.get(at).map_or(&[][..], |listing| &listing.takings);
        let leaves = |taking: &Taking| {
            let limit = self.round.market.machine_limits.get(taking.limit);
            let Some(limit) = limit else { return wanted };
            let units = |at: usize, more, takes: u64| u128::from(of(at, more)) * u128::from(takes);
            let others = limit.takes.iter().filter(|(other, _)| *other != at);
            let others: u128 = others.map(|(other, takes)| units(*other, 0, *takes)).sum();
            let fits = |more: &u64| {
                others + units(at, *more, taking.takes) <= u128::from(limit.state.left())
            };
            (1..=wanted).take_while(fits).last().unwrap_or(0)
        };
        takings.iter().map(leaves).fold(wanted, u64::min)
    }

    /// Whether the market has machines for a candidate that a limit alone does not allow
    /// any more: which one, the first where there are several.
    pub(crate) fn held_back(&self, request: &Request) -> Option<Taking> {
        let (shelf, listing) =
            (self.shelves.get(request.listing)?, self.round.market.listings.get(request.listing)?);
        let opened = shelf.opened.len() as u64;
        let there = listing.idle.len() as u64 + u64::from(listing.offer.free.machines());
        let holding = shelf.used.iter().chain(&shelf.opened).filter(|bin| bin.holds(request));
        let missing = u64::from(request.nodes).checked_sub(holding.count() as u64)?;
        if missing == 0 || there.saturating_sub(opened) < missing {
            return None;
        }
        let idle = (listing.idle.len() as u64).saturating_sub(opened);
        let short = |taking: &&Taking| self.left_of(taking.limit) / taking.takes < missing - idle;
        listing.takings.iter().filter(|_| missing > idle).find(short).copied()
    }

    /// What a draft leaves of a limit.
    pub(crate) fn left_of(&self, limit: usize) -> u64 {
        self.limits.left.get(limit).copied().unwrap_or(0)
    }

    /// A reservation of machines that are not open yet for which the limits keep too few for
    /// a candidate.
    pub(super) fn kept_under_limits(&self, request: &Request) -> Option<usize> {
        let (most, _) = self.most_for(request.listing, request)?;
        let listing = self.round.market.listings.get(request.listing)?;
        if most >= u64::from(request.nodes) {
            return None;
        }
        let under = listing.takings.iter().filter_map(|taking| self.listed_under(*taking));
        let shelves = under.flatten().filter_map(|(at, _)| self.shelves.get(*at));
        let kept = shelves.flat_map(|shelf| &shelf.kept);
        kept.filter(|fresh| fresh.counts(request)).map(|fresh| fresh.kept).next()
    }

    fn listed_under(&self, taking: Taking) -> Option<&[(usize, u64)]> {
        self.round.market.machine_limits.get(taking.limit).map(|limit| limit.takes.as_slice())
    }
}

/// New machines of a listing beyond an hour: those open that stay, so many more, and what is
/// reserved, idle ones before new ones.
fn new_machines(
    shelf: &Shelf,
    listing: &Listing<'_>,
    more: u64,
    from: f64,
    counts: impl Fn(&Fresh) -> bool,
) -> u64 {
    let idle = listing.idle.len();
    let stays = |bin: &&Bin| bin.ends > from + SAME;
    let stay = shelf.opened.iter().filter(stays).count() as u64;
    let bought = shelf.opened.iter().skip(idle).filter(stays).count() as u64;
    let kept: u64 = shelf.kept.iter().filter(|k| counts(k)).map(|k| k.machines).sum();
    let unopened = (idle as u64).saturating_sub(shelf.opened.len() as u64);
    let all = (stay + kept + more).saturating_sub(idle as u64);
    all.max(bought + more.saturating_sub(unopened))
}
