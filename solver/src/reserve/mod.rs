//! Room that is kept for jobs that go before others (backfill).
//!
//! Jobs go in the round's order: priority, then latest start. Where a pool cannot hold all
//! who want it, those who fit in that order have their room as long as everybody before
//! them has his; the first ones that do not fit get a reservation: the machines, or the part
//! of the pool, that the running jobs' expected ends leave them first. Whoever comes after
//! them takes that room only if he is expected to be gone by then. So priority and deadline
//! hold at a full pool, and what would idle until then is lent out.
//!
//! Without scarcity nothing is reserved: a job whose machine can be bought does not wait.

mod book;
mod round;

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::JobId;
use spotwise_model::id::PoolName;
use spotwise_model::plan::Reservation;
use spotwise_model::time::{after, between, hours, whole_second};

use crate::room::cheapest::{Found, cheapest};
use crate::room::draft::Draft;
use crate::room::machines::Room;
use crate::room::pools::Need;
use crate::statement::choice::{JobEvaluation, evaluate};
use crate::statement::demand::{Candidate, JobDemand};
use crate::statement::ends::leaving;
use crate::statement::reserved::{Kept, Reserved};
use crate::statement::round::Round;
use crate::statement::value::{DeadlineStatus, Estimate, affordable, kind_allows};
use book::{Book, RoomOption};

/// Reservations at once: each is one more limit for every layer of the round.
const MOST: usize = 16;
/// Jobs that are looked at for one: those behind them wait for the next round.
const MOST_TRIED: usize = 64;

impl Reserved<'_> {
    /// What a plan tells of it: the room of those that wait.
    pub(crate) fn told(&self, round: &Round<'_>, draft: &Draft) -> Vec<Reservation> {
        let at = |hour: f64| time_of(round, hour);
        let waits = |kept: &&Kept| {
            draft.assignments.get(kept.number).is_none_or(|assignment| assignment.is_none())
        };
        let one = |kept: &Kept| {
            let listing = round.market.listings.get(kept.listing)?;
            let id = |place: &usize| listing.used.get(*place).map(|(id, _)| *id);
            Some(Reservation {
                job: kept.job,
                offer: listing.offer.key.clone(),
                share: kept.share,
                nodes: kept.nodes,
                machines: kept.machines.iter().filter_map(id).collect(),
                fresh: kept.fresh,
                start: at(kept.from),
                end: kept.until.is_finite().then(|| at(kept.until)),
                by_choice: kept.by_choice,
                behind: kept.behind.clone(),
            })
        };
        self.kept.iter().filter(waits).filter_map(one).collect()
    }
}

/// When the job of a reservation is expected to start.
pub(crate) fn start_of(round: &Round<'_>, kept: &Kept) -> Timestamp {
    time_of(round, kept.from)
}

/// The time so many hours from now.
pub(crate) fn time_of(round: &Round<'_>, hour: f64) -> Timestamp {
    let span = Duration::try_from_secs_f64(hour * 3_600.0).unwrap_or(Duration::MAX);
    whole_second(after(round.input.now, span))
}

/// Reserves room in a round, beside what is kept already for jobs that are not in it.
pub(crate) fn reserve<'a>(round: &Round<'a>, kept: &[Reservation]) -> Reserved<'a> {
    let full = full_pools(round);
    let blocked = round.demands.iter().any(|demand| demand.blocked);
    if !blocked && full.is_empty() && kept.is_empty() {
        return Reserved::default();
    }
    let reserved = Reserved { kept: outside(round, kept), leaving: leaving(round.input) };
    let mut pass = Pass::new(round, reserved, full);
    for at in &round.order {
        if let Some(demand) = round.demands.get(*at) {
            pass.look_at(demand);
        }
    }
    pass.done()
}

/// What is kept for jobs that are not in the round.
fn outside(round: &Round<'_>, kept: &[Reservation]) -> Vec<Kept> {
    let now = round.input.now;
    let is_in = |job: JobId| round.demands.iter().any(|demand| demand.job.id == job);
    let others = kept.iter().filter(|kept| !is_in(kept.job));
    let one = |(place, kept): (usize, &Reservation)| {
        let listings = &round.market.listings;
        let listing = listings.iter().position(|listing| listing.offer.key == kept.offer)?;
        let known = listings.get(listing)?;
        let used = &known.used;
        let machines = kept.machines.iter();
        Some(Kept {
            number: usize::MAX - 1 - place,
            job: kept.job,
            listing,
            share: kept.share,
            nodes: kept.nodes,
            from: hours(between(now, kept.start)),
            until: kept.end.map_or(f64::INFINITY, |end| hours(between(now, end))),
            machines: machines.filter_map(|id| used.iter().position(|(u, _)| u == id)).collect(),
            // A limit that was cut since gives no more than there is of it.
            fresh: kept.fresh.min(u32::try_from(known.most_ever()).unwrap_or(u32::MAX)),
            by_choice: kept.by_choice,
            behind: kept.behind.clone(),
        })
    };
    others.enumerate().filter_map(one).collect()
}

/// Pools that do not hold all who could go there now.
fn full_pools<'a>(round: &Round<'a>) -> Vec<&'a PoolName> {
    let full = |(pool, left): (&&'a PoolName, &Need)| {
        let mut all = Need::default();
        let mut any = false;
        for demand in &round.demands {
            let candidate = demand.candidates.iter().find_map(|candidate| {
                let listing = round.market.listings.get(candidate.listing())?;
                (listing.offer.key.pool == **pool).then_some((candidate, listing))
            });
            if let Some((candidate, listing)) = candidate {
                all.add(&Need::of(&demand.share(candidate), &listing.offer.shape, demand.nodes));
                any = true;
            }
        }
        (any && left.short(&all).is_some()).then_some(*pool)
    };
    let limits: Vec<(&&PoolName, Need)> =
        round.market.limits.iter().map(|(pool, limit)| (pool, Need::left(limit))).collect();
    limits.iter().filter_map(|(pool, left)| full((pool, left))).collect()
}

/// One look at the jobs in their order.
struct Pass<'p, 'a> {
    round: &'p Round<'a>,
    room: Room<'p, 'a>,
    book: Book<'p, 'a>,
    full: Vec<&'a PoolName>,
    /// Whose room is held for now: they fit, and everybody before them has his.
    held: Vec<Kept>,
    /// Whether somebody before waits for room.
    waits: bool,
    tried: usize,
    /// Classes of like jobs that nothing holds any more.
    failed: Vec<bool>,
}

impl<'p, 'a> Pass<'p, 'a> {
    fn new(round: &'p Round<'a>, reserved: Reserved<'a>, full: Vec<&'a PoolName>) -> Self {
        let mut room = Room::new(round);
        room.keep_all(&reserved, &[]);
        Self {
            round,
            room,
            book: Book::new(round, reserved),
            full,
            held: Vec::new(),
            waits: false,
            tried: 0,
            failed: vec![false; round.identical.classes()],
        }
    }

    fn done(self) -> Reserved<'a> {
        let mut reserved = self.book.reserved;
        // Without anybody who waits for it, room is nobody's.
        if self.waits || self.held.iter().any(|kept| self.round.must_go(kept.number)) {
            reserved.kept.extend(self.held);
        }
        reserved
    }

    fn look_at(&mut self, demand: &JobDemand<'a>) {
        let class = self.round.identical.class_of(demand.number);
        let known = self.failed.get(class).copied().unwrap_or(false);
        let found = if known { Found::Nothing } else { cheapest(demand, &self.room) };
        match found {
            Found::Best(index, request, fit) => {
                self.room.take(&request, &fit);
                self.book.assignment(&request);
                if let Some(candidate) =
                    demand.candidates.get(index).filter(|_| self.is_full(request.listing))
                    && (!self.waits || demand.must_go)
                {
                    self.hold(demand, candidate.listing(), request.ends);
                }
            }
            // It waits by its own choice.
            Found::Dearer => {}
            Found::Nothing => {
                if let Some(failed) = self.failed.get_mut(class) {
                    *failed = true;
                }
                self.wait(demand);
            }
        }
    }

    fn is_full(&self, listing: usize) -> bool {
        let listing = self.round.market.listings.get(listing);
        listing.is_some_and(|listing| self.full.iter().any(|pool| **pool == listing.offer.key.pool))
    }

    fn hold(&mut self, demand: &JobDemand<'a>, listing: usize, until: f64) {
        let Some(candidate) = demand.candidate_on(listing) else { return };
        self.held.push(Kept {
            number: demand.number,
            job: demand.job.id,
            listing,
            share: demand.share(candidate),
            nodes: demand.nodes,
            from: 0.0,
            until,
            machines: Vec::new(),
            fresh: 0,
            by_choice: false,
            behind: Vec::new(),
        });
    }

    /// A job that nothing holds now.
    fn wait(&mut self, demand: &JobDemand<'a>) {
        if self.book.reserved.kept.len() >= MOST || self.tried >= MOST_TRIED {
            return;
        }
        let places = self.places(demand);
        if places.is_empty() {
            return;
        }
        self.tried += 1;
        let by_choice = demand.candidates.is_empty() && !demand.blocked;
        let begin =
            if by_choice { hours(between(self.round.input.now, demand.latest_start)) } else { 0.0 };
        self.waits |= !by_choice;
        if let Some(kept) = self.book.first(&self.room, demand, &places, begin) {
            self.book.reserved.kept.push(Kept { by_choice, ..kept });
            self.room.keep_all(&self.book.reserved, &self.book.taken);
        }
    }

    /// Where a job that nothing holds now may have room later.
    fn places(&self, demand: &JobDemand<'a>) -> Vec<RoomOption> {
        let of_candidate = |candidate: &Candidate| RoomOption {
            listing: candidate.listing(),
            share: demand.share(candidate),
            hours: candidate.hours(),
        };
        if !demand.candidates.is_empty() {
            // What can be bought elsewhere later is nobody's to keep.
            let full = demand.candidates.iter().any(|candidate| self.is_full(candidate.listing()));
            return demand.candidates.iter().filter(|_| full).map(of_candidate).collect();
        }
        if !demand.blocked && self.full.is_empty() {
            return Vec::new();
        }
        let evaluation = evaluate(demand.job, self.round.input, &self.round.market);
        let of = |e: &Estimate| RoomOption {
            listing: e.listing,
            share: e.share,
            hours: hours(e.occupied),
        };
        if demand.blocked {
            return self.suitable(&evaluation).map(of).collect();
        }
        let way_out = evaluation
            .fallback
            .as_ref()
            .filter(|fallback| fallback.meets && self.is_full(fallback.estimate.listing));
        let in_time = demand.latest_start > self.round.input.now;
        way_out.filter(|_| in_time).map(|fallback| of(&fallback.estimate)).into_iter().collect()
    }

    fn suitable<'c>(
        &self,
        evaluation: &'c JobEvaluation<'_>,
    ) -> impl Iterator<Item = &'c Estimate> {
        let listings = &self.round.market.listings;
        let steady = evaluation.deadline_status == DeadlineStatus::SafetyNet;
        let suits = move |e: &&Estimate| {
            listings.get(e.listing).is_some_and(|listing| {
                kind_allows(evaluation.job, listing)
                    && affordable(evaluation.job, e)
                    && !(steady && listing.is_spot())
            })
        };
        evaluation.estimates.iter().filter(suits)
    }
}

#[cfg(test)]
mod tests;
