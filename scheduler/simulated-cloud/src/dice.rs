//! Chance, from a seed, and spans of time drawn by it.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A span of time drawn by chance: half of the draws are below the median and half above,
/// evenly on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The least.
    pub min: Duration,
    /// What half of the draws exceed.
    pub median: Duration,
    /// The most.
    pub max: Duration,
}

impl Spread {
    /// In milliseconds; what is out of order is put in order.
    pub fn millis(min: u64, median: u64, max: u64) -> Self {
        let median = median.max(min);
        let millis = Duration::from_millis;
        Self { min: millis(min), median: millis(median), max: millis(max.max(median)) }
    }

    /// In seconds; what is out of order is put in order.
    pub fn seconds(min: u64, median: u64, max: u64) -> Self {
        let millis = |seconds: u64| seconds.saturating_mul(1_000);
        Self::millis(millis(min), millis(median), millis(max))
    }

    /// Always the same.
    pub const fn exactly(span: Duration) -> Self {
        Self { min: span, median: span, max: span }
    }
}

/// The account's only source of chance.
#[derive(Clone, Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// In whole milliseconds.
    pub(crate) fn span(&mut self, spread: &Spread) -> Duration {
        let upper = self.0.random_bool(0.5);
        let (from, to) =
            if upper { (spread.median, spread.max) } else { (spread.min, spread.median) };
        self.up_to(to.saturating_sub(from)).saturating_add(from)
    }

    /// From nothing to `most`, in whole milliseconds.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.0.random_range(0..=most))
    }

    pub(crate) fn hits(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.0.random_range(0..1_000_000) < per_million
    }

    /// One of `0..length`; 0 if there is none.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        if length == 0 { 0 } else { self.0.random_range(0..length) }
    }
}
