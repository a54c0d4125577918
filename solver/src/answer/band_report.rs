//! How the classes stand to the policy prices, and what those cost a plan.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::policy::Band;
use spotwise_model::spec::Class;
use spotwise_model::{CapacityType, OfferKey, Placement};

use crate::statement::demand::{Candidate, JobDemand};
use crate::statement::input::RunningJob;
use crate::statement::market::{Listing, fraction};
use crate::statement::policy_prices::{SpotPool, Surcharge, crowded, part, pools};
use crate::statement::round::Round;
use crate::statement::value::estimate;

/// How a class stands to the policy prices, and what they cost in a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct BandReport {
    /// The class.
    pub class: Class,
    /// The part of its machine-hours of the window that ran on spot; `None` if
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
    /// Expected dollars of the bill that the two prices caused: what the placements cost
    /// beyond the choices that would have been made without them. Whether other jobs would
    /// have taken those is not considered.
    pub paid_more: f64,
}

/// What a running job's class wishes of it elsewhere, as a start there would find
/// it: the pools are those of the others. Its own machines left in, it would run
/// away from the pool that it fills itself, and from the next.
pub(crate) struct MoveSurcharge<'a> {
    class: Class,
    pool_price: f64,
    crowded: BTreeSet<SpotPool>,
    listings: &'a [Listing<'a>],
}

impl<'a> MoveSurcharge<'a> {
    pub(crate) fn new(round: &'a Round<'_>, running: &RunningJob) -> Self {
        let (policy, class) = (&round.input.policy, running.job.spec.class);
        let mut others = round.input.shares.get(&class).cloned().unwrap_or_default();
        let own = (running.offer.market.zone.clone(), running.offer.market.instance_type.clone());
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
        self.listings.get(at).map_or(0.0, |listing| listing.surcharge(self.class).band)
    }

    /// Dollars a machine-hour of going on on a listing.
    pub(crate) fn go(&self, at: usize) -> f64 {
        let Some(listing) = self.listings.get(at) else { return 0.0 };
        let key = &listing.offer.key;
        let pool = (key.market.zone.clone(), key.market.instance_type.clone());
        let paid = key.market.capacity_type == CapacityType::Reserved;
        let crowded = !paid && self.crowded.contains(&pool);
        let price = listing.offer.on_demand.dollars_per_hour().max(0.0) * self.pool_price;
        self.stay(at) + if crowded { price } else { 0.0 }
    }
}

/// How the classes stand, and what their surcharges cost these placements.
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
    for demand in round.demands.iter().filter(|demand| demand.surcharged) {
        let report = reports.get_mut(&demand.job.spec.class);
        let (Some(report), Some(offer)) = (report, placed.get(&demand.job.id)) else { continue };
        let candidate = demand.candidates.iter().find(|candidate| {
            let listing = round.market.listings.get(candidate.listing());
            listing.is_some_and(|listing| listing.offer.key == **offer)
        });
        let Some((candidate, chosen)) = candidate.and_then(|p| Some((p, cost(round, demand, p)?)))
        else {
            continue;
        };
        let paid = paid_more(round, demand, candidate);
        report.band_price += chosen.surcharge.band;
        report.pool_price += chosen.surcharge.pool;
        report.paid_more += paid.band + paid.pool;
    }
    reports.into_values().collect()
}

/// The dollars of [`BandReport::paid_more`] for one placement, by the surcharge that
/// turned the cheapest other choice away.
pub(crate) fn paid_more(
    round: &Round<'_>,
    demand: &JobDemand<'_>,
    candidate: &Candidate,
) -> Surcharge {
    let class = demand.job.spec.class;
    let surcharges =
        demand.surcharged && round.market.listings.iter().any(|l| l.surcharge(class).sum() > 0.0);
    let Some(chosen) = surcharges.then(|| cost(round, demand, candidate)).flatten() else {
        return Surcharge::default();
    };
    let turned_away = |other: &Cost| {
        other.all - other.surcharge.sum() < chosen.all - chosen.surcharge.sum()
            && other.all >= chosen.all
    };
    let others = demand.candidates.iter().filter_map(|other| cost(round, demand, other));
    let least = others.filter(turned_away).min_by(|a, b| a.bill.total_cmp(&b.bill));
    match least {
        Some(least) if least.bill < chosen.bill => {
            let more = chosen.bill - least.bill;
            if least.surcharge.band >= least.surcharge.pool {
                Surcharge { band: more, pool: 0.0 }
            } else {
                Surcharge { band: 0.0, pool: more }
            }
        }
        _ => Surcharge::default(),
    }
}

/// What a job costs on an offer, in dollars.
struct Cost {
    /// Its part of the machines, and moving its data.
    bill: f64,
    surcharge: Surcharge,
    /// All that the round counts.
    all: f64,
}

fn cost(round: &Round<'_>, demand: &JobDemand<'_>, candidate: &Candidate) -> Option<Cost> {
    let listing = round.market.listings.get(candidate.listing())?;
    let part = fraction(&demand.share(candidate), &listing.offer.shape);
    let machine_hours = candidate.hours() * f64::from(demand.nodes) * part;
    let of_machines = listing.marginal(candidate.hours()) * f64::from(demand.nodes) * part;
    let job = demand.job;
    let estimate = estimate(job, &job.saved, candidate.listing(), listing, round.input.now)?;
    let extra = listing.surcharge(job.spec.class);
    let surcharge =
        Surcharge { band: extra.band * machine_hours, pool: extra.pool * machine_hours };
    Some(Cost {
        bill: of_machines + estimate.transfer,
        surcharge,
        all: of_machines + candidate.extra(),
    })
}
