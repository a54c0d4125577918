//! Fills machines: the packing that greedy, the integer program and the
//! decomposition share, and the price of what was packed.

use std::collections::BTreeMap;

use spotwise_model::id::PoolName;
use spotwise_model::mig::MEASURES;
use spotwise_model::plan::Target;
use spotwise_model::resources::{Free, GPU_UNITS};
use spotwise_model::{NodeShape, Share};

use crate::market::Listing;
use crate::round::{Round, Want};

/// Where a job goes: which of its pairs, and the machine of each node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) pair: usize,
    pub(crate) targets: Vec<Target>,
}

/// A round's answer before it is explained: one entry an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) seats: Vec<Option<Seat>>,
}

impl Draft {
    /// Everybody waits.
    pub(crate) fn empty(round: &Round<'_>) -> Self {
        Self { seats: vec![None; round.asks.len()] }
    }
}

/// What is left to place work on, while a draft is made.
#[derive(Clone, Debug)]
pub(crate) struct Room<'r, 'a> {
    round: &'r Round<'a>,
    shelves: Vec<Shelf>,
    pools: BTreeMap<&'a PoolName, PoolRoom>,
}

/// The machines of one listing.
#[derive(Clone, Debug)]
struct Shelf {
    used: Vec<Bin>,
    opened: Vec<Bin>,
    openable: u64,
    /// The most that any opened machine has left of each: most shelves are
    /// nearly full most of the time, and are passed by with one look.
    most: Left,
}

/// One machine.
#[derive(Clone, Debug)]
struct Bin {
    free: Free,
    left: Left,
    /// The bucket of the longest job that this round put on it.
    bucket: usize,
}

/// What is left, as numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    whole_gpus: u32,
    cpu_milli: u64,
    memory_mib: u64,
}

#[derive(Clone, Debug)]
struct PoolRoom {
    cpu_milli: u64,
    memory_mib: u64,
    gpu_units: Option<[u64; MEASURES]>,
}

/// A machine for one node, in the order in which equal prices are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Used(usize),
    Opened(usize),
    Fresh,
}

/// Machines for all nodes, and what they add to the objective.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    slots: Slots,
    pub(crate) cost: f64,
}

/// Nearly every job has one node: no allocation for it.
#[derive(Clone, Debug)]
enum Slots {
    One(Slot),
    Many(Vec<Slot>),
}

impl Left {
    fn of(free: &Free) -> Self {
        let whole_gpus = u32::try_from(free.untouched_gpus()).unwrap_or(u32::MAX);
        Self { whole_gpus, cpu_milli: free.cpu_milli(), memory_mib: free.memory_mib() }
    }

    /// Whether that much is there; a part of a GPU needs a closer look.
    const fn may_hold(&self, share: &Share) -> bool {
        share.gpus <= self.whole_gpus
            && share.cpu_milli <= self.cpu_milli
            && share.memory_mib <= self.memory_mib
    }

    fn most(self, other: Self) -> Self {
        Self {
            whole_gpus: self.whole_gpus.max(other.whole_gpus),
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_mib: self.memory_mib.max(other.memory_mib),
        }
    }
}

impl Bin {
    fn new(free: Free) -> Self {
        Self { left: Left::of(&free), free, bucket: 0 }
    }

    fn holds(&self, share: &Share) -> bool {
        self.left.may_hold(share) && (!share.takes_part() || self.free.clone().take(share))
    }

    fn take(&mut self, share: &Share) -> bool {
        let taken = self.free.take(share);
        self.left = if share.takes_part() {
            Left::of(&self.free)
        } else {
            let taken_gpus = if taken { share.gpus } else { 0 };
            Left {
                whole_gpus: self.left.whole_gpus.saturating_sub(taken_gpus),
                cpu_milli: self.free.cpu_milli(),
                memory_mib: self.free.memory_mib(),
            }
        };
        taken
    }
}

impl Shelf {
    fn new(listing: &Listing<'_>) -> Self {
        Self {
            used: listing.used.iter().map(|(_, free)| Bin::new(free.clone())).collect(),
            opened: Vec::new(),
            openable: listing.openable(),
            most: Left::default(),
        }
    }

    fn open(&mut self, shape: &NodeShape) {
        let bin = Bin::new(Free::new(shape));
        self.most = self.most.most(bin.left);
        self.opened.push(bin);
    }

    fn unopened(&self) -> u64 {
        self.openable.saturating_sub(self.opened.len() as u64)
    }

    fn refresh(&mut self) {
        self.most = self.opened.iter().map(|bin| bin.left).fold(Left::default(), Left::most);
    }
}

impl Slots {
    fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }
}

impl<'r, 'a> Room<'r, 'a> {
    pub(crate) fn new(round: &'r Round<'a>) -> Self {
        let pool = |limit: &crate::input::PoolLimit| PoolRoom {
            cpu_milli: limit.cpu_milli,
            memory_mib: limit.memory_mib,
            gpu_units: limit.gpus.map(|gpus| [u64::from(gpus) * GPU_UNITS; MEASURES]),
        };
        Self {
            round,
            shelves: round.market.listings.iter().map(Shelf::new).collect(),
            pools: round.market.limits.iter().map(|(name, limit)| (*name, pool(limit))).collect(),
        }
    }

    /// What a draft leaves.
    pub(crate) fn of(round: &'r Round<'a>, draft: &Draft) -> Self {
        let mut room = Self::new(round);
        for (ask, seat) in round.asks.iter().zip(&draft.seats) {
            let Some(seat) = seat else { continue };
            let Some(pair) = ask.pairs.get(seat.pair) else { continue };
            let at = pair.listing();
            let slots: Vec<Slot> =
                seat.targets.iter().filter_map(|target| room.slot(at, target)).collect();
            room.take(&ask.want(pair), &Fit { slots: Slots::Many(slots), cost: 0.0 });
        }
        room
    }

    /// The slot of a target, opened where it is not yet.
    fn slot(&mut self, at: usize, target: &Target) -> Option<Slot> {
        let (listing, shelf) = (self.round.market.listings.get(at)?, self.shelves.get_mut(at)?);
        let index = match target {
            Target::Existing(id) => {
                if let Some(used) = listing.used.iter().position(|(used, _)| used == id) {
                    return Some(Slot::Used(used));
                }
                listing.idle.iter().position(|idle| idle == id)?
            }
            Target::New(index) => listing.idle.len() + *index as usize,
        };
        while shelf.opened.len() <= index {
            shelf.open(&listing.offer.shape);
        }
        Some(Slot::Opened(index))
    }

    /// What the pool of a pair is short of for all its nodes, if anything.
    pub(crate) fn pool_short(&self, want: &Want) -> Option<&'static str> {
        if self.pools.is_empty() {
            return None;
        }
        let listing = self.round.market.listings.get(want.listing)?;
        let pool = self.pools.get(&listing.offer.key.pool)?;
        let (share, nodes) = (&want.share, u64::from(want.nodes));
        let units = share.gpu_measures(&listing.offer.shape).map(|one| one.saturating_mul(nodes));
        let short = |left: [u64; MEASURES]| units.iter().zip(left).any(|(take, left)| *take > left);
        if share.cpu_milli.saturating_mul(nodes) > pool.cpu_milli {
            Some("cpus")
        } else if share.memory_mib.saturating_mul(nodes) > pool.memory_mib {
            Some("memory")
        } else if pool.gpu_units.is_some_and(short) {
            Some("gpus")
        } else {
            None
        }
    }

    /// The cheapest distinct machines for all nodes of a pair; none where it
    /// does not fit. At equal price: running machines, then opened ones, then
    /// fresh ones, each in their order.
    pub(crate) fn fit(&self, want: &Want) -> Option<Fit> {
        let (shelf, listing) =
            (self.shelves.get(want.listing)?, self.round.market.listings.get(want.listing)?);
        let fresh = shelf.unopened();
        let full = fresh == 0 && shelf.used.is_empty() && !shelf.most.may_hold(&want.share);
        if full || self.pool_short(want).is_some() {
            return None;
        }
        let machine = listing.marginal(self.life(want.listing, want.bucket));
        let slots = self.slots(shelf, listing, want);
        if want.nodes <= 1 {
            let fresh = (fresh > 0).then_some((machine, Slot::Fresh));
            let best = slots.chain(fresh).reduce(|a, b| if b.0 < a.0 { b } else { a })?;
            return Some(Fit { slots: Slots::One(best.1), cost: want.extra + best.0 });
        }
        let fresh = (0..fresh.min(u64::from(want.nodes))).map(|_| (machine, Slot::Fresh));
        let mut slots: Vec<(f64, Slot)> = slots.chain(fresh).collect();
        let wanted = want.nodes as usize;
        if slots.len() < wanted {
            return None;
        }
        slots.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        slots.truncate(wanted);
        let cost = want.extra + slots.iter().map(|(cost, _)| cost).sum::<f64>();
        Some(Fit { slots: Slots::Many(slots.into_iter().map(|(_, slot)| slot).collect()), cost })
    }

    /// Machines with work that hold one node of a pair, running ones first,
    /// each with what it adds to the objective.
    fn slots<'s>(
        &'s self,
        shelf: &'s Shelf,
        listing: &'s Listing<'_>,
        want: &'s Want,
    ) -> impl Iterator<Item = (f64, Slot)> + 's {
        let life = self.life(want.listing, want.bucket);
        let share_cost = if shelf.used.is_empty() { 0.0 } else { self.round.share_cost(want) };
        let used = shelf.used.iter().enumerate().filter(|(_, bin)| bin.holds(&want.share));
        let may = shelf.most.may_hold(&want.share);
        let opened = if may { shelf.opened.as_slice() } else { &[] };
        let opened = opened.iter().enumerate().filter(|(_, bin)| bin.holds(&want.share));
        used.map(move |(i, _)| (share_cost, Slot::Used(i))).chain(opened.map(move |(i, bin)| {
            let before = self.life(want.listing, bin.bucket);
            let longer = listing.marginal(life.max(before)) - listing.marginal(before);
            (longer, Slot::Opened(i))
        }))
    }

    fn life(&self, listing: usize, bucket: usize) -> f64 {
        self.round.lifetime(listing, bucket)
    }

    /// Takes the machines of a fit that this room has just answered.
    pub(crate) fn take(&mut self, want: &Want, fit: &Fit) -> Vec<Target> {
        let Some(listing) = self.round.market.listings.get(want.listing) else {
            return Vec::new();
        };
        let slots = fit.slots.as_slice();
        self.take_from_pool(listing, &want.share, slots.len() as u64);
        let Some(shelf) = self.shelves.get_mut(want.listing) else { return Vec::new() };
        let mut targets = Vec::with_capacity(slots.len());
        for slot in slots {
            let (bin, target) = match *slot {
                Slot::Used(i) => {
                    let target = listing.used.get(i).map(|(id, _)| Target::Existing(*id));
                    (shelf.used.get_mut(i), target)
                }
                Slot::Opened(i) => (shelf.opened.get_mut(i), opened_target(listing, i)),
                Slot::Fresh => {
                    let i = shelf.opened.len();
                    shelf.open(&listing.offer.shape);
                    (shelf.opened.last_mut(), opened_target(listing, i))
                }
            };
            // A fit holds on the room that gave it; were it not so, `check`
            // would refuse the plan.
            if let (Some(bin), Some(target)) = (bin, target)
                && bin.take(&want.share)
            {
                bin.bucket = bin.bucket.max(want.bucket);
                targets.push(target);
            }
        }
        shelf.refresh();
        targets
    }

    fn take_from_pool(&mut self, listing: &Listing<'_>, share: &Share, nodes: u64) {
        let Some(pool) = self.pools.get_mut(&listing.offer.key.pool) else { return };
        pool.cpu_milli = pool.cpu_milli.saturating_sub(share.cpu_milli.saturating_mul(nodes));
        pool.memory_mib = pool.memory_mib.saturating_sub(share.memory_mib.saturating_mul(nodes));
        let units = share.gpu_measures(&listing.offer.shape);
        for (left, one) in pool.gpu_units.iter_mut().flatten().zip(units) {
            *left = left.saturating_sub(one.saturating_mul(nodes));
        }
    }
}

/// The i-th machine opened: idle ones first, they are up already.
pub(crate) fn opened_target(listing: &Listing<'_>, i: usize) -> Option<Target> {
    match listing.idle.get(i) {
        Some(id) => Some(Target::Existing(*id)),
        None => u32::try_from(i - listing.idle.len()).ok().map(Target::New),
    }
}

/// What a draft costs: opened machines as long as their longest job stays,
/// shares of running ones, lateness, and waiting.
pub(crate) fn objective(round: &Round<'_>, draft: &Draft) -> f64 {
    let mut machines: BTreeMap<(usize, Target), usize> = BTreeMap::new();
    let mut total = 0.0;
    for (ask, seat) in round.asks.iter().zip(&draft.seats) {
        let pair = seat.as_ref().and_then(|seat| ask.pairs.get(seat.pair));
        let (Some(pair), Some(seat)) = (pair, seat) else {
            total += ask.wait;
            continue;
        };
        total += pair.extra();
        for target in &seat.targets {
            if is_used(round, pair.listing(), target) {
                total += round.share_cost(&ask.want(pair));
            } else {
                let bucket = machines.entry((pair.listing(), *target)).or_insert(pair.bucket());
                *bucket = (*bucket).max(pair.bucket());
            }
        }
    }
    let lives = machines.iter().map(|((at, _), bucket)| {
        let life = round.lifetime(*at, *bucket);
        round.market.listings.get(*at).map_or(0.0, |listing| listing.marginal(life))
    });
    total + lives.sum::<f64>()
}

/// Whether a target has work of others on it already.
pub(crate) fn is_used(round: &Round<'_>, at: usize, target: &Target) -> bool {
    match target {
        Target::New(_) => false,
        Target::Existing(id) => round
            .market
            .listings
            .get(at)
            .is_some_and(|listing| listing.used.iter().any(|(used, _)| used == id)),
    }
}
