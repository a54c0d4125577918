//! The operator's soft targets for a whole class of jobs: how much of it runs on
//! spot, and on how many pools. Each is a linear price on the offers that lead
//! further away from it, so that greedy, the integer program, the decomposition
//! and the audit of their plans all count it alike.
//!
//! A price orders what a job may take; it refuses nothing, and it makes no job
//! wait: waiting costs as much more as the highest surcharge. A job that is late
//! carries none. The prices look at what ran up to this round, so that all jobs
//! of a round are priced alike.

use std::collections::BTreeSet;

use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::policy::{Band, Policy};
use spotwise_model::spec::Class;
use spotwise_model::{CapacityType, Offer};

use crate::statement::input::{ClassShare, PlanInput};

/// So far outside of its band a class pays the full price: 10 points. Nearer it
/// pays in proportion, so that the share does not swing about the edge.
const FULL_PRICE_AT: f64 = 0.1;

/// Dollars a machine-hour that an offer costs a class beyond its price.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Surcharge {
    /// For the spot share.
    pub(crate) band: f64,
    /// For too few pools.
    pub(crate) pool: f64,
}

impl Surcharge {
    pub(crate) const fn sum(self) -> f64 {
        self.band + self.pool
    }
}

/// Extras by class, in the order of their declaration.
pub(crate) type Surcharges = [Surcharge; Class::ALL.len()];

/// Zone and machine type.
pub(crate) type SpotPool = (Zone, InstanceType);

/// The classes that have policy prices in this round.
pub(crate) struct PolicyPrices<'a> {
    policy: &'a Policy,
    classes: Vec<ClassPolicy<'a>>,
}

/// The policy of one class.
struct ClassPolicy<'a> {
    class: Class,
    /// How far the class is above its band, 0 to 1; below 0 how far below.
    beyond: f64,
    /// The fullest of its pools where they are too few.
    crowded: BTreeSet<&'a SpotPool>,
}

impl<'a> PolicyPrices<'a> {
    pub(crate) fn new(input: &'a PlanInput) -> Self {
        let policy = &input.policy;
        let surcharge = |(class, share): (&Class, &'a ClassShare)| ClassPolicy {
            class: *class,
            beyond: share.spot_share().map_or(0.0, |spot| beyond(spot, policy.band(*class))),
            crowded: crowded(share, policy.least_pools),
        };
        Self { policy, classes: input.shares.iter().map(surcharge).collect() }
    }

    /// What an offer costs each class beyond its price.
    pub(crate) fn on(&self, offer: &Offer) -> Surcharges {
        let mut surcharges = Surcharges::default();
        let on_demand = offer.on_demand.dollars_per_hour().max(0.0);
        let pool = (offer.key.market.zone.clone(), offer.key.market.instance_type.clone());
        for surcharge in &self.classes {
            let Some(extra) = surcharges.get_mut(surcharge.class as usize) else { continue };
            let outside = match offer.key.market.capacity_type {
                CapacityType::Spot => surcharge.beyond.max(0.0),
                CapacityType::OnDemand => (-surcharge.beyond).max(0.0),
                // Paid already: to leave it idle helps nobody.
                CapacityType::Reserved => continue,
            };
            extra.band = on_demand * part(self.policy.band_price_share) * outside;
            if surcharge.crowded.contains(&pool) {
                extra.pool = on_demand * part(self.policy.pool_price_share);
            }
        }
        surcharges
    }
}

/// A policy that nobody has checked prices nothing.
pub(crate) fn part(share: f64) -> f64 {
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
/// fewer than `least` pools; empty if it does not run at all.
pub(crate) fn crowded(share: &ClassShare, least: u32) -> BTreeSet<&SpotPool> {
    let most = share.machines.values().copied().max().unwrap_or(0);
    if most == 0 || pools(share) >= least {
        return BTreeSet::new();
    }
    share.machines.iter().filter(|(_, count)| **count == most).map(|(pool, _)| pool).collect()
}

pub(crate) fn pools(share: &ClassShare) -> u32 {
    let used = share.machines.values().filter(|count| **count > 0).count();
    u32::try_from(used).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
