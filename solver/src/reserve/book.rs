//! Who is where until when, and where a job has room first.

use spotwise_model::{JobId, Share};

use crate::room::machines::Room;
use crate::room::pools::Need;
use crate::statement::demand::{JobDemand, Request};
use crate::statement::ends::{Leaving, SAME};
use crate::statement::reserved::{Kept, Reserved};
use crate::statement::round::Round;

/// Where a job may have room.
pub(super) struct RoomOption {
    pub(super) listing: usize,
    pub(super) share: Share,
    /// Expected hours on its machines.
    pub(super) hours: f64,
}

/// What is known of the room in the next hours.
pub(super) struct Book<'p, 'a> {
    round: &'p Round<'a>,
    pub(super) reserved: Reserved<'a>,
    /// What jobs before take of the pools now.
    pub(super) taken: Vec<(Request, Need)>,
}

impl<'p, 'a> Book<'p, 'a> {
    pub(super) const fn new(round: &'p Round<'a>, reserved: Reserved<'a>) -> Self {
        Self { round, reserved, taken: Vec::new() }
    }

    /// Takes note of a job that has its room now.
    pub(super) fn assignment(&mut self, request: &Request) {
        if let Some(listing) = self.round.market.listings.get(request.listing)
            && self.round.market.limits.contains_key(&listing.offer.key.pool)
        {
            let need = Need::of(&request.share, &listing.offer.shape, request.nodes);
            self.taken.push((*request, need));
        }
    }

    /// The first room that a job has, not before an hour; of equal ones where it ends
    /// first.
    pub(super) fn first(
        &self,
        room: &Room<'_, '_>,
        demand: &JobDemand<'_>,
        places: &[RoomOption],
        begin: f64,
    ) -> Option<Kept> {
        let mut best: Option<(f64, f64, Kept)> = None;
        let mut known: Vec<(usize, f64, Share, Option<f64>)> = Vec::new();
        for place in places {
            let machines = room.places(place.listing, &place.share, demand.nodes, &self.reserved);
            let nodes = demand.nodes as usize;
            let fresh = nodes.min(usize::try_from(machines.fresh).unwrap_or(usize::MAX));
            let (fresh, used) = if machines.used.len() >= nodes
                && machines.used.iter().take(nodes).all(|(at, _)| *at <= begin)
            {
                (0, nodes)
            } else {
                (fresh, nodes - fresh)
            };
            let last = used.checked_sub(1).map(|last| machines.used.get(last).map(|(at, _)| *at));
            let Some(begin) = last.map_or(Some(begin), |last| last.map(|at| at.max(begin))) else {
                continue;
            };
            let until = demand.stay_bound().ends(place.hours);
            let group = self.pool_number(place.listing);
            let same = |k: &&(usize, f64, Share, Option<f64>)| {
                k.0 == group && (k.1 - begin).abs() <= SAME && k.2 == place.share
            };
            let from = match known.iter().find(same) {
                Some(known) => known.3,
                None => {
                    let from = self.in_pool(demand, place, begin, until);
                    known.push((group, begin, place.share, from));
                    from
                }
            };
            let Some(from) = from else { continue };
            let rank = (from, from + place.hours);
            if best.as_ref().is_some_and(|best| (best.0, best.1) <= rank) {
                continue;
            }
            let kept_machines = machines.used.iter().take(used).map(|(_, place)| *place).collect();
            let mut kept = Kept {
                number: demand.number,
                job: demand.job.id,
                listing: place.listing,
                share: place.share,
                nodes: demand.nodes,
                from,
                until: from + until,
                machines: kept_machines,
                fresh: u32::try_from(fresh).unwrap_or(u32::MAX),
                by_choice: false,
                behind: Vec::new(),
            };
            kept.behind = self.behind(&kept);
            best = Some((rank.0, rank.1, kept));
        }
        best.map(|(.., kept)| kept)
    }

    fn pool_number(&self, listing: usize) -> usize {
        let pool = self.round.market.listings.get(listing).map(|l| &l.offer.key.pool);
        let mut names = self.round.market.limits.keys();
        names.position(|name| Some(*name) == pool).unwrap_or(usize::MAX)
    }

    /// The first hour from `begin` on at which the place's pool has room for a job, and
    /// keeps it as long as that stays.
    fn in_pool(
        &self,
        demand: &JobDemand<'_>,
        place: &RoomOption,
        begin: f64,
        stays: f64,
    ) -> Option<f64> {
        let listing = self.round.market.listings.get(place.listing)?;
        if !self.round.market.limits.contains_key(&listing.offer.key.pool) {
            return Some(begin);
        }
        let need = Need::of(&place.share, &listing.offer.shape, demand.nodes);
        let leaving = self.reserved.leaving.iter().map(|leaving| leaving.at);
        let taken = self.taken.iter().map(|(request, _)| request.ends);
        let kept = self.reserved.kept.iter().map(|kept| kept.until);
        let mut hours: Vec<f64> = leaving.chain(taken).chain(kept).chain([begin]).collect();
        hours.retain(|hour| *hour >= begin && hour.is_finite());
        hours.sort_by(f64::total_cmp);
        hours.dedup_by(|a, b| (*a - *b).abs() <= SAME);
        hours.into_iter().find(|hour| {
            let kept = self.reserved.kept.iter().map(|kept| kept.from);
            let meets = kept.filter(|from| from > hour && *from < hour + stays);
            std::iter::once(*hour)
                .chain(meets)
                .all(|at| self.left(place.listing, at).short(&need).is_none())
        })
    }

    /// What a listing's pool has left at an hour.
    fn left(&self, listing: usize, hour: f64) -> Need {
        let listings = &self.round.market.listings;
        let pool = |at: usize| listings.get(at).map(|listing| &listing.offer.key.pool);
        let here = pool(listing);
        let limit = here.and_then(|pool| self.round.market.limits.get(pool));
        let mut left = limit.map(|limit| Need::left(limit)).unwrap_or_default();
        let gone = |leaving: &&Leaving<'_>| leaving.at <= hour + SAME;
        for gone in self.reserved.leaving.iter().filter(gone) {
            if Some(&gone.offer.key.pool) == here {
                left.add(&Need::of(&gone.share, &gone.offer.shape, gone.nodes));
            }
        }
        let stays = |(request, _): &&(Request, Need)| {
            request.ends > hour + SAME && pool(request.listing) == here
        };
        for (_, need) in self.taken.iter().filter(stays) {
            left.subtract(need);
        }
        for kept in self.reserved.kept.iter().filter(|kept| kept.is_active(hour)) {
            if let Some(listing) = listings.get(kept.listing).filter(|_| pool(kept.listing) == here)
            {
                left.subtract(&Need::of(&kept.share, &listing.offer.shape, kept.nodes));
            }
        }
        left
    }

    /// The jobs, running or about to start, without whose end the room would not be there.
    fn behind(&self, kept: &Kept) -> Vec<JobId> {
        let listings = &self.round.market.listings;
        let Some(listing) = listings.get(kept.listing) else { return Vec::new() };
        let pool = &listing.offer.key.pool;
        let on_machines = |leaving: &Leaving<'_>| {
            let mut ids = kept.machines.iter().filter_map(|at| listing.used.get(*at));
            ids.any(|(id, _)| leaving.is_on(*id))
        };
        let gone = |at: f64| at > SAME && at <= kept.from + SAME;
        let mut ends: Vec<(f64, JobId, Option<Need>, bool)> = Vec::new();
        for leaving in self.reserved.leaving.iter().filter(|leaving| gone(leaving.at)) {
            let need = Need::of(&leaving.share, &leaving.offer.shape, leaving.nodes);
            let need = (leaving.offer.key.pool == *pool).then_some(need);
            ends.push((leaving.at, leaving.running.job.id, need, on_machines(leaving)));
        }
        for (request, need) in self.taken.iter().filter(|(request, _)| gone(request.ends)) {
            let here = listings.get(request.listing).is_some_and(|l| l.offer.key.pool == *pool);
            if let Some(demand) = self.round.demands.get(request.number).filter(|_| here) {
                ends.push((request.ends, demand.job.id, Some(*need), false));
            }
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let need = Need::of(&kept.share, &listing.offer.shape, kept.nodes);
        let mut spare = self.left(kept.listing, kept.from);
        let mut behind = Vec::new();
        for (_, job, takes, on_machine) in ends {
            let mut without = spare;
            takes.iter().for_each(|takes| without.subtract(takes));
            if on_machine || (takes.is_some() && without.short(&need).is_some()) {
                behind.push(job);
            } else {
                spare = without;
            }
        }
        behind.sort_unstable();
        behind
    }
}
