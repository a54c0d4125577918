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
use crate::input::{ClassShare, PlanInput};
use crate::market::{Listing, fraction};
use crate::round::{Ask, Pair, Round};
use crate::value::{Estimate, Standing};

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
        let costs: Vec<Cost> = ask.pairs.iter().filter_map(|p| cost(round, ask, p)).collect();
        let Some(chosen) = costs.iter().find(|cost| cost.offer == *offer) else { continue };
        report.band_price += chosen.band;
        report.pool_price += chosen.pool;
        let turned_away = costs.iter().filter(|other| other.wished() > chosen.wished());
        let least = turned_away.map(|other| other.base).fold(chosen.base, f64::min);
        report.paid_more += chosen.base - least;
    }
    reports.into_values().collect()
}

/// What a job costs on an offer, in dollars.
struct Cost<'r> {
    offer: &'r OfferKey,
    /// Its part of the machines, and lateness.
    base: f64,
    band: f64,
    pool: f64,
}

impl Cost<'_> {
    fn wished(&self) -> f64 {
        self.base + self.band + self.pool
    }
}

fn cost<'r>(round: &Round<'r>, ask: &Ask<'_>, pair: &Pair) -> Option<Cost<'r>> {
    let listing = round.market.listings.get(pair.listing())?;
    let part = fraction(&ask.share(pair), &listing.offer.shape);
    let machine_hours = pair.hours() * f64::from(ask.nodes) * part;
    let extra = of_class(listing, ask.job.spec.class);
    let (band, pool) = (extra.band * machine_hours, extra.pool * machine_hours);
    let lateness = (pair.extra() - band - pool).max(0.0);
    let base = listing.marginal_price() * machine_hours + lateness;
    Some(Cost { offer: &listing.offer.key, base, band, pool })
}

#[cfg(test)]
mod tests;
