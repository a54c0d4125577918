//! Prices of what is scarce: the certificate of a lower bound, and the figures
//! behind an explanation.
//!
//! A round is an integer program; with a price on every scarce thing each job
//! chooses for itself, and what all jobs then pay, less what the scarce things
//! are worth, is a lower bound for every plan (Lagrange). One price a listing
//! is enough for its machines: a machine of lifetime `h` hours costs
//! `price * h + shortage`, and a job pays its part of the machine of its own lifetime.
//! Whoever shares a machine pays no more together than the longest of them
//! would for the whole, so no set of jobs on a machine beats its price.

use spotwise_model::mig::{FRESH_MEASURES, MEASURES};
use spotwise_model::resources::{Free, GPU_UNITS};
use spotwise_model::{NodeShape, OfferKey, Share};

use crate::statement::input::PoolLimit;
use crate::statement::limits::Taking;
use crate::statement::market::Listing;

/// GPU units by each measure that tells slices apart on empty GPUs, CPU and
/// memory.
pub(crate) const RESOURCES: usize = FRESH_MEASURES + 2;

/// The same with the measures that tell more beside slices that run.
pub(crate) const BESIDE: usize = MEASURES + 2;

/// GPU units by the first measure, CPU and memory: all there is without slices.
pub(crate) const PLAIN: usize = 3;

/// Prices under which each job chooses for itself. Any prices that are not
/// negative give a valid bound; these were made to give a high one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// By listing, in the order of the market's offers.
    pub(crate) listings: Vec<ListingPrice>,
    /// Dollars for all that a pool has left of each resource, by pool.
    pub(crate) pools: Vec<[f64; RESOURCES]>,
    /// Dollars for one unit of each limit on machines: what new machines pay beside their
    /// own price.
    pub(crate) limits: Vec<f64>,
}

/// The price of an offer's machines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ListingPrice {
    /// Dollars that one more machine would be worth, beyond its own price.
    pub(crate) shortage: f64,
    /// Which resource a job's part of a machine is measured by: parts of 1.
    pub(crate) weights: [f64; RESOURCES],
    /// Dollars for all that its running machines have left of each resource.
    pub(crate) used: [f64; RESOURCES],
}

impl Prices {
    /// Goes a part of the way to other prices; all of it where there is none yet.
    pub(crate) fn approach(&mut self, other: &Self, part: f64) {
        if self.listings.is_empty() && self.pools.is_empty() {
            *self = other.clone();
            return;
        }
        let near = |a: &mut f64, b: f64| *a += (b - *a) * part;
        for (a, b) in self.listings.iter_mut().zip(&other.listings) {
            near(&mut a.shortage, b.shortage);
            a.used.iter_mut().zip(b.used).for_each(|(a, b)| near(a, b));
        }
        let pools = self.pools.iter_mut().flatten().zip(other.pools.iter().flatten());
        pools.for_each(|(a, b)| near(a, *b));
        self.limits.iter_mut().zip(&other.limits).for_each(|(a, b)| near(a, *b));
    }

    /// Dollars for what one new machine of a listing takes of the limits.
    pub(crate) fn of_limits(&self, listing: &Listing<'_>) -> f64 {
        let price = |taking: &Taking| {
            self.limits.get(taking.limit).map_or(0.0, |price| price * taking.takes as f64)
        };
        listing.takings.iter().map(price).sum()
    }
}

/// What an offer's shortage costs: a figure for explanations.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The offer.
    pub offer: OfferKey,
    /// Dollars that one more machine of it would save this round, beyond its
    /// own price, with what it takes of limits granted on top, as far as the prices go: they
    /// are near to the best ones, not the best.
    pub dollars_per_machine: f64,
}

/// What is scarce by at least a cent a machine, in the order of the listings.
pub(crate) fn shortages(prices: &Prices, listings: &[Listing<'_>]) -> Vec<Shortage> {
    let priced = listings.iter().zip(&prices.listings);
    priced
        .map(|(listing, price)| Shortage {
            offer: listing.offer.key.clone(),
            dollars_per_machine: price.shortage + prices.of_limits(listing),
        })
        .filter(|shortage| shortage.dollars_per_machine >= 0.01)
        .collect()
}

/// GPU measures, as many as there is room for, then CPU and memory.
fn resources<const N: usize>(gpus: [u64; MEASURES], cpu_milli: u64, memory_mib: u64) -> [u64; N] {
    std::array::from_fn(|r| match N - r {
        1 => memory_mib,
        2 => cpu_milli,
        _ => gpus.get(r).copied().unwrap_or(0),
    })
}

/// What a share takes of a machine, in the order of the resources.
pub(crate) fn takes<const N: usize>(share: &Share, shape: &NodeShape) -> [u64; N] {
    resources(share.gpu_measures(shape), share.cpu_milli, share.memory_mib)
}

/// What an empty machine of a listing has.
pub(crate) fn whole<const N: usize>(listing: &Listing<'_>) -> [u64; N] {
    let shape = &listing.offer.shape;
    let gpus = [u64::from(shape.gpus) * GPU_UNITS; MEASURES];
    resources(gpus, shape.cpu_milli, shape.memory_mib)
}

/// What a machine has left.
pub(crate) fn left_of<const N: usize>(free: &Free) -> [u64; N] {
    resources(free.gpu_measures(), free.cpu_milli(), free.memory_mib())
}

/// What a pool has left over all its machines, so many GPUs among it.
pub(crate) fn pool_left<const N: usize>(limit: &PoolLimit, gpu_units: u64) -> [u64; N] {
    resources([gpu_units; MEASURES], limit.cpu_milli, limit.memory_mib)
}

/// What is taken as parts of what there is; more than all where there is none.
pub(crate) fn parts<const N: usize>(takes: [u64; N], whole: [u64; N]) -> [f64; N] {
    std::array::from_fn(|r| match (takes.get(r), whole.get(r)) {
        (Some(0), _) => 0.0,
        (Some(take), Some(whole)) if *whole > 0 => *take as f64 / *whole as f64,
        _ => 2.0,
    })
}

pub(crate) fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Resource by resource.
pub(crate) fn sum<const N: usize>(a: [u64; N], b: [u64; N]) -> [u64; N] {
    let mut b = b.into_iter();
    a.map(|a| a.saturating_add(b.next().unwrap_or(0)))
}

/// The larger of each resource.
pub(crate) fn most<const N: usize>(a: [u64; N], b: [u64; N]) -> [u64; N] {
    let mut b = b.into_iter();
    a.map(|a| a.max(b.next().unwrap_or(0)))
}

pub(crate) fn add<const N: usize>(to: &mut [f64; N], parts: [f64; N], times: f64) {
    for (to, part) in to.iter_mut().zip(parts) {
        *to += part * times;
    }
}
