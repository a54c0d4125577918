//! What is left to place work on, while a draft is made.

use std::collections::BTreeMap;

use spotwise_model::id::PoolName;
use spotwise_model::plan::Target;

use super::draft::Draft;
use super::draft::opened_target;
use super::limit_room::LimitRoom;
use super::pools::{Need, PoolRoom};
use super::shelf::{Bin, Fresh, Shelf, Spare, left_at};
use super::slot::{Fit, Slot, Slots};
use crate::statement::demand::Request;
use crate::statement::ends::SAME;
use crate::statement::market::Listing;
use crate::statement::reserved::{Kept, Reserved};
use crate::statement::round::Round;

/// What is left to place work on, while a draft is made.
#[derive(Clone, Debug)]
pub(crate) struct Room<'r, 'a> {
    pub(super) round: &'r Round<'a>,
    pub(super) shelves: Vec<Shelf>,
    pools: BTreeMap<&'a PoolName, PoolRoom>,
    pub(super) limits: LimitRoom,
}

impl<'r, 'a> Room<'r, 'a> {
    pub(crate) fn new(round: &'r Round<'a>) -> Self {
        let limits = round.market.limits.iter();
        let mut room = Self {
            round,
            shelves: round.market.listings.iter().map(Shelf::new).collect(),
            pools: limits.map(|(name, limit)| (*name, PoolRoom::new(limit))).collect(),
            limits: LimitRoom::new(&round.market),
        };
        room.keep_all(&round.reserved, &[]);
        room
    }

    /// Keeps the room that is reserved, from what is taken of pools already.
    pub(crate) fn keep_all(&mut self, reserved: &Reserved<'_>, taken: &[(Request, Need)]) {
        if reserved.kept.is_empty() {
            return;
        }
        for (number, kept) in reserved.kept.iter().enumerate() {
            self.keep_machines(number, kept, reserved);
        }
        for (name, pool) in &mut self.pools {
            let in_it = |request: &Request| {
                let listing = self.round.market.listings.get(request.listing);
                listing.is_some_and(|listing| listing.offer.key.pool == **name)
            };
            let taken: Vec<(Request, Need)> =
                taken.iter().filter(|(request, _)| in_it(request)).copied().collect();
            pool.keep(reserved.points(self.round, name), &taken);
        }
    }

    fn keep_machines(&mut self, number: usize, kept: &Kept, reserved: &Reserved<'_>) {
        let listing = self.round.market.listings.get(kept.listing);
        let (Some(shelf), Some(listing)) = (self.shelves.get_mut(kept.listing), listing) else {
            return;
        };
        let known = shelf.kept.iter().any(|fresh| fresh.kept == number);
        if kept.fresh > 0 && !known {
            let machines = u64::from(kept.fresh);
            let fresh = Fresh { from: kept.from, machines, holder: kept.number, kept: number };
            shelf.kept.push(fresh);
            self.limits.keeps_fresh |= !listing.takings.is_empty();
        }
        for machine in &kept.machines {
            let id = listing.used.get(*machine).map(|(id, _)| *id);
            let (Some(bin), Some(id)) = (shelf.used.get_mut(*machine), id) else { continue };
            if bin.kept.is_none() {
                let mut left = left_at(bin.left, &listing.offer.shape, reserved.on(id), kept.from);
                left.subtract(&kept.share);
                bin.kept = Some(Spare { from: kept.from, left, holder: kept.number, kept: number });
            }
        }
    }

    /// What a draft leaves.
    pub(crate) fn of(round: &'r Round<'a>, draft: &Draft) -> Self {
        let mut room = Self::new(round);
        for (demand, assignment) in round.demands.iter().zip(&draft.assignments) {
            let Some(assignment) = assignment else { continue };
            let Some(candidate) = demand.candidates.get(assignment.candidate) else { continue };
            let at = candidate.listing();
            let slots: Vec<Slot> =
                assignment.targets.iter().filter_map(|target| room.slot(at, target)).collect();
            room.take(&demand.request(candidate), &Fit { slots: Slots::Many(slots), cost: 0.0 });
        }
        room
    }

    /// The slot of a target, opened where it is not yet.
    fn slot(&mut self, at: usize, target: &Target) -> Option<Slot> {
        let listing = self.round.market.listings.get(at)?;
        let index = match target {
            Target::Existing(id) => {
                if let Some(used) = listing.used.iter().position(|(used, _)| used == id) {
                    return Some(Slot::Used(used));
                }
                listing.idle.iter().position(|idle| idle == id)?
            }
            Target::New(index) => listing.idle.len() + *index as usize,
        };
        while self.shelves.get(at)?.opened.len() <= index {
            self.open(at);
        }
        Some(Slot::Opened(index))
    }

    /// What the pool of a candidate is short of now for all its nodes, if anything.
    pub(crate) fn pool_short(&self, request: &Request) -> Option<&'static str> {
        let (pool, need) = self.pool_of(request)?;
        pool.short(&need)
    }

    fn pool_of(&self, request: &Request) -> Option<(&PoolRoom, Need)> {
        if self.pools.is_empty() {
            return None;
        }
        let listing = self.round.market.listings.get(request.listing)?;
        let pool = self.pools.get(&listing.offer.key.pool)?;
        Some((pool, Need::of(&request.share, &listing.offer.shape, request.nodes)))
    }

    /// The reservation that alone keeps a candidate from what is free, if one does.
    pub(crate) fn kept_from(&self, request: &Request) -> Option<usize> {
        if self.round.reserved.kept.is_empty() {
            return None;
        }
        if let Some((pool, need)) = self.pool_of(request) {
            if pool.short(&need).is_some() {
                return None;
            }
            if let Some(kept) = pool.kept_from(request, &need) {
                return Some(kept);
            }
        }
        let shelf = self.shelves.get(request.listing)?;
        let free = shelf.used.iter().filter(|bin| bin.holds_now(&request.share));
        let fresh = shelf.kept.first().filter(|_| shelf.unopened() > 0).map(|fresh| fresh.kept);
        let under = || self.kept_under_limits(request).filter(|_| shelf.unopened() > 0);
        free.filter_map(|bin| bin.kept_from(request)).next().or(fresh).or_else(under)
    }

    /// The cheapest distinct machines for all nodes of a candidate; `None` if it
    /// does not fit. At equal price: running machines, then opened ones, then
    /// fresh ones, each in their order.
    pub(crate) fn fit(&self, request: &Request) -> Option<Fit> {
        let (shelf, listing) =
            (self.shelves.get(request.listing)?, self.round.market.listings.get(request.listing)?);
        let kept = self.most_for(request.listing, request);
        let fresh = shelf.unopened().min(kept.map_or(u64::MAX, |(most, _)| most));
        let full = fresh == 0 && shelf.used.is_empty() && !shelf.most.may_hold(&request.share);
        if full || self.pool_of(request).is_some_and(|(pool, need)| !pool.holds(request, &need)) {
            return None;
        }
        let machine = listing.marginal(self.life(request.listing, request.bucket));
        let slots = self.slots(shelf, listing, request, kept);
        if request.nodes <= 1 {
            let fresh = (fresh > 0).then_some((machine, Slot::Fresh));
            let best = slots.chain(fresh).reduce(|a, b| if b.0 < a.0 { b } else { a })?;
            return Some(Fit { slots: Slots::One(best.1), cost: request.extra + best.0 });
        }
        let fresh = (0..fresh.min(u64::from(request.nodes))).map(|_| (machine, Slot::Fresh));
        let mut slots: Vec<(f64, Slot)> = slots.chain(fresh).collect();
        let wanted = request.nodes as usize;
        if slots.len() < wanted {
            return None;
        }
        slots.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let slots = shelf.not_reserved(request, slots, kept);
        if slots.len() < wanted {
            return None;
        }
        let cost = request.extra + slots.iter().map(|(cost, _)| cost).sum::<f64>();
        Some(Fit { slots: Slots::Many(slots.into_iter().map(|(_, slot)| slot).collect()), cost })
    }

    /// Whether a fit takes a machine that is not there yet.
    pub(crate) fn buys(&self, request: &Request, fit: &Fit) -> bool {
        let shelf = self.shelves.get(request.listing).map_or(0, |shelf| shelf.opened.len());
        let idle = self.round.market.listings.get(request.listing).map_or(0, |l| l.idle.len());
        fit.slots.as_slice().iter().any(|slot| match *slot {
            Slot::Used(_) => false,
            Slot::Opened(i) => i >= idle,
            Slot::Fresh => shelf >= idle,
        })
    }

    /// Machines with work that hold one node of a candidate, running ones first,
    /// each with what it adds to the objective.
    fn slots<'s>(
        &'s self,
        shelf: &'s Shelf,
        listing: &'s Listing<'_>,
        request: &'s Request,
        kept: Option<(u64, f64)>,
    ) -> impl Iterator<Item = (f64, Slot)> + 's {
        let life = self.life(request.listing, request.bucket);
        let share_cost = if shelf.used.is_empty() { 0.0 } else { self.round.share_cost(request) };
        let used = shelf.used.iter().enumerate().filter(|(_, bin)| bin.holds(request));
        let may = shelf.most.may_hold(&request.share);
        let opened = if may { shelf.opened.as_slice() } else { &[] };
        // Not beyond the hour from which it is reserved, unless others keep it anyway.
        let stays =
            move |bin: &Bin| kept.is_none_or(|(most, from)| most > 0 || bin.ends > from + SAME);
        let opened =
            opened.iter().enumerate().filter(move |(_, bin)| bin.holds(request) && stays(bin));
        used.map(move |(i, _)| (share_cost, Slot::Used(i))).chain(opened.map(move |(i, bin)| {
            let before = self.life(request.listing, bin.bucket);
            let longer = listing.marginal(life.max(before)) - listing.marginal(before);
            (longer, Slot::Opened(i))
        }))
    }

    fn life(&self, listing: usize, bucket: usize) -> f64 {
        self.round.lifetime(listing, bucket)
    }

    /// Takes the machines of a fit that this room has just answered.
    pub(crate) fn take(&mut self, request: &Request, fit: &Fit) -> Vec<Target> {
        let Some(listing) = self.round.market.listings.get(request.listing) else {
            return Vec::new();
        };
        let slots = fit.slots.as_slice();
        if let Some(pool) = self.pools.get_mut(&listing.offer.key.pool) {
            pool.take(request, &Need::of(&request.share, &listing.offer.shape, request.nodes));
        }
        let mut targets = Vec::with_capacity(slots.len());
        for slot in slots {
            if matches!(slot, Slot::Fresh) {
                self.open(request.listing);
            }
            let Some(shelf) = self.shelves.get_mut(request.listing) else { return targets };
            let (bin, target) = match *slot {
                Slot::Used(i) => {
                    let target = listing.used.get(i).map(|(id, _)| Target::Existing(*id));
                    (shelf.used.get_mut(i), target)
                }
                Slot::Opened(i) => (shelf.opened.get_mut(i), opened_target(listing, i)),
                Slot::Fresh => {
                    let last = shelf.opened.len().saturating_sub(1);
                    (shelf.opened.last_mut(), opened_target(listing, last))
                }
            };
            // A fit holds on the room that gave it; were it not so, `check`
            // would refuse the plan.
            if let (Some(bin), Some(target)) = (bin, target)
                && bin.take(request)
            {
                bin.bucket = bin.bucket.max(request.bucket);
                targets.push(target);
            }
        }
        if let Some(shelf) = self.shelves.get_mut(request.listing) {
            shelf.refresh();
        }
        targets
    }
}
