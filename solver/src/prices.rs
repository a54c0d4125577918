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

use spotwise_model::resources::GPU_UNITS;
use spotwise_model::{NodeShape, OfferKey, Share};

use crate::market::Listing;

/// GPU units, CPU and memory.
pub(crate) const RESOURCES: usize = 3;

/// Prices under which each job chooses for itself. Any prices that are not
/// negative give a valid bound; these were made to give a high one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// By listing, in the order of the market's offers.
    pub(crate) listings: Vec<ListingPrice>,
    /// Dollars for all that a pool has left of each resource, by pool.
    pub(crate) pools: Vec<[f64; RESOURCES]>,
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
    }
}

/// What an offer's shortage costs: a figure for explanations.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The offer.
    pub offer: OfferKey,
    /// Dollars that one more machine of it would save this round, beyond its
    /// own price, as far as the prices go: they are near to the best ones, not
    /// the best.
    pub dollars_per_machine: f64,
}

/// What is scarce by at least a cent a machine, in the order of the listings.
pub(crate) fn shortages(prices: &Prices, listings: &[Listing<'_>]) -> Vec<Shortage> {
    let priced = listings.iter().zip(&prices.listings);
    priced
        .filter(|(_, price)| price.shortage >= 0.01)
        .map(|(listing, price)| Shortage {
            offer: listing.offer.key.clone(),
            dollars_per_machine: price.shortage,
        })
        .collect()
}

/// What a share takes of a machine, in the order of the resources.
pub(crate) fn takes(share: &Share, shape: &NodeShape) -> [u64; RESOURCES] {
    [share.gpu_units(shape), share.cpu_milli, share.memory_mib]
}

/// What an empty machine of a listing has.
pub(crate) fn whole(listing: &Listing<'_>) -> [u64; RESOURCES] {
    let shape = &listing.offer.shape;
    [u64::from(shape.gpus) * GPU_UNITS, shape.cpu_milli, shape.memory_mib]
}

/// What is taken as parts of what there is; more than all where there is none.
pub(crate) fn parts(takes: [u64; RESOURCES], whole: [u64; RESOURCES]) -> [f64; RESOURCES] {
    std::array::from_fn(|r| match (takes.get(r), whole.get(r)) {
        (Some(0), _) => 0.0,
        (Some(take), Some(whole)) if *whole > 0 => *take as f64 / *whole as f64,
        _ => 2.0,
    })
}

pub(crate) fn dot(a: &[f64; RESOURCES], b: &[f64; RESOURCES]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
