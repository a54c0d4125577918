//! What can be bought and what runs already, indexed, with everything that
//! cannot be computed with left out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spotwise_model::egress::Egress;
use spotwise_model::id::PoolName;
use spotwise_model::limit::LimitUse;
use spotwise_model::policy::Policy;
use spotwise_model::resources::{Free, GPU_UNITS};
use spotwise_model::spec::Class;
use spotwise_model::time::{between, hours};
use spotwise_model::{CapacityType, InstanceId, JobId, NodeShape, Offer, OfferKey, Share};

use crate::spot::forecast::Outlook;
use crate::statement::input::{PlanInput, PlanJob, PoolLimit};
use crate::statement::limits::{self as machine_limits, Limit, Taking};
use crate::statement::policy_prices::{PolicyPrices, Surcharge, Surcharges};

/// Kinds of machines of a group of listings: spot, and what stays.
pub(crate) const KINDS: usize = 2;

/// One usable offer with the machines of it that run already.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    pub(crate) offer: &'a Offer,
    /// Time from launch to the first useful step.
    pub(crate) changeover: Duration,
    /// Machines with work on them, and what is left of each.
    pub(crate) used: Vec<(InstanceId, Free)>,
    /// Machines without work: taking one is like buying one, less its boot.
    pub(crate) idle: Vec<InstanceId>,
    /// Hours from now for which its machines are paid already: as many as anybody
    /// asks for where nothing says until when.
    paid_hours: f64,
    /// New machines that there are now, as far as each limit by itself allows them.
    buyable: u64,
    /// New machines that the limits allow where nothing else counts against them.
    allowed: u64,
    /// How it counts against the market's limits.
    pub(crate) takings: Vec<Taking>,
    /// Which of the market's groups it is in.
    pub(crate) group: usize,
    /// What it costs each class beyond its price.
    pub(crate) surcharges: Surcharges,
    /// What moving data between regions costs.
    pub(crate) egress: &'a Egress,
}

impl Listing<'_> {
    /// What it costs a class beyond its price.
    pub(crate) fn surcharge(&self, class: Class) -> Surcharge {
        self.surcharges.get(class as usize).copied().unwrap_or_default()
    }

    /// The kind of its machines, as an index.
    pub(crate) fn kind(&self) -> usize {
        KINDS * self.group + usize::from(!self.is_spot())
    }

    /// Machines that can be opened: idle ones and new ones.
    pub(crate) fn openable(&self) -> u64 {
        self.idle.len() as u64 + self.buyable
    }

    fn counts_against(&mut self, taking: Taking, limit: &LimitUse) {
        self.buyable = self.buyable.min(limit.left() / taking.takes.max(1));
        self.allowed = self.allowed.min(limit.of / taking.takes.max(1));
        self.takings.push(taking);
    }

    /// The most machines of it that the limits ever allow at once, or that are there now.
    pub(crate) fn most_ever(&self) -> u64 {
        self.allowed.max((self.used.len() + self.idle.len()) as u64)
    }

    /// Whether the limits may ever allow this many machines of it at once.
    pub(crate) fn ever_allows(&self, nodes: u32) -> bool {
        self.takings.is_empty() || self.most_ever() >= u64::from(nodes)
    }

    /// Dollars that a decision turns on, of a machine kept for this many hours from
    /// now: what is paid anyway is none. A machine that outlives its commitment
    /// goes on on demand.
    pub(crate) fn marginal(&self, hours: f64) -> f64 {
        match self.offer.key.market.capacity_type {
            CapacityType::Reserved => self.on_demand() * (hours - self.paid_hours).max(0.0),
            CapacityType::Spot | CapacityType::OnDemand => {
                self.offer.price.dollars_per_hour() * hours
            }
        }
    }

    /// Dollars that a machine kept for this many hours is billed: paid ones at their
    /// effective price.
    pub(crate) fn billed(&self, hours: f64) -> f64 {
        let paid = if self.is_reserved() { self.paid_hours.min(hours) } else { hours };
        self.offer.price.dollars_per_hour() * paid + self.on_demand() * (hours - paid)
    }

    fn on_demand(&self) -> f64 {
        self.offer.on_demand.dollars_per_hour()
    }

    /// Dollars for bringing this many bytes here from a region.
    pub(crate) fn fetch(&self, region: &str, bytes: u64) -> f64 {
        self.egress.dollars(region, self.offer.key.market.zone.region(), bytes)
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.offer.key.market.capacity_type == CapacityType::Reserved
    }

    pub(crate) fn is_spot(&self) -> bool {
        self.offer.key.market.capacity_type == CapacityType::Spot
    }

    /// Whether `nodes` distinct machines that hold `share` are there now, as
    /// far as this round's other jobs leave them.
    pub(crate) fn has_room(&self, share: &Share, nodes: u32) -> bool {
        self.holding(share) + self.openable() >= u64::from(nodes)
    }

    /// Machines with work on them that hold `share`.
    fn holding(&self, share: &Share) -> u64 {
        self.used.iter().filter(|(_, free)| free.clone().take(share)).count() as u64
    }
}

/// The market of one round.
#[derive(Debug)]
pub(crate) struct Market<'a> {
    pub(crate) listings: Vec<Listing<'a>>,
    pub(crate) limits: BTreeMap<&'a PoolName, &'a PoolLimit>,
    /// What new machines may take together, over several listings.
    pub(crate) machine_limits: Vec<Limit<'a>>,
    /// What the forecasts say now.
    pub(crate) outlooks: Vec<Outlook<'a>>,
    /// Listings whose machines are alike, in their order: what a job takes of
    /// one it takes of all.
    pub(crate) groups: Vec<Vec<usize>>,
    /// Arrays whose workers go on from element to element, and the listings on which some
    /// of them are at work.
    workers: BTreeSet<(JobId, usize)>,
}

impl<'a> Market<'a> {
    /// Leaves out a second offer of the same name, spot whose hazard is not a
    /// number of interruptions, and machines that belong to no usable offer.
    pub(crate) fn new(input: &'a PlanInput) -> Self {
        let mut by_key: BTreeMap<&OfferKey, usize> = BTreeMap::new();
        let mut listings: Vec<Listing<'a>> = Vec::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let policy_prices = PolicyPrices::new(input);
        for offer in input.offers.iter().filter(|offer| usable(offer)) {
            if by_key.contains_key(&offer.key) {
                continue;
            }
            by_key.insert(&offer.key, listings.len());
            let changeover = changeover(offer, &input.policy);
            let known = groups.iter().position(|group| {
                let first = group.first().and_then(|first| listings.get(*first));
                first.is_some_and(|first: &Listing<'_>| first.offer.shape == offer.shape)
            });
            let group = known.unwrap_or(groups.len());
            match groups.get_mut(group) {
                Some(members) => members.push(listings.len()),
                None => groups.push(vec![listings.len()]),
            }
            let (used, idle) = (Vec::new(), Vec::new());
            let surcharges = policy_prices.on(offer);
            let egress = &*input.policy.egress;
            let paid_hours = match offer.paid_until() {
                Some(until) => hours(between(input.now, until)),
                None => f64::INFINITY,
            };
            listings.push(Listing {
                offer,
                changeover,
                used,
                idle,
                paid_hours,
                buyable: u64::from(offer.free.machines()),
                allowed: u64::MAX,
                takings: Vec::new(),
                group,
                surcharges,
                egress,
            });
        }
        let mut seen = BTreeSet::new();
        for instance in &input.instances {
            let listing = by_key.get(&instance.offer).and_then(|at| listings.get_mut(*at));
            let Some(listing) = listing.filter(|_| seen.insert(instance.id)) else { continue };
            if instance.free == Free::new(&listing.offer.shape) {
                listing.idle.push(instance.id);
            } else {
                listing.used.push((instance.id, instance.free.clone()));
            }
        }
        let mut limits = BTreeMap::new();
        for limit in &input.limits {
            limits.entry(&limit.pool).or_insert(limit);
        }
        let machine_limits = machine_limits::limits(input, &by_key);
        for (number, limit) in machine_limits.iter().enumerate() {
            for (at, takes) in &limit.takes {
                if let Some(listing) = listings.get_mut(*at) {
                    listing.counts_against(Taking { limit: number, takes: *takes }, limit.state);
                }
            }
        }
        let at_work = input.running.iter().filter(|running| !running.stopping);
        let workers = at_work
            .filter_map(|running| Some((running.job.worker_array?, *by_key.get(&running.offer)?)));
        let workers = workers.collect();
        let outlooks = input.forecasts.iter().map(|f| Outlook::new(f, input.now)).collect();
        Self { listings, limits, machine_limits, outlooks, groups, workers }
    }
}

impl Market<'_> {
    /// Time from placing a job on a listing to its first useful step, as it is expected:
    /// none where a worker of its array goes on with it.
    pub(crate) fn start(&self, job: &PlanJob, at: usize) -> Duration {
        let goes_on = job.worker_array.is_some_and(|array| self.workers.contains(&(array, at)));
        match self.listings.get(at) {
            Some(listing) if !goes_on => listing.changeover,
            _ => Duration::ZERO,
        }
    }

    /// The limit that alone keeps so many machines of a listing for `share` from being
    /// there, the first where there are several.
    pub(crate) fn held_back(&self, at: usize, share: &Share, nodes: u32) -> Option<Taking> {
        let listing = self.listings.get(at).filter(|listing| !listing.takings.is_empty())?;
        let ours = listing.holding(share) + listing.idle.len() as u64;
        let missing = u64::from(nodes).checked_sub(ours)?;
        let short = |taking: &&Taking| {
            let limit = self.machine_limits.get(taking.limit);
            limit.is_some_and(|limit| limit.state.left() / taking.takes < missing)
        };
        let mut takings =
            listing.takings.iter().filter(|_| u64::from(listing.offer.free.machines()) >= missing);
        takings.find(short).copied()
    }

    /// What the forecasts say of an offer to a job with this many nodes; to a larger
    /// one where there is none of its size. `None` if there is none at all.
    pub(crate) fn outlook(&self, offer: &OfferKey, nodes: u32) -> Option<&Outlook<'_>> {
        let of_it = self.outlooks.iter().filter(|outlook| outlook.is_of(offer));
        of_it.filter(|outlook| outlook.nodes() >= nodes).min_by_key(|outlook| outlook.nodes())
    }
}

/// Time from launch to the first useful step: the policy's where the offer
/// does not say.
pub(crate) fn changeover(offer: &Offer, policy: &Policy) -> Duration {
    if offer.changeover.is_zero() { policy.changeover } else { offer.changeover }
}

/// A hazard beyond a thousand an hour, or none at all, is a broken quote.
fn usable(offer: &Offer) -> bool {
    offer.key.market.capacity_type != CapacityType::Spot
        || (0.0..=1_000.0).contains(&offer.hazard_per_hour)
}

/// The part of a machine that `share` takes, by the resource it takes most of.
pub(crate) fn fraction(share: &Share, shape: &NodeShape) -> f64 {
    let part = |take: u64, of: u64| if of == 0 { 0.0 } else { take as f64 / of as f64 };
    part(share.gpu_units(shape), u64::from(shape.gpus) * GPU_UNITS)
        .max(part(share.cpu_milli, shape.cpu_milli))
        .max(part(share.memory_mib, shape.memory_mib))
        .min(1.0)
}

/// How many of a share alone fit a machine.
pub(crate) fn most_on_one(free: &Free, share: &Share) -> u32 {
    let mut free = free.clone();
    let mut most = 0;
    // A share without CPU, memory and GPU would fit for ever.
    while most < 10_000 && free.take(share) {
        most += 1;
    }
    most
}
