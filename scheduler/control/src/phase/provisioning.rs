//! Machines for a plan's placements: what still holds of it is bought or shared.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::attempt::Certainty;
use spotwise_model::plan::Target;
use spotwise_model::resources::{Free, GpuSlot};
use spotwise_model::{
    CoveredSpan, Instance, InstanceId, InstanceState, NodeShape, Now, Offer, OfferKey, PaidFor,
    Placement,
};
use spotwise_solver::MachineLimit;
use spotwise_solver::mig::LayoutLosses;

use super::gpu_slots::{self, Added};
use crate::core::{Change, State};
use crate::view::free::free_of;
use crate::view::limits;
use crate::view::pools::{self, PoolHeadroom};

/// Machines bought while a plan is applied, and the room left on all.
pub(super) struct Provisioner<'a> {
    state: &'a State,
    offers: BTreeMap<&'a OfferKey, &'a Offer>,
    /// Bought now: the plan's own numbering to instances, with their room.
    bought: BTreeMap<(OfferKey, u32), (Instance, Free)>,
    /// Room on machines that existed before, once looked at.
    existing: BTreeMap<InstanceId, Free>,
    pools: Vec<PoolHeadroom>,
    /// Limits on open machines, with what is bought here.
    limits: Vec<MachineLimit>,
    /// What it adds to each machine.
    added: BTreeMap<InstanceId, Added>,
    last: u64,
}

impl<'a> Provisioner<'a> {
    pub(super) fn new(state: &'a State, now: Now) -> Self {
        Self {
            state,
            offers: state.seen.offers.iter().map(|offer| (&offer.key, offer)).collect(),
            bought: BTreeMap::new(),
            existing: BTreeMap::new(),
            pools: pools::left(state),
            limits: limits::limits(state, now.market),
            added: BTreeMap::new(),
            last: state.last_instance,
        }
    }

    /// The machines of a placement; `None`, with nothing changed, if one of them is no
    /// longer available.
    pub(super) fn machines(
        &mut self,
        number: usize,
        placement: &Placement,
        now: Now,
    ) -> Option<Vec<InstanceId>> {
        let distinct: BTreeSet<&Target> = placement.targets.iter().collect();
        if distinct.len() != placement.targets.len() || !self.pool_holds(placement) {
            return None;
        }
        let before = (self.bought.clone(), self.existing.clone(), self.limits.clone(), self.last);
        let mut machines = Vec::with_capacity(placement.targets.len());
        for target in &placement.targets {
            match self.machine(placement, *target, now) {
                Some(id) => machines.push(id),
                None => {
                    (self.bought, self.existing, self.limits, self.last) = before;
                    return None;
                }
            }
        }
        self.take_from_pool(placement);
        for (rank, machine) in machines.iter().enumerate() {
            self.added.entry(*machine).or_default().add(number, rank, placement.share);
        }
        Some(machines)
    }

    fn machine(&mut self, placement: &Placement, target: Target, now: Now) -> Option<InstanceId> {
        match target {
            Target::Existing(id) => {
                let instance = self.state.instances.get(&id).filter(|i| i.accepts_work())?;
                let free = self.existing.entry(id).or_insert_with(|| free_of(self.state, instance));
                (instance.offer == placement.offer && free.take(&placement.share)).then_some(id)
            }
            Target::New(index) => {
                let key = (placement.offer.clone(), index);
                if !self.bought.contains_key(&key) {
                    let instance = self.buy(&placement.offer, now)?;
                    let free = Free::new(&instance.shape);
                    self.bought.insert(key.clone(), (instance, free));
                }
                let (instance, free) = self.bought.get_mut(&key)?;
                free.take(&placement.share).then_some(instance.id)
            }
        }
    }

    fn buy(&mut self, key: &OfferKey, now: Now) -> Option<Instance> {
        let offer = *self.offers.get(key)?;
        let pool = self.state.pools.get(&key.pool).filter(|pool| !pool.leaving)?;
        // What another pool has bought on the same market is gone too.
        let same = |(bought, _): &&(OfferKey, u32)| bought.market == key.market;
        let already = self.bought.keys().filter(same).count();
        if already >= offer.free.machines() as usize || !self.limits_hold(key) {
            return None;
        }
        self.take_from_limits(key);
        self.last += 1;
        let paid = paid_for(offer, u32::try_from(already).unwrap_or(u32::MAX));
        let covered = paid.map(|paid| CoveredSpan {
            commitment: paid.commitment.clone(),
            price: paid.price,
            from: now.market,
            until: paid.until,
        });
        Some(Instance {
            id: InstanceId(self.last),
            offer: key.clone(),
            shape: offer.shape.clone(),
            launch_price: covered.as_ref().map_or(offer.price, |covered| covered.price),
            on_demand: offer.on_demand,
            // What is there at once is billed at once.
            state: match pool.features.instant {
                true => InstanceState::Registered { since: now.market },
                false => InstanceState::Requested { at: now, certainty: Certainty::Known },
            },
            coverage: covered.into_iter().collect(),
            provider: None,
            token: (!pool.features.instant).then(|| token(InstanceId(self.last), now)),
        })
    }

    fn limits_hold(&self, key: &OfferKey) -> bool {
        let takes = |limit: &MachineLimit| limit.takes.get(key).copied().unwrap_or(0);
        self.limits.iter().all(|limit| takes(limit) == 0 || takes(limit) <= limit.state.left())
    }

    fn take_from_limits(&mut self, key: &OfferKey) {
        for limit in &mut self.limits {
            limit.state.used += limit.takes.get(key).copied().unwrap_or(0);
        }
    }

    /// What the machines of a placement have.
    fn shape(&self, placement: &Placement) -> Option<&'a NodeShape> {
        let there = |target: &Target| match target {
            Target::Existing(id) => self.state.instances.get(id).map(|instance| &instance.shape),
            Target::New(_) => None,
        };
        let offered = self.offers.get(&placement.offer).map(|offer| &offer.shape);
        offered.or_else(|| placement.targets.iter().find_map(there))
    }

    fn pool_holds(&self, placement: &Placement) -> bool {
        let (shape, nodes) = (self.shape(placement), placement.targets.len() as u64);
        let mut pools =
            self.pools.iter().filter(|headroom| *headroom.pool() == placement.offer.pool);
        pools.all(|headroom| headroom.holds(&placement.share, shape, nodes))
    }

    fn take_from_pool(&mut self, placement: &Placement) {
        let (shape, nodes) = (self.shape(placement), placement.targets.len() as u64);
        let pools =
            self.pools.iter_mut().filter(|headroom| *headroom.pool() == placement.offer.pool);
        pools.for_each(|headroom| headroom.take(&placement.share, shape, nodes));
    }

    /// The slots of parts of GPUs, by the number of their placement and their
    /// rank, and the machines that were bought.
    pub(super) fn done(mut self) -> (BTreeMap<usize, Vec<GpuSlot>>, Vec<Change>) {
        let mut places = BTreeMap::new();
        let worth = LazyCell::new(|| LayoutLosses::of(gpu_slots::demand(self.state)));
        let added = std::mem::take(&mut self.added).into_iter();
        for (machine, added) in added.filter(|(_, added)| added.has_parts()) {
            if let Some(free) = self.before(machine) {
                places.extend(added.slots(free, &|layout| worth.loss(layout)));
            }
        }
        let mut slots: BTreeMap<usize, Vec<GpuSlot>> = BTreeMap::new();
        for ((placement, _), slot) in places {
            slots.entry(placement).or_default().push(slot);
        }
        let bought = self.bought.into_values().map(|(instance, _)| instance.into());
        (slots, bought.collect())
    }

    /// What a machine had left before the plan.
    fn before(&self, machine: InstanceId) -> Option<Free> {
        if let Some(instance) = self.state.instances.get(&machine) {
            return Some(free_of(self.state, instance));
        }
        let mut bought = self.bought.values();
        let (instance, _) = bought.find(|(instance, _)| instance.id == machine)?;
        Some(Free::new(&instance.shape))
    }
}

/// The name under which a provider is asked for a machine: the same request by the same
/// name is one machine. Its time keeps it apart from a machine of that number in a history
/// that a restored database has lost.
fn token(machine: InstanceId, now: Now) -> String {
    format!("{machine}-{:x}", now.wall.as_microsecond())
}

/// Which commitment pays for the next machine of an offer, when this many have been given
/// out.
fn paid_for(offer: &Offer, already: u32) -> Option<&PaidFor> {
    let mut given = already;
    offer.paid_for.iter().find(|paid| {
        let has = given < paid.free;
        given = given.saturating_sub(paid.free);
        has
    })
}
