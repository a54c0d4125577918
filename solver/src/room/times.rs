//! When machines will have room, by the expected ends of what runs on them.

use spotwise_model::Share;
use spotwise_model::resources::Free;

use super::machines::Room;
use super::shelf::{Bin, Left, Shelf, left_at};
use crate::statement::ends::Leaving;
use crate::statement::market::Listing;
use crate::statement::reserved::Reserved;

/// Machines of a listing for a job later on.
pub(crate) struct FutureMachines {
    /// That can be opened now and are reserved for nobody.
    pub(crate) fresh: u64,
    /// Running ones: the hour from which each holds it, and its place in the listing, the
    /// earliest first.
    pub(crate) used: Vec<(f64, usize)>,
}

impl Room<'_, '_> {
    /// Machines of a listing that hold a share, now or later, and are not reserved.
    pub(crate) fn places(
        &self,
        at: usize,
        share: &Share,
        reserved: &Reserved<'_>,
    ) -> FutureMachines {
        let listing = self.round.market.listings.get(at);
        let (Some(shelf), Some(listing)) = (self.shelves.get(at), listing) else {
            return FutureMachines { fresh: 0, used: Vec::new() };
        };
        let kept: u64 = shelf.kept.iter().map(|fresh| fresh.machines).sum();
        let fresh = shelf.unopened().saturating_sub(kept);
        let mut used = used_later(shelf, listing, share, reserved);
        used.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        FutureMachines { fresh, used }
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
