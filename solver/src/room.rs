//! Fills machines: the packing that greedy and the integer program share, and
//! the price of what was packed.

use std::collections::BTreeMap;

use spotwise_model::id::PoolName;
use spotwise_model::plan::Target;
use spotwise_model::resources::Free;

use crate::choice::{Choice, Round};
use crate::market::{GPU_UNITS, gpu_units};

/// Where a job goes: which of its choices, and the machine of each node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) choice: usize,
    pub(crate) targets: Vec<Target>,
}

/// A round's answer before it is explained: one entry a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) seats: Vec<Option<Seat>>,
}

/// What is left to place work on, while a draft is made.
#[derive(Clone, Debug)]
pub(crate) struct Room<'r, 'a> {
    round: &'r Round<'a>,
    listings: Vec<Shelf>,
    pools: BTreeMap<&'a PoolName, PoolRoom>,
}

/// The machines of one listing.
#[derive(Clone, Debug)]
struct Shelf {
    used: Vec<Free>,
    opened: Vec<Opened>,
    openable: u64,
}

#[derive(Clone, Debug)]
struct Opened {
    free: Free,
    bucket: usize,
}

#[derive(Clone, Debug)]
struct PoolRoom {
    cpu_milli: u64,
    memory_mib: u64,
    gpu_units: Option<u64>,
}

/// A machine for one node, in the order in which equal prices are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Used(usize),
    Opened(usize),
    Fresh,
}

/// Machines for all nodes of a choice, and what they add to the objective.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    slots: Vec<Slot>,
    pub(crate) cost: f64,
}

impl<'r, 'a> Room<'r, 'a> {
    pub(crate) fn new(round: &'r Round<'a>) -> Self {
        let shelf = |listing: &crate::market::Listing<'_>| Shelf {
            used: listing.used.iter().map(|(_, free)| free.clone()).collect(),
            opened: Vec::new(),
            openable: listing.openable(),
        };
        let pool = |limit: &crate::input::PoolLimit| PoolRoom {
            cpu_milli: limit.cpu_milli,
            memory_mib: limit.memory_mib,
            gpu_units: limit.gpus.map(|gpus| u64::from(gpus) * GPU_UNITS),
        };
        Self {
            round,
            listings: round.market.listings.iter().map(shelf).collect(),
            pools: round.market.limits.iter().map(|(name, limit)| (*name, pool(limit))).collect(),
        }
    }

    /// What a draft leaves.
    pub(crate) fn of(round: &'r Round<'a>, draft: &Draft) -> Self {
        let mut room = Self::new(round);
        for (case, seat) in round.cases.iter().zip(&draft.seats) {
            let Some(seat) = seat else { continue };
            let Some(choice) = case.choices.get(seat.choice) else { continue };
            let at = choice.estimate.listing;
            let slots: Vec<Slot> =
                seat.targets.iter().filter_map(|target| room.slot(at, target)).collect();
            room.take(choice, &Fit { slots, cost: 0.0 });
        }
        room
    }

    /// The slot of a target, opened where it is not yet.
    fn slot(&mut self, at: usize, target: &Target) -> Option<Slot> {
        let (listing, shelf) = (self.round.market.listings.get(at)?, self.listings.get_mut(at)?);
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
            shelf.opened.push(Opened { free: Free::new(&listing.offer.shape), bucket: 0 });
        }
        Some(Slot::Opened(index))
    }

    /// What the pool of a choice is short of for all its nodes, if anything.
    pub(crate) fn pool_short(&self, choice: &Choice, nodes: u32) -> Option<&'static str> {
        let listing = self.round.market.listings.get(choice.estimate.listing)?;
        let pool = self.pools.get(&listing.offer.key.pool)?;
        let (share, nodes) = (&choice.estimate.share, u64::from(nodes));
        if share.cpu_milli.saturating_mul(nodes) > pool.cpu_milli {
            Some("cpus")
        } else if share.memory_mib.saturating_mul(nodes) > pool.memory_mib {
            Some("memory")
        } else if pool.gpu_units.is_some_and(|left| gpu_units(share).saturating_mul(nodes) > left) {
            Some("gpus")
        } else {
            None
        }
    }

    /// The cheapest distinct machines for all nodes of a choice; none where it
    /// does not fit. At equal price: running machines, then opened ones, then
    /// fresh ones, each in their order.
    pub(crate) fn fit(&self, choice: &Choice, nodes: u32) -> Option<Fit> {
        if self.pool_short(choice, nodes).is_some() {
            return None;
        }
        let at = choice.estimate.listing;
        let (shelf, listing) = (self.listings.get(at)?, self.round.market.listings.get(at)?);
        let holds = |free: &Free| free.clone().take(&choice.estimate.share);
        let life = self.round.lifetime(at, choice.bucket);
        let price = listing.marginal_price();
        let share_cost = self.round.share_cost(choice);
        let used = shelf.used.iter().enumerate().filter(|(_, free)| holds(free));
        let opened = shelf.opened.iter().enumerate().filter(|(_, machine)| holds(&machine.free));
        let left = shelf.openable.saturating_sub(shelf.opened.len() as u64).min(u64::from(nodes));
        let fresh = (0..left).map(|_| (price * life, Slot::Fresh));
        let mut slots: Vec<(f64, Slot)> = used
            .map(|(i, _)| (share_cost, Slot::Used(i)))
            .chain(opened.map(|(i, machine)| {
                let longer = (life - self.round.lifetime(at, machine.bucket)).max(0.0);
                (price * longer, Slot::Opened(i))
            }))
            .chain(fresh)
            .collect();
        let wanted = nodes as usize;
        if slots.len() < wanted {
            return None;
        }
        slots.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        slots.truncate(wanted);
        let cost = choice.lateness + slots.iter().map(|(cost, _)| cost).sum::<f64>();
        Some(Fit { slots: slots.into_iter().map(|(_, slot)| slot).collect(), cost })
    }

    /// Takes the machines of a fit that this room has just answered.
    pub(crate) fn take(&mut self, choice: &Choice, fit: &Fit) -> Vec<Target> {
        let at = choice.estimate.listing;
        let share = &choice.estimate.share;
        let Some(listing) = self.round.market.listings.get(at) else { return Vec::new() };
        let Some(shelf) = self.listings.get_mut(at) else { return Vec::new() };
        if let Some(pool) = self.pools.get_mut(&listing.offer.key.pool) {
            let nodes = fit.slots.len() as u64;
            pool.cpu_milli = pool.cpu_milli.saturating_sub(share.cpu_milli.saturating_mul(nodes));
            pool.memory_mib =
                pool.memory_mib.saturating_sub(share.memory_mib.saturating_mul(nodes));
            pool.gpu_units = pool
                .gpu_units
                .map(|left| left.saturating_sub(gpu_units(share).saturating_mul(nodes)));
        }
        let mut targets = Vec::with_capacity(fit.slots.len());
        for slot in &fit.slots {
            let (free, target) = match *slot {
                Slot::Used(i) => {
                    let target = listing.used.get(i).map(|(id, _)| Target::Existing(*id));
                    (shelf.used.get_mut(i), target)
                }
                Slot::Opened(i) => {
                    let machine = shelf.opened.get_mut(i).map(|machine| {
                        machine.bucket = machine.bucket.max(choice.bucket);
                        &mut machine.free
                    });
                    (machine, opened_target(listing, i))
                }
                Slot::Fresh => {
                    let i = shelf.opened.len();
                    let free = Free::new(&listing.offer.shape);
                    shelf.opened.push(Opened { free, bucket: choice.bucket });
                    (shelf.opened.last_mut().map(|m| &mut m.free), opened_target(listing, i))
                }
            };
            // A fit holds on the room that gave it; were it not so, `check`
            // would refuse the plan.
            if let (Some(free), Some(target)) = (free, target)
                && free.take(share)
            {
                targets.push(target);
            }
        }
        targets
    }
}

/// The i-th machine opened: idle ones first, they are up already.
fn opened_target(listing: &crate::market::Listing<'_>, i: usize) -> Option<Target> {
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
    for (case, seat) in round.cases.iter().zip(&draft.seats) {
        let choice = seat.as_ref().and_then(|seat| case.choices.get(seat.choice));
        let (Some(choice), Some(seat)) = (choice, seat) else {
            total += case.wait;
            continue;
        };
        total += choice.lateness;
        let at = choice.estimate.listing;
        for target in &seat.targets {
            if is_used(round, at, target) {
                total += round.share_cost(choice);
            } else {
                let bucket = machines.entry((at, *target)).or_insert(choice.bucket);
                *bucket = (*bucket).max(choice.bucket);
            }
        }
    }
    let lives = machines.iter().map(|((at, _), bucket)| {
        let price = round.market.listings.get(*at).map_or(0.0, |l| l.marginal_price());
        price * round.lifetime(*at, *bucket)
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
