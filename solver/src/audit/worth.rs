//! What a plan costs and what its prices prove, recomputed: plain loops over
//! the statement of the round, without any code that made the plan or the
//! prices.

use std::collections::BTreeMap;

use spotwise_model::mig::FRESH_MEASURES;
use spotwise_model::plan::Target;
use spotwise_model::resources::GPU_UNITS;
use spotwise_model::{JobId, NodeShape, Placement, Plan, Share};

use crate::statement::demand::{Candidate, JobDemand};
use crate::statement::input::PlanInput;
use crate::statement::market::Listing;
use crate::statement::prices::{ListingPrice, Prices, RESOURCES};
use crate::statement::round::Round;

/// A plan's cost beside a bound for all plans, in the dollars of the objective:
/// machines, lateness, waiting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// Cost of the plan, in dollars of the objective; `None` if it places a job where that
    /// may not run.
    pub cost: Option<f64>,
    /// What no plan costs less than, by the prices alone; `None` if the prices
    /// are no certificate.
    pub bound: Option<f64>,
}

impl Worth {
    /// The part of the plan's cost that lies above the bound.
    pub fn gap(&self) -> Option<f64> {
        let (cost, bound) = (self.cost?, self.bound?);
        Some(if cost > bound { (cost - bound) / cost.abs() } else { 0.0 })
    }
}

/// Recomputes the cost of a plan, and a lower bound on the cost of any plan.
pub fn worth(input: &PlanInput, plan: &Plan, prices: &Prices) -> Worth {
    let round = Round::new(input);
    Worth { cost: cost(&round, plan), bound: bound(&round, prices) }
}

/// Machines for as long as their longest job stays, shares of running ones,
/// lateness, and waiting.
pub(crate) fn cost(round: &Round<'_>, plan: &Plan) -> Option<f64> {
    let placed: BTreeMap<JobId, &Placement> = plan.placements.iter().map(|p| (p.job, p)).collect();
    let mut machines: BTreeMap<(usize, Target), f64> = BTreeMap::new();
    let mut total = 0.0;
    for demand in &round.demands {
        let Some(placement) = placed.get(&demand.job.id) else {
            total += demand.wait;
            continue;
        };
        let on = |candidate: &&Candidate| {
            let listing = round.market.listings.get(candidate.listing());
            listing.is_some_and(|listing| listing.offer.key == placement.offer)
        };
        let candidate = demand.candidates.iter().find(on)?;
        let listing = round.market.listings.get(candidate.listing())?;
        total += candidate.extra();
        for target in &placement.targets {
            let shared = listing.used.iter().any(|(id, _)| *target == Target::Existing(*id));
            if shared {
                total += running_share(listing, &demand.share(candidate), candidate.hours());
            } else {
                let life = round.lifetime(candidate.listing(), candidate.bucket());
                let kept = machines.entry((candidate.listing(), *target)).or_insert(0.0);
                *kept = kept.max(life);
            }
        }
    }
    for ((listing, _), life) in machines {
        total += round.market.listings.get(listing)?.marginal(life);
    }
    Some(total)
}

/// Each job takes what is cheapest for it under the prices; what all pay, less
/// what the scarce things are worth, is a bound.
pub(crate) fn bound(round: &Round<'_>, prices: &Prices) -> Option<f64> {
    if !is_certificate(round, prices) {
        return None;
    }
    let mut total = 0.0;
    for demand in &round.demands {
        let mut least = demand.wait;
        for candidate in demand.candidates.iter() {
            least = least.min(pays(round, prices, demand, candidate)?);
        }
        total += least;
    }
    for (listing, price) in round.market.listings.iter().zip(&prices.listings) {
        total -= price.shortage * listing.openable() as f64;
        total -= price.used.iter().sum::<f64>();
    }
    for (limit, price) in round.market.machine_limits.iter().zip(&prices.limits) {
        // Every opened machine pays, so every idle one is granted what it would take.
        let mut units = limit.state.of.saturating_sub(limit.state.used) as f64;
        for (at, takes) in &limit.takes {
            units += round.market.listings.get(*at)?.idle.len() as f64 * *takes as f64;
        }
        total -= price * units;
    }
    Some(total - prices.pools.iter().flatten().sum::<f64>())
}

/// Prices are numbers, none negative, and the parts by which a machine is
/// measured are no more than the whole.
fn is_certificate(round: &Round<'_>, prices: &Prices) -> bool {
    let fine = |price: &f64| price.is_finite() && *price >= 0.0;
    let listing = |price: &ListingPrice| {
        fine(&price.shortage)
            && price.used.iter().all(fine)
            && price.weights.iter().all(fine)
            && price.weights.iter().sum::<f64>() <= 1.0 + 1e-9
    };
    prices.listings.len() == round.market.listings.len()
        && prices.pools.len() == round.market.limits.len()
        && prices.limits.len() == round.market.machine_limits.len()
        && prices.limits.iter().all(fine)
        && prices.listings.iter().all(listing)
        && prices.pools.iter().flatten().all(fine)
}

/// What a job pays on an offer, all nodes: for each its part of a machine of
/// its own lifetime, or of what running machines have left.
fn pays(
    round: &Round<'_>,
    prices: &Prices,
    demand: &JobDemand<'_>,
    candidate: &Candidate,
) -> Option<f64> {
    let listing = round.market.listings.get(candidate.listing())?;
    let price = prices.listings.get(candidate.listing())?;
    let share = demand.share(candidate);
    let shape = &listing.offer.shape;
    let nodes = f64::from(demand.nodes);
    let part: f64 = part_of(&share, shape, machine(listing))
        .iter()
        .zip(price.weights)
        .map(|(p, w)| p * w)
        .sum();
    let life = round.lifetime(candidate.listing(), candidate.bucket());
    let mut limited = 0.0;
    for (limit, price) in round.market.machine_limits.iter().zip(&prices.limits) {
        let takes = limit.takes.iter().filter(|(at, _)| *at == candidate.listing());
        limited += takes.map(|(_, takes)| *takes as f64 * price).sum::<f64>();
    }
    let opened = if listing.openable() > 0 {
        part * (listing.marginal(life) + price.shortage + limited)
    } else {
        f64::INFINITY
    };
    let holding = listing.used.iter().filter(|(_, free)| free.clone().take(&share)).count() as f64;
    let mut dollars = candidate.extra();
    let mut nodes_opened = nodes;
    if holding > 0.0 {
        let mut left = [0_u64; RESOURCES];
        for (_, free) in &listing.used {
            let one = each(&free.gpu_measures(), free.cpu_milli(), free.memory_mib());
            left.iter_mut().zip(one).for_each(|(left, one)| *left = left.saturating_add(one));
        }
        let taken: f64 =
            part_of(&share, shape, left).iter().zip(price.used).map(|(p, v)| p * v).sum();
        let shared = running_share(listing, &share, candidate.hours()) + taken;
        if shared < opened {
            nodes_opened = (nodes - holding).max(0.0);
            dollars += shared * (nodes - nodes_opened);
        }
    }
    if nodes_opened > 0.0 {
        dollars += opened * nodes_opened;
    }
    for ((name, limit), price) in round.market.limits.iter().zip(&prices.pools) {
        if **name == listing.offer.key.pool {
            let gpus = limit.gpus.map_or(u64::MAX, |gpus| u64::from(gpus) * GPU_UNITS);
            let all = each(&[gpus; FRESH_MEASURES], limit.cpu_milli, limit.memory_mib);
            let parts = part_of(&share, shape, all);
            dollars += nodes * parts.iter().zip(price).map(|(p, q)| p * q).sum::<f64>();
        }
    }
    Some(dollars)
}

fn machine(listing: &Listing<'_>) -> [u64; RESOURCES] {
    let shape = &listing.offer.shape;
    let gpus = u64::from(shape.gpus) * GPU_UNITS;
    each(&[gpus; FRESH_MEASURES], shape.cpu_milli, shape.memory_mib)
}

/// The first measures of GPUs, CPU and memory.
fn each(gpus: &[u64], cpu_milli: u64, memory_mib: u64) -> [u64; RESOURCES] {
    let mut all = [0; RESOURCES];
    let figures = gpus.iter().take(FRESH_MEASURES).copied().chain([cpu_milli, memory_mib]);
    all.iter_mut().zip(figures).for_each(|(of, figure)| *of = figure);
    all
}

/// GPUs, CPU and memory of a share as parts of what there is; what is asked of
/// nothing counts twice the whole, and can never be had.
fn part_of(share: &Share, shape: &NodeShape, all: [u64; RESOURCES]) -> [f64; RESOURCES] {
    let mut parts = [0.0; RESOURCES];
    let takes = each(&share.gpu_measures(shape), share.cpu_milli, share.memory_mib);
    for ((part, take), all) in parts.iter_mut().zip(takes).zip(all) {
        *part = match (take, all) {
            (0, _) => 0.0,
            (_, 0) => 2.0,
            (take, all) => take as f64 / all as f64,
        };
    }
    parts
}

/// Dollars of one node on a machine that others keep running: its largest part.
fn running_share(listing: &Listing<'_>, share: &Share, hours: f64) -> f64 {
    let [gpu, .., cpu, memory] = machine(listing);
    let part = |take: u64, all: u64| if all == 0 { 0.0 } else { take as f64 / all as f64 };
    let largest = part(share.gpu_units(&listing.offer.shape), gpu)
        .max(part(share.cpu_milli, cpu))
        .max(part(share.memory_mib, memory))
        .min(1.0);
    listing.marginal(hours) * largest
}
