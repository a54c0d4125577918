//! Legal layouts of one GPU that is cut into MIG instances.
//!
//! A layout is legal if the memory ranges of its instances are disjoint, each begins at a
//! start that its profile allows, and their compute slices total at most
//! [`MIG_COMPUTE_SLICES`]. Which legal place is a good one is not decided here.

use std::fmt;

use crate::gpu::{MIG_COMPUTE_SLICES, MigProfile};

mod room;

pub use room::{FRESH_MEASURES, MEASURES, SliceRoom, measures_of};

/// Places of a GPU: one for each profile and each of its starts.
const PLACES: [(MigProfile, u8); 18] = {
    let mut places = [(MigProfile::G1, 0); 18];
    let (mut next, mut profile) = (0, 0);
    while profile < MigProfile::ALL.len() {
        let starts = MigProfile::ALL[profile].starts();
        let mut start = 0;
        while start < starts.len() {
            places[next] = (MigProfile::ALL[profile], starts[start]);
            next += 1;
            start += 1;
        }
        profile += 1;
    }
    places
};

/// The instances on one GPU: a bit for each profile and start. Only legal
/// layouts can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MigLayout(u32);

impl MigLayout {
    /// A GPU without instances.
    pub const EMPTY: Self = Self(0);

    /// The instances, by profile and start.
    pub fn instances(self) -> impl Iterator<Item = (MigProfile, u8)> {
        PLACES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|p| p.1)
    }

    /// With one more instance; `None` if that is not legal.
    #[must_use]
    pub fn with(self, profile: MigProfile, start: u8) -> Option<Self> {
        let bit = place(profile, start)?;
        let legal = self.memory_mask() & range(profile, start) == 0
            && self.compute_slices() + profile.compute_slices() <= MIG_COMPUTE_SLICES;
        legal.then_some(Self(self.0 | bit))
    }

    /// Without one of its instances; `None` if it does not have it.
    #[must_use]
    pub fn without(self, profile: MigProfile, start: u8) -> Option<Self> {
        let bit = place(profile, start)?;
        (self.0 & bit != 0).then_some(Self(self.0 & !bit))
    }

    /// Every place for one more instance of a profile, and the layout with it.
    pub fn room_for(self, profile: MigProfile) -> impl Iterator<Item = (u8, Self)> {
        profile.starts().iter().filter_map(move |start| Some((*start, self.with(profile, *start)?)))
    }

    /// Whether one more instance of a profile fits.
    pub fn fits(self, profile: MigProfile) -> bool {
        self.room_for(profile).next().is_some()
    }

    /// Whether there is no instance.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// A bit for each memory slice in use.
    pub fn memory_mask(self) -> u32 {
        self.instances().fold(0, |mask, (profile, start)| mask | range(profile, start))
    }

    /// Compute slices in use.
    pub fn compute_slices(self) -> u32 {
        self.instances().map(|(profile, _)| profile.compute_slices()).sum()
    }

    /// How many instances of each profile, in the order of [`MigProfile::ALL`].
    pub fn counts(self) -> [u32; 6] {
        MigProfile::ALL.map(|wanted| self.instances().map(|(p, _)| u32::from(p == wanted)).sum())
    }

    /// Free compute slices that a profile cannot use, summed over the profiles: a measure
    /// of fragmentation when nothing is known about demand.
    pub fn stranded(self) -> u32 {
        let free = MIG_COMPUTE_SLICES - self.compute_slices();
        MigProfile::ALL.iter().map(|p| if self.fits(*p) { 0 } else { free }).sum()
    }
}

impl fmt::Display for MigLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("empty");
        }
        for (n, (profile, start)) in self.instances().enumerate() {
            let comma = if n == 0 { "" } else { " " };
            write!(f, "{comma}{profile}@{start}")?;
        }
        Ok(())
    }
}

/// The bit of a place; `None` if the profile may not start there.
fn place(profile: MigProfile, start: u8) -> Option<u32> {
    PLACES.iter().position(|place| *place == (profile, start)).map(|bit| 1 << bit)
}

/// The memory slices that an instance takes.
fn range(profile: MigProfile, start: u8) -> u32 {
    ((1 << profile.memory_slices()) - 1) << start
}

/// Whether these counts of instances (in the order of [`MigProfile::ALL`]) fit on `gpus`
/// GPUs if all may be laid out afresh.
///
/// A GPU is two independent halves: memory slices 0 to 3 (two pairs) and 4 to 7 (one pair,
/// and a tail at 6 that takes a single compute slice). 4g needs a left half; 3g takes right
/// halves first, which hold less; 2g takes a pair; profiles of one compute slice take tails
/// first, the double one before the single one, because two single ones share a pair.
pub fn fit_afresh(counts: [u32; 6], gpus: u32) -> bool {
    let [g1, g1_double, g2, g3, g4, g7] = counts.map(u64::from);
    let Some(cut) = u64::from(gpus).checked_sub(g7) else { return false };
    let Some(left) = cut.checked_sub(g4 + g3.saturating_sub(cut)) else { return false };
    let right = cut - g3.min(cut);
    let double_pairs = g1_double.saturating_sub(right);
    let tails = right.saturating_sub(g1_double);
    let pairs = g2 + double_pairs + g1.saturating_sub(tails).div_ceil(2);
    pairs <= 2 * left + right
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    pub(super) fn all() -> BTreeSet<MigLayout> {
        let mut seen = BTreeSet::from([MigLayout::EMPTY]);
        let mut next = vec![MigLayout::EMPTY];
        while let Some(layout) = next.pop() {
            for profile in MigProfile::ALL {
                for (_, with) in layout.room_for(profile) {
                    if seen.insert(with) {
                        next.push(with);
                    }
                }
            }
        }
        seen
    }

    /// Every set of places, tried one by one against the words of the rule.
    #[test]
    fn layouts_are_the_legal_sets_of_places_and_no_others() {
        let legal = |bits: u32| {
            let chosen = || PLACES.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
            let mut taken = [0; 8];
            for (_, (profile, start)) in chosen() {
                for slice in 0..profile.memory_slices() {
                    taken[usize::from(*start) + slice as usize] += 1;
                }
            }
            let compute: u32 = chosen().map(|(_, (profile, _))| profile.compute_slices()).sum();
            taken.iter().all(|n| *n <= 1) && compute <= 7
        };
        let wanted: BTreeSet<u32> = (0..1 << PLACES.len()).filter(|bits| legal(*bits)).collect();
        assert_eq!(all().into_iter().map(|layout| layout.0).collect::<BTreeSet<_>>(), wanted);
    }

    #[test]
    fn there_are_723_layouts_585_kinds_of_room_and_78_multisets() {
        let all = all();
        let kinds: BTreeSet<_> = all.iter().map(|l| (l.memory_mask(), l.counts())).collect();
        let multisets: BTreeSet<_> = all.iter().map(|l| l.counts()).collect();
        assert_eq!((all.len(), kinds.len(), multisets.len()), (723, 585, 78));
    }

    #[test]
    fn the_most_of_a_profile_is_what_its_starts_allow() {
        for profile in MigProfile::ALL {
            let most = all().iter().map(|layout| layout.counts()[profile.index()]).max();
            assert_eq!(most, Some(profile.max_per_gpu()), "{profile}");
        }
    }

    /// The `number`-th set of counts, each below what is given for it.
    pub(super) fn counted(number: u32, below: [u32; 6]) -> [u32; 6] {
        let mut rest = number;
        below.map(|n| {
            let digit = rest % n;
            rest /= n;
            digit
        })
    }

    /// Two GPUs laid out afresh, by brute force over the pairs of multisets.
    #[test]
    fn what_fits_afresh_is_what_two_layouts_hold() {
        let sets: BTreeSet<_> = all().iter().map(|layout| layout.counts()).collect();
        let mut held: BTreeMap<u32, BTreeSet<[u32; 6]>> = BTreeMap::from([(1, sets.clone())]);
        let both = |a: &[u32; 6], b: &[u32; 6]| std::array::from_fn(|i| a[i] + b[i]);
        let two = sets.iter().flat_map(|a| sets.iter().map(move |b| both(a, b))).collect();
        held.insert(2, two);
        for (gpus, held) in held {
            let tried = MigProfile::ALL.map(|profile| gpus * profile.max_per_gpu() + 2);
            for number in 0..tried.iter().product() {
                let counts = counted(number, tried);
                assert_eq!(fit_afresh(counts, gpus), held.contains(&counts), "{counts:?} {gpus}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_instance_comes_and_goes_without_touching_another(
            moves in proptest::collection::vec((0..18_usize, any::<bool>()), 0..60),
        ) {
            let legal = all();
            let mut layout = MigLayout::EMPTY;
            for (at, add) in moves {
                let (profile, start) = PLACES[at];
                let others = |l: MigLayout| l.instances().filter(|p| *p != (profile, start)).count();
                let before = layout;
                let next = if add {
                    layout.with(profile, start)
                } else {
                    layout.without(profile, start)
                };
                layout = next.unwrap_or(layout);
                prop_assert_eq!(others(layout), others(before));
                prop_assert!(legal.contains(&layout));
                prop_assert!(layout.compute_slices() <= 7);
            }
        }
    }
}
