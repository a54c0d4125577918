//! What makes a world.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::faults::{Kind, Kinds};

/// What makes a world: the same of these, the same history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// Days with faults and submissions; then it is calm.
    pub(crate) days: u64,
    pub(crate) submissions: usize,
    pub(crate) kinds: Kinds,
    /// Schedulers: 1 or 2.
    pub(crate) nodes: usize,
}

impl Scenario {
    /// The world of a seed: which faults it has is drawn too.
    pub(crate) fn of(seed: u64, days: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
        let share = rng.random_range(1..=4);
        let kinds: Kinds = Kind::ALL
            .iter()
            .copied()
            .filter(|_| rng.random_range(0..4) < share)
            .collect::<BTreeSet<_>>();
        let submissions = usize::try_from(days).expect("few days") * 3 / 2 + 6;
        let nodes = if seed.is_multiple_of(3) { 1 } else { 2 };
        Self { seed, days, submissions, kinds, nodes }
    }

    /// Whether there is a cloud's account with two pools.
    pub(crate) const fn has_cloud(&self) -> bool {
        self.seed % 2 == 1
    }

    /// Whether that account shows nothing of the spot machines that it has left.
    pub(crate) const fn hides_supply(&self) -> bool {
        self.seed % 4 == 3
    }

    /// Whether there are GPUs that can be cut, and jobs that ask for slices.
    pub(crate) const fn is_sliced(&self) -> bool {
        self.seed % 4 == 2
    }
}
