//! What a pool has left over all its machines: now, and when room that is reserved is
//! needed.

use std::collections::BTreeMap;

use spotwise_model::id::PoolName;
use spotwise_model::mig::MEASURES;
use spotwise_model::resources::GPU_UNITS;
use spotwise_model::{NodeShape, Share};

use crate::statement::demand::Request;
use crate::statement::ends::{Leaving, SAME};
use crate::statement::input::PoolLimit;
use crate::statement::reserved::{Kept, Reserved};
use crate::statement::round::Round;

/// CPU, memory and GPUs by each measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    cpu_milli: i64,
    memory_mib: i64,
    gpu_units: [i64; MEASURES],
}

impl Need {
    /// CPU, memory, and each measure of GPUs.
    pub(crate) const MEASURES: usize = 2 + MEASURES;

    /// What is needed as parts of what there is here; more than all where there is none.
    pub(crate) fn parts(&self, need: &Self) -> [f64; Self::MEASURES] {
        let part = |take: i64, left: i64| match (take, left) {
            (0, _) | (_, i64::MAX) => 0.0,
            (take, left) if left > 0 => take as f64 / left as f64,
            _ => 2.0,
        };
        let mut parts = [0.0; Self::MEASURES];
        let gpus = need.gpu_units.iter().zip(self.gpu_units).map(|(take, left)| part(*take, left));
        let first = [part(need.cpu_milli, self.cpu_milli), part(need.memory_mib, self.memory_mib)];
        parts.iter_mut().zip(first.into_iter().chain(gpus)).for_each(|(part, of)| *part = of);
        parts
    }

    /// What this many nodes take.
    pub(crate) fn of(share: &Share, shape: &NodeShape, nodes: u32) -> Self {
        let all = |one: u64| signed(one.saturating_mul(u64::from(nodes)));
        Self {
            cpu_milli: all(share.cpu_milli),
            memory_mib: all(share.memory_mib),
            gpu_units: share.gpu_measures(shape).map(all),
        }
    }

    /// What a pool has left; as many GPUs as anybody asks for where they are not limited.
    pub(crate) fn left(limit: &PoolLimit) -> Self {
        let gpus = limit.gpus.map_or(i64::MAX, |gpus| signed(u64::from(gpus) * GPU_UNITS));
        Self {
            cpu_milli: signed(limit.cpu_milli),
            memory_mib: signed(limit.memory_mib),
            gpu_units: [gpus; MEASURES],
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.each(other, i64::saturating_add);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.each(other, i64::saturating_sub);
    }

    fn each(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory_mib = with(self.memory_mib, other.memory_mib);
        for (one, other) in self.gpu_units.iter_mut().zip(other.gpu_units) {
            // What is not limited stays so.
            if *one != i64::MAX {
                *one = with(*one, other);
            }
        }
    }

    /// What there is too little of here for `need`, if anything.
    pub(crate) fn short(&self, need: &Self) -> Option<&'static str> {
        let short = |take: i64, left: i64| take > 0 && take > left;
        if short(need.cpu_milli, self.cpu_milli) {
            Some("cpus")
        } else if short(need.memory_mib, self.memory_mib) {
            Some("memory")
        } else if need.gpu_units.iter().zip(self.gpu_units).any(|(take, left)| short(*take, left)) {
            Some("gpus")
        } else {
            None
        }
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// What a pool has left at the time for which room is reserved in it.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Hours from now.
    pub(crate) from: f64,
    /// Whether a job chose to wait until then: a guess of how long others stay is enough.
    pub(crate) by_choice: bool,
    /// Beside the room that is reserved then.
    pub(crate) left: Need,
    /// Whose room that is, and what each takes of a machine.
    pub(crate) holders: BTreeMap<usize, Share>,
    /// The reservation that begins then.
    pub(crate) kept: usize,
}

impl Point {
    /// Whether a job is still there then and has no room of its own in it.
    pub(crate) fn counts(&self, request: &Request) -> bool {
        let ends = if self.by_choice { request.expects } else { request.ends };
        ends > self.from + SAME && self.holders.get(&request.number) != Some(&request.share)
    }
}

impl Reserved<'_> {
    /// What a pool has left at each time from which room is kept in it.
    pub(crate) fn points(&self, round: &Round<'_>, pool: &PoolName) -> Vec<Point> {
        let listings = &round.market.listings;
        let in_it = |kept: &&Kept| {
            listings.get(kept.listing).is_some_and(|listing| listing.offer.key.pool == *pool)
        };
        let Some(limit) = round.market.limits.get(pool) else { return Vec::new() };
        let mut points: Vec<Point> = Vec::new();
        for (number, kept) in self.kept.iter().enumerate().filter(|(_, kept)| in_it(kept)) {
            let known = points.iter_mut().find(|point| (point.from - kept.from).abs() <= SAME);
            if let Some(point) = known {
                point.by_choice &= kept.by_choice;
                continue;
            }
            let gone = |leaving: &&Leaving<'_>| {
                leaving.offer.key.pool == *pool && leaving.at <= kept.from + SAME
            };
            let mut left = Need::left(limit);
            for gone in self.leaving.iter().filter(gone) {
                left.add(&Need::of(&gone.share, &gone.offer.shape, gone.nodes));
            }
            let mut holders = BTreeMap::new();
            for active in self.kept.iter().filter(in_it).filter(|k| k.is_active(kept.from)) {
                if let Some(listing) = listings.get(active.listing) {
                    left.subtract(&Need::of(&active.share, &listing.offer.shape, active.nodes));
                    holders.insert(active.number, active.share);
                }
            }
            let (from, by_choice) = (kept.from, kept.by_choice);
            points.push(Point { from, by_choice, left, holders, kept: number });
        }
        points
    }
}

/// What is left of a pool while a draft is made.
#[derive(Clone, Debug)]
pub(crate) struct PoolRoom {
    left: Need,
    points: Vec<Point>,
}

impl PoolRoom {
    pub(crate) fn new(limit: &PoolLimit) -> Self {
        Self { left: Need::left(limit), points: Vec::new() }
    }

    /// What there is too little of now, if anything.
    pub(crate) fn short(&self, need: &Need) -> Option<&'static str> {
        self.left.short(need)
    }

    /// The reservation whose room a job would take, if it would.
    pub(crate) fn kept_from(&self, request: &Request, need: &Need) -> Option<usize> {
        let mut points = self.points.iter();
        points
            .find(|point| point.counts(request) && point.left.short(need).is_some())
            .map(|p| p.kept)
    }

    pub(crate) fn holds(&self, request: &Request, need: &Need) -> bool {
        self.left.short(need).is_none() && self.kept_from(request, need).is_none()
    }

    pub(crate) fn take(&mut self, request: &Request, need: &Need) {
        self.left.subtract(need);
        for point in self.points.iter_mut().filter(|point| point.counts(request)) {
            point.left.subtract(need);
        }
    }

    /// Keeps room at these times, from what is taken already.
    pub(crate) fn keep(&mut self, points: Vec<Point>, taken: &[(Request, Need)]) {
        self.points = points;
        for point in &mut self.points {
            for (request, need) in taken {
                if point.counts(request) {
                    point.left.subtract(need);
                }
            }
        }
    }
}
