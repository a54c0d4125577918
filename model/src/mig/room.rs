//! Room for slices on several GPUs together: six numbers, and inequalities.
//!
//! A GPU is two independent halves: on the left memory slices 0 to 3, which are two pairs,
//! on the right 4 to 7, a pair and a tail at 6 that takes one compute slice. 4g needs a
//! whole left half, 3g a whole half of either kind, 2g a pair, 1g-double a pair or a tail,
//! 1g any of them or the other half of a pair with one 1g on it. The compute slices never
//! run out before that: a left half takes at most four and a right one three. A test
//! compares all of this with every layout.

use super::MigLayout;
use crate::gpu::{GPU_UNITS, MigProfile};

/// How many measures [`measures_of`] takes of a slice.
pub const MEASURES: usize = 9;

/// How many of them, the first ones, say everything that inequalities can say of empty
/// GPUs; the others add something only next to slices that are already running.
pub const FRESH_MEASURES: usize = 4;

/// What is left of GPUs that are cut, wherever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceRoom {
    /// GPUs with nothing on them.
    pub gpus: u64,
    lefts: u64,
    rights: u64,
    pairs: u64,
    tails: u64,
    singles: u64,
}

/// Each layout next to what is running has `slices` x instances <= `gpu` x empty GPUs +
/// `room` x (left halves, right halves, pairs, tails, singles).
struct Measure {
    slices: [u64; 6],
    gpu: u64,
    room: [u64; 5],
}

const fn measure(slices: [u64; 6], gpu: u64, room: [u64; 5]) -> Measure {
    Measure { slices, gpu, room }
}

/// What [`SliceRoom::holds`] asks, its sums of parts resolved (Fourier-Motzkin)
/// and halves of pairs counted as parts.
const RULES: [Measure; MEASURES] = [
    // Compute, memory, left halves, pairs.
    measure([1, 1, 2, 3, 4, 7], 7, [4, 3, 2, 1, 1]),
    measure([1, 2, 2, 4, 4, 8], 8, [4, 4, 2, 2, 1]),
    measure([0, 0, 0, 0, 1, 1], 1, [1, 0, 0, 0, 0]),
    measure([0, 0, 1, 1, 2, 3], 3, [2, 1, 1, 0, 0]),
    // The same where no tail, no pair or no single helps.
    measure([0, 0, 0, 1, 1, 2], 2, [1, 1, 0, 0, 0]),
    measure([0, 0, 1, 2, 2, 4], 4, [2, 2, 1, 0, 0]),
    measure([0, 1, 1, 2, 2, 4], 4, [2, 2, 1, 1, 0]),
    measure([1, 1, 2, 4, 4, 8], 8, [4, 4, 2, 1, 1]),
    measure([0, 0, 0, 0, 0, 1], 1, [0, 0, 0, 0, 0]),
];

/// What a slice takes, in [`GPU_UNITS`], measured in several ways: by each of
/// them, slices that fit together take no more than [`SliceRoom::measures`], and a
/// whole GPU takes [`GPU_UNITS`]. The first counts compute slices.
pub fn measures_of(profile: MigProfile) -> [u64; MEASURES] {
    RULES.each_ref().map(|rule| {
        let slices = rule.slices.get(profile.index()).copied().unwrap_or(rule.gpu);
        slices * (GPU_UNITS / rule.gpu)
    })
}

impl SliceRoom {
    /// This many GPUs with nothing on them.
    pub fn empty(gpus: u64) -> Self {
        Self { gpus, ..Self::default() }
    }

    /// What one GPU with this layout has left.
    pub fn of(layout: MigLayout) -> Self {
        if layout.is_empty() {
            return Self::empty(1);
        }
        let mask = layout.memory_mask();
        let free = |from: u32, slices: u32| mask & (((1 << slices) - 1) << from) == 0;
        let mut room = Self::default();
        let pair = |room: &mut Self, at: u32| match (free(at, 1), free(at + 1, 1)) {
            (true, true) => room.pairs += 1,
            (false, false) => {}
            _ => room.singles += 1,
        };
        if free(0, 4) {
            room.lefts = 1;
        } else {
            pair(&mut room, 0);
            pair(&mut room, 2);
        }
        if free(4, 4) {
            room.rights = 1;
        } else {
            pair(&mut room, 4);
            room.tails = u64::from(free(6, 2));
        }
        room
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            gpus: self.gpus + other.gpus,
            lefts: self.lefts + other.lefts,
            rights: self.rights + other.rights,
            pairs: self.pairs + other.pairs,
            tails: self.tails + other.tails,
            singles: self.singles + other.singles,
        }
    }

    /// Whether these counts of further instances (in the order of [`MigProfile::ALL`]) fit
    /// at once. Each profile takes what is of least use to those after it: 3g the right
    /// halves first, since two pairs are worth more than a pair and a tail.
    pub fn holds(&self, counts: [u32; 6]) -> bool {
        let [g1, g1_double, g2, g3, g4, g7] = counts.map(u64::from);
        let Some(cut) = self.gpus.checked_sub(g7) else { return false };
        let rights = self.rights + cut;
        let to_lefts = g3.saturating_sub(rights);
        let Some(lefts) = (self.lefts + cut).checked_sub(g4 + to_lefts) else { return false };
        let rights = rights - (g3 - to_lefts);
        let tails = self.tails + rights;
        let doubles = g1_double.saturating_sub(tails);
        let tails = tails.saturating_sub(g1_double);
        let singles = g1.saturating_sub(self.singles + tails).div_ceil(2);
        g2 + doubles + singles <= self.pairs + 2 * lefts + rights
    }

    /// What is left by each measure, in [`GPU_UNITS`].
    pub fn measures(&self) -> [u64; MEASURES] {
        let parts = [self.lefts, self.rights, self.pairs, self.tails, self.singles];
        RULES.each_ref().map(|rule| {
            let cut: u64 = rule.room.iter().zip(parts).map(|(part, n)| part * n).sum();
            self.gpus * GPU_UNITS + cut * (GPU_UNITS / rule.gpu)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::fit_afresh;
    use super::super::tests::{all, counted};
    use super::*;

    type Counts = [u32; 6];

    fn plus(a: &Counts, b: &Counts) -> Counts {
        std::array::from_fn(|i| a[i] + b[i])
    }

    /// What can be added to a layout, by adding one after the other.
    fn added(
        layout: MigLayout,
        found: &mut BTreeMap<MigLayout, BTreeSet<Counts>>,
    ) -> BTreeSet<Counts> {
        if let Some(known) = found.get(&layout) {
            return known.clone();
        }
        let mut sets = BTreeSet::from([[0; 6]]);
        for profile in MigProfile::ALL {
            let mut one = [0; 6];
            one[profile.index()] = 1;
            for (_, with) in layout.room_for(profile) {
                sets.extend(added(with, found).iter().map(|set| plus(set, &one)));
            }
        }
        found.insert(layout, sets.clone());
        sets
    }

    /// Every number of each profile up to what the largest set has, and one more.
    fn around(held: &BTreeSet<Counts>) -> Vec<Counts> {
        let mut tried = vec![[0; 6]];
        for at in 0..6 {
            let most = held.iter().map(|set| set[at]).max().unwrap_or(0) + 1;
            tried = tried
                .iter()
                .flat_map(|set| {
                    (0..=most).map(move |n| {
                        let mut set = *set;
                        set[at] = n;
                        set
                    })
                })
                .collect();
        }
        tried
    }

    fn taken(counts: &Counts) -> [u64; MEASURES] {
        let mut sum = [0; MEASURES];
        for (profile, n) in MigProfile::ALL.into_iter().zip(counts) {
            let one = measures_of(profile);
            sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one * u64::from(*n));
        }
        sum
    }

    fn compare(room: SliceRoom, held: &BTreeSet<Counts>) {
        let left = room.measures();
        for counts in around(held) {
            assert_eq!(room.holds(counts), held.contains(&counts), "{room:?} {counts:?}");
            let taken = taken(&counts);
            let within = taken.iter().zip(left).all(|(taken, left)| *taken <= left);
            // By halves of pairs one 1g more may seem to fit than does.
            let [g1, ..] = counts;
            let mut one_less = counts;
            one_less[0] = g1.saturating_sub(1);
            if held.contains(&counts) {
                assert!(within, "{room:?} {counts:?}");
            } else {
                assert!(!within || g1 > 0 && room.holds(one_less), "{room:?} {counts:?}");
            }
        }
    }

    #[test]
    fn what_fits_beside_each_layout_is_what_can_be_added_to_it() {
        let mut found = BTreeMap::new();
        for layout in all() {
            let held = added(layout, &mut found);
            compare(SliceRoom::of(layout), &held);
        }
    }

    /// Layouts that leave different room, two at a time.
    #[test]
    fn what_fits_beside_two_layouts_is_what_can_be_added_to_both() {
        let mut found = BTreeMap::new();
        let mut rooms: Vec<(SliceRoom, BTreeSet<Counts>)> = Vec::new();
        for layout in all() {
            let room = SliceRoom::of(layout);
            if !rooms.iter().any(|(known, _)| *known == room) {
                rooms.push((room, added(layout, &mut found)));
            }
        }
        assert!(rooms.len() > 20, "{} kinds of room", rooms.len());
        for (at, (one, held)) in rooms.iter().enumerate() {
            // Each with itself and with every seventh: a few seconds.
            for (two, beside) in rooms.iter().skip(at).step_by(7) {
                let both =
                    held.iter().flat_map(|a| beside.iter().map(move |b| plus(a, b))).collect();
                compare(one.plus(*two), &both);
            }
        }
    }

    #[test]
    fn empty_gpus_hold_what_fits_afresh() {
        for gpus in 0..4_u32 {
            let most = MigProfile::ALL.map(|profile| (gpus * profile.max_per_gpu()).min(5) + 2);
            for number in 0..most.iter().product() {
                let counts = counted(number, most);
                let room = SliceRoom::empty(gpus.into());
                assert_eq!(room.holds(counts), fit_afresh(counts, gpus), "{counts:?} {gpus}");
            }
        }
    }

    /// On empty GPUs the other measures say nothing that the first do not: each
    /// set of parts of a GPU within the first is within all.
    #[test]
    fn the_first_measures_are_enough_for_empty_gpus() {
        let most = MigProfile::ALL.map(|profile| profile.max_per_gpu() + 1);
        for number in 0..most.iter().product() {
            let counts = counted(number, most);
            let taken = taken(&counts);
            let first = taken.iter().take(FRESH_MEASURES).all(|part| *part <= GPU_UNITS);
            assert_eq!(first, taken.iter().all(|part| *part <= GPU_UNITS), "{counts:?}");
            assert!(!fit_afresh(counts, 1) || first);
        }
    }
}
