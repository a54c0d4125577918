//! When machines will have room, by the expected ends of what runs on them.

use std::collections::BTreeMap;

use spotwise_model::resources::Free;
use spotwise_model::{InstanceId, OfferKey, Share};

use super::machines::Room;
use super::shelf::{Bin, Left, Shelf, left_at};
use crate::statement::ends::Leaving;
use crate::statement::limits::Limit;
use crate::statement::market::Listing;
use crate::statement::reserved::Reserved;

/// Machines of a listing for a job later on.
pub(crate) struct FutureMachines {
    /// That can be opened now and are reserved for nobody, as many as are asked for.
    pub(crate) fresh: u64,
    /// Running ones: the hour from which each holds it, and its place in the listing, the
    /// earliest first.
    pub(crate) used: Vec<(f64, usize)>,
}

impl Room<'_, '_> {
    /// Machines of a listing for so many nodes that hold a share, now or later, and are not
    /// reserved.
    pub(crate) fn places(
        &self,
        at: usize,
        share: &Share,
        nodes: u32,
        reserved: &Reserved<'_>,
    ) -> FutureMachines {
        let listing = self.round.market.listings.get(at);
        let (Some(shelf), Some(listing)) = (self.shelves.get(at), listing) else {
            return FutureMachines { fresh: 0, used: Vec::new() };
        };
        let kept: u64 = shelf.kept.iter().map(|fresh| fresh.machines).sum();
        let fresh = shelf.unopened().saturating_sub(kept).min(u64::from(nodes));
        let fresh = self.limits_leave(at, fresh, f64::NEG_INFINITY, |_| true);
        let mut used = used_later(shelf, listing, share, reserved);
        used.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        FutureMachines { fresh, used }
    }
}

impl Room<'_, '_> {
    /// For each limit the hour at which the first machine that counts against it is expected
    /// to have ended, of those that run and those that are opened here; `None` if no end is
    /// known.
    pub(crate) fn limit_ends(&self, leaving: &[Leaving<'_>]) -> Vec<Option<f64>> {
        let market = &self.round.market;
        let listed = market.listings.iter().enumerate();
        let at: BTreeMap<&OfferKey, usize> = listed.map(|(at, l)| (&l.offer.key, at)).collect();
        // A machine ends with the last job on it.
        let mut last: BTreeMap<InstanceId, (usize, f64)> = BTreeMap::new();
        for one in leaving {
            let Some(at) = at.get(&one.offer.key) else { continue };
            for id in &one.running.instances {
                let end = &mut last.entry(*id).or_insert((*at, one.at)).1;
                *end = end.max(one.at);
            }
        }
        let mut ends: Vec<(usize, f64)> = Vec::new();
        for (at, (shelf, listing)) in self.shelves.iter().zip(&market.listings).enumerate() {
            let lasts = |bin: &Bin| self.round.lifetime(at, bin.bucket);
            for (bin, (id, _)) in shelf.used.iter().zip(&listing.used) {
                if let Some((_, end)) = last.get_mut(id).filter(|_| bin.ends > 0.0) {
                    *end = end.max(lasts(bin));
                }
            }
            ends.extend(shelf.opened.iter().map(|bin| (at, lasts(bin))));
        }
        ends.extend(last.into_values());
        let first = |limit: &Limit<'_>| {
            let counts = |at: usize| limit.takes.binary_search_by_key(&at, |(at, _)| *at).is_ok();
            ends.iter().filter(|(at, _)| counts(*at)).map(|(_, end)| *end).reduce(f64::min)
        };
        market.machine_limits.iter().map(first).collect()
    }
}

fn used_later(
    shelf: &Shelf,
    listing: &Listing<'_>,
    share: &Share,
    reserved: &Reserved<'_>,
) -> Vec<(f64, usize)> {
    let shape = &listing.offer.shape;
    let empty = Left::of(&Free::new(shape));
    let machines = shelf.used.iter().zip(&listing.used).enumerate();
    let open = machines.filter(|(_, (bin, _))| bin.kept.is_none());
    let when = |(place, (bin, (id, _))): (usize, (&Bin, &_))| {
        if bin.holds_now(share) {
            return Some((0.0, place));
        }
        // In the order of their ends.
        let ends: Vec<&Leaving<'_>> = reserved.on(*id).collect();
        let holds = |at: f64| {
            let left = left_at(bin.left, shape, ends.iter().copied(), at);
            let is_empty = left.cpu_milli >= empty.cpu_milli && left.memory_mib >= empty.memory_mib;
            is_empty || (left.may_hold(share) && !share.takes_part())
        };
        ends.iter().map(|leaving| leaving.at).find(|at| holds(*at)).map(|at| (at, place))
    };
    open.filter_map(when).collect()
}
