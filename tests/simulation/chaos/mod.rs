//! The simulator that tries to break us: schedulers, workers, clients, a store
//! and a cloud that lies, on one event heap. One seed is one history.

pub(crate) mod clients;
pub(crate) mod cloud;
pub(crate) mod faults;
pub(crate) mod inject;
pub(crate) mod jobs;
pub(crate) mod node;
pub(crate) mod oracle;
pub(crate) mod outlook;
pub(crate) mod place;
pub(crate) mod pool;
pub(crate) mod restores;
pub(crate) mod runner;
pub(crate) mod sim;
pub(crate) mod store;
pub(crate) mod time;
pub(crate) mod worker;

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use faults::{Kind, Kinds};
use sim::Recipe;

impl Recipe {
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
}
