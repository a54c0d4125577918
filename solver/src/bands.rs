//! The operator's soft wishes for a whole class of jobs: how much of it runs on
//! spot, and on how many pools. Each is a linear price on the offers that lead
//! further away from it, so that greedy, the integer program, the decomposition
//! and the audit of their plans all reckon with it alike.
//!
//! A wish orders what a job may take; it refuses nothing, and it makes no job
//! wait: waiting costs as much more as the dearest wish. A job that is late
//! carries none. The prices look at what ran up to this round, so that all jobs
//! of a round are priced alike.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::policy::{Band, Policy};
use spotwise_model::spec::Class;
use spotwise_model::time::hours;
use spotwise_model::{CapacityType, Offer, OfferKey, Placement};

use crate::choice::Case;
use crate::input::{ClassShare, PlanInput, RunningJob};
use crate::market::{Listing, fraction};
use crate::round::{Ask, Pair, Round};
use crate::value::{Estimate, Standing, estimate};

/// So far outside of its band a class pays the full price: 10 points. Nearer it
/// pays in proportion, so that the share does not swing about the edge.
const FULL_PRICE_AT: f64 = 0.1;

/// How a class stands to the operator's wishes, and what they cost in a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct BandReport {
    /// The class.
    pub class: Class,
    /// The part of its machine-hours of the window that ran on spot; none where
    /// nothing ran.
    pub spot_share: Option<f64>,
    /// What the part should be.
    pub band: Band,
    /// Pools that it runs on now.
    pub pools: u32,
    /// Pools that it should run on.
    pub least_pools: u32,
    /// Dollars of the band's price on the plan's placements: a figure of the
    /// objective, not of the bill.
    pub band_price: f64,
    /// The same of the price for too few pools.
    pub pool_price: f64,
    /// Expected dollars of the bill: what the placements cost beyond the choices
    /// that they would have been made for without the two prices. Whether others
    /// would have taken those is not looked at.
    pub paid_more: f64,
}

/// Dollars a machine-hour that an offer costs a class beyond its price.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Extra {
    /// For the spot share.
    pub(crate) band: f64,
    /// For too few pools.
    pub(crate) pool: f64,
}

impl Extra {
    pub(crate) const fn sum(self) -> f64 {
        self.band + self.pool
    }
}

/// Extras by class, in the order of their declaration.
pub(crate) type Extras = [Extra; Class::ALL.len()];

/// Zone and machine type.
type Pool = (Zone, InstanceType);

/// What the classes wish for in this round.
pub(crate) struct Wishes<'a> {
    policy: &'a Policy,
    classes: Vec<Wish<'a>>,
}

/// What one class wishes for.
struct Wish<'a> {
    class: Class,
    /// How far the class is above its band, 0 to 1; below 0 how far below.
    beyond: f64,
    /// The fullest of its pools where they are too few.
    crowded: BTreeSet<&'a Pool>,
}

impl<'a> Wishes<'a> {
    pub(crate) fn new(input: &'a PlanInput) -> Self {
        let policy = &input.policy;
        let wish = |(class, share): (&Class, &'a ClassShare)| Wish {
            class: *class,
            beyond: share.spot_share().map_or(0.0, |spot| beyond(spot, policy.band(*class))),
            crowded: crowded(share, policy.least_pools),
        };
        Self { policy, classes: input.shares.iter().map(wish).collect() }
    }

    /// What an offer costs each class beyond its price.
    pub(crate) fn on(&self, offer: &Offer) -> Extras {
        let mut extras = Extras::default();
        let on_demand = offer.on_demand.dollars_per_hour().max(0.0);
        let pool = (offer.key.zone.clone(), offer.key.instance_type.clone());
        for wish in &self.classes {
            let Some(extra) = extras.get_mut(wish.class as usize) else { continue };
            let outside = match offer.key.capacity_type {
                CapacityType::Spot => wish.beyond.max(0.0),
                CapacityType::OnDemand => (-wish.beyond).max(0.0),
                // Paid already: to leave it idle helps nobody.
                CapacityType::Reserved => continue,
            };
            extra.band = on_demand * part(self.policy.band_price_share) * outside;
            if wish.crowded.contains(&pool) {
                extra.pool = on_demand * part(self.policy.pool_price_share);
            }
        }
        extras
    }
}

/// A policy that nobody has checked prices nothing.
fn part(share: f64) -> f64 {
    if (0.0..=1.0).contains(&share) { share } else { 0.0 }
}

fn beyond(spot: f64, band: Band) -> f64 {
    let outside = if spot > band.spot_ceiling {
        spot - band.spot_ceiling
    } else if spot < band.spot_floor {
        spot - band.spot_floor
    } else {
        0.0
    };
    (outside / FULL_PRICE_AT).clamp(-1.0, 1.0)
}

/// The pools with the most machines of a class, equal ones all, where it runs on
/// fewer than `least` pools; none where it does not run at all.
fn crowded(share: &ClassShare, least: u32) -> BTreeSet<&Pool> {
    let most = share.machines.values().copied().max().unwrap_or(0);
    if most == 0 || pools(share) >= least {
        return BTreeSet::new();
    }
    share.machines.iter().filter(|(_, count)| **count == most).map(|(pool, _)| pool).collect()
}

fn pools(share: &ClassShare) -> u32 {
    let used = share.machines.values().filter(|count| **count > 0).count();
    u32::try_from(used).unwrap_or(u32::MAX)
}

/// Whether a job's choices carry its class's wishes: a late one takes the
/// earliest finish.
pub(crate) fn is_wished(case: &Case<'_>) -> bool {
    case.standing != Standing::Late
}

/// Dollars of the class's wishes on a choice: by the machine-hours that it takes.
pub(crate) fn extra_of(case: &Case<'_>, e: &Estimate, listings: &[Listing<'_>]) -> f64 {
    if !is_wished(case) {
        return 0.0;
    }
    let extra = listings.get(e.listing).map_or(0.0, |l| of_class(l, case.job.spec.class).sum());
    extra * hours(e.occupied) * f64::from(case.nodes) * e.fraction
}

/// What a listing costs a class beyond its price.
pub(crate) fn of_class(listing: &Listing<'_>, class: Class) -> Extra {
    listing.extras.get(class as usize).copied().unwrap_or_default()
}

/// What a running job's class wishes of it elsewhere, as a start there would find
/// it: the pools are those of the others. Its own machines left in, it would run
/// away from the pool that it fills itself, and from the next.
pub(crate) struct Elsewhere<'a> {
    class: Class,
    pool_price: f64,
    crowded: BTreeSet<Pool>,
    listings: &'a [Listing<'a>],
}

impl<'a> Elsewhere<'a> {
    pub(crate) fn new(round: &'a Round<'_>, running: &RunningJob) -> Self {
        let (policy, class) = (&round.input.policy, running.job.spec.class);
        let mut others = round.input.shares.get(&class).cloned().unwrap_or_default();
        let own = (running.offer.zone.clone(), running.offer.instance_type.clone());
        if let Some(count) = others.machines.get_mut(&own) {
            *count = count.saturating_sub(u32::try_from(running.instances.len()).unwrap_or(1));
        }
        Self {
            class,
            pool_price: part(policy.pool_price_share),
            crowded: crowded(&others, policy.least_pools).into_iter().cloned().collect(),
            listings: &round.market.listings,
        }
    }

    /// Dollars a machine-hour of staying on a listing. Too few pools are a reason
    /// to start elsewhere, never one to move: all who share a pool would leave it
    /// at once, for the same next one.
    pub(crate) fn stay(&self, at: usize) -> f64 {
        self.listings.get(at).map_or(0.0, |listing| of_class(listing, self.class).band)
    }

    /// Dollars a machine-hour of going on on a listing.
    pub(crate) fn go(&self, at: usize) -> f64 {
        let Some(listing) = self.listings.get(at) else { return 0.0 };
        let key = &listing.offer.key;
        let pool = (key.zone.clone(), key.instance_type.clone());
        let paid = key.capacity_type == CapacityType::Reserved;
        let crowded = !paid && self.crowded.contains(&pool);
        let price = listing.offer.on_demand.dollars_per_hour().max(0.0) * self.pool_price;
        self.stay(at) + if crowded { price } else { 0.0 }
    }
}

/// How the classes stand, and what their wishes cost these placements.
pub(crate) fn report(round: &Round<'_>, placements: &[Placement]) -> Vec<BandReport> {
    let policy = &round.input.policy;
    let mut reports: BTreeMap<Class, BandReport> = BTreeMap::new();
    for (class, share) in &round.input.shares {
        let report = BandReport {
            class: *class,
            spot_share: share.spot_share(),
            band: policy.band(*class),
            pools: pools(share),
            least_pools: policy.least_pools,
            band_price: 0.0,
            pool_price: 0.0,
            paid_more: 0.0,
        };
        reports.insert(*class, report);
    }
    if reports.is_empty() {
        return Vec::new();
    }
    let placed: BTreeMap<_, &OfferKey> = placements.iter().map(|p| (p.job, &p.offer)).collect();
    for ask in round.asks.iter().filter(|ask| ask.wished) {
        let report = reports.get_mut(&ask.job.spec.class);
        let (Some(report), Some(offer)) = (report, placed.get(&ask.job.id)) else { continue };
        let pair = ask.pairs.iter().find(|pair| {
            let listing = round.market.listings.get(pair.listing());
            listing.is_some_and(|listing| listing.offer.key == **offer)
        });
        let Some((pair, chosen)) = pair.and_then(|p| Some((p, cost(round, ask, p)?))) else {
            continue;
        };
        let paid = paid_more(round, ask, pair);
        report.band_price += chosen.wish.band;
        report.pool_price += chosen.wish.pool;
        report.paid_more += paid.band + paid.pool;
    }
    reports.into_values().collect()
}

/// The dollars of [`BandReport::paid_more`] for one placement, by the wish that
/// turned the cheapest other choice away.
pub(crate) fn paid_more(round: &Round<'_>, ask: &Ask<'_>, pair: &Pair) -> Extra {
    let class = ask.job.spec.class;
    let wishes = ask.wished && round.market.listings.iter().any(|l| of_class(l, class).sum() > 0.0);
    let Some(chosen) = wishes.then(|| cost(round, ask, pair)).flatten() else {
        return Extra::default();
    };
    let turned_away = |other: &Cost| {
        other.all - other.wish.sum() < chosen.all - chosen.wish.sum() && other.all >= chosen.all
    };
    let others = ask.pairs.iter().filter_map(|other| cost(round, ask, other));
    let least = others.filter(turned_away).min_by(|a, b| a.bill.total_cmp(&b.bill));
    match least {
        Some(least) if least.bill < chosen.bill => {
            let more = chosen.bill - least.bill;
            if least.wish.band >= least.wish.pool {
                Extra { band: more, pool: 0.0 }
            } else {
                Extra { band: 0.0, pool: more }
            }
        }
        _ => Extra::default(),
    }
}

/// What a job costs on an offer, in dollars.
struct Cost {
    /// Its part of the machines, and moving its data.
    bill: f64,
    wish: Extra,
    /// All that the round counts.
    all: f64,
}

fn cost(round: &Round<'_>, ask: &Ask<'_>, pair: &Pair) -> Option<Cost> {
    let listing = round.market.listings.get(pair.listing())?;
    let part = fraction(&ask.share(pair), &listing.offer.shape);
    let machine_hours = pair.hours() * f64::from(ask.nodes) * part;
    let of_machines = listing.marginal(pair.hours()) * f64::from(ask.nodes) * part;
    let job = ask.job;
    let estimate = estimate(job, &job.saved, pair.listing(), listing, round.input.now)?;
    let extra = of_class(listing, job.spec.class);
    let wish = Extra { band: extra.band * machine_hours, pool: extra.pool * machine_hours };
    Some(Cost { bill: of_machines + estimate.transfer, wish, all: of_machines + pair.extra() })
}

#[cfg(test)]
mod tests;
