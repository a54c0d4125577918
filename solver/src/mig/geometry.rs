//! Every layout of one GPU, numbered, with the ways between them.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::gpu::MigProfile;
use spotwise_model::mig::MigLayout;

/// A value for each profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerProfile<T>(pub [T; 6]);

impl<T> PerProfile<T> {
    /// One value a profile.
    pub fn of(value: impl FnMut(MigProfile) -> T) -> Self {
        Self(MigProfile::ALL.map(value))
    }

    /// The value of a profile.
    pub fn get(&self, profile: MigProfile) -> &T {
        self.0.get(profile.index()).expect("there are six profiles")
    }

    /// The value of a profile, to be changed.
    pub fn get_mut(&mut self, profile: MigProfile) -> &mut T {
        self.0.get_mut(profile.index()).expect("there are six profiles")
    }

    /// Profiles and values, smallest profile first.
    pub fn iter(&self) -> impl Iterator<Item = (MigProfile, &T)> {
        MigProfile::ALL.into_iter().zip(&self.0)
    }
}

/// A layout by its number in a [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State(u16);

impl State {
    /// A GPU without instances.
    pub const EMPTY: Self = Self(0);

    /// Position among [`Geometry::states`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// All 723 layouts of a GPU that is cut into MIG instances. Two of them that
/// leave the same memory free around the same instances offer the same room: so
/// counted there are 585; 78 multisets of instances; 28 that nothing can be added to.
#[derive(Clone, Debug)]
pub struct Geometry {
    layouts: Vec<MigLayout>,
    ways: Vec<Ways>,
}

/// Where a layout leads.
#[derive(Clone, Debug)]
struct Ways {
    adds: PerProfile<Vec<(u8, State)>>,
    removes: Vec<State>,
    most: PerProfile<u32>,
}

impl Geometry {
    /// Enumerates the layouts: a few milliseconds.
    pub fn new() -> Self {
        let mut seen = BTreeSet::from([MigLayout::EMPTY]);
        let mut open = vec![MigLayout::EMPTY];
        while let Some(layout) = open.pop() {
            let next = MigProfile::ALL.into_iter().flat_map(|profile| layout.room_for(profile));
            let new: Vec<MigLayout> =
                next.map(|(_, with)| with).filter(|with| seen.insert(*with)).collect();
            open.extend(new);
        }
        // The empty layout sorts first: it is `State::EMPTY`.
        let layouts: Vec<MigLayout> = seen.into_iter().collect();
        let numbers: BTreeMap<MigLayout, State> = layouts.iter().copied().zip(all()).collect();
        let number = |layout| *numbers.get(&layout).expect("every legal layout has a number");
        let ways = layouts
            .iter()
            .map(|layout| Ways {
                adds: PerProfile::of(|profile| {
                    layout.room_for(profile).map(|(start, with)| (start, number(with))).collect()
                }),
                removes: layout
                    .instances()
                    .filter_map(|(profile, start)| layout.without(profile, start))
                    .map(number)
                    .collect(),
                most: PerProfile::of(|profile| most_more(*layout, profile)),
            })
            .collect();
        Self { layouts, ways }
    }

    /// Every state.
    pub fn states(&self) -> impl Iterator<Item = State> + use<> {
        all().take(self.layouts.len())
    }

    /// The layout of a state.
    pub fn layout(&self, state: State) -> MigLayout {
        *self.layouts.get(state.index()).expect("a state is a layout's number")
    }

    /// The state of a layout.
    pub fn state(&self, layout: MigLayout) -> State {
        let at = self.layouts.binary_search(&layout).expect("every legal layout is numbered");
        State(u16::try_from(at).expect("723 layouts"))
    }

    /// The starts for one more instance of a profile, and the states with it.
    pub fn adds(&self, state: State, profile: MigProfile) -> &[(u8, State)] {
        self.ways_of(state).adds.get(profile)
    }

    /// The states after one of the instances has gone.
    pub fn removes(&self, state: State) -> &[State] {
        &self.ways_of(state).removes
    }

    /// How many more instances of a profile alone fit.
    pub fn most_more(&self, state: State, profile: MigProfile) -> u32 {
        *self.ways_of(state).most.get(profile)
    }

    fn ways_of(&self, state: State) -> &Ways {
        self.ways.get(state.index()).expect("a state is a layout's number")
    }

    /// The multisets of instances that no instance can be added to, however they
    /// are laid out, in ascending order.
    pub fn maximal(&self) -> Vec<PerProfile<u32>> {
        let sets: BTreeSet<PerProfile<u32>> =
            self.layouts.iter().map(|layout| PerProfile(layout.counts())).collect();
        let within = |small: &PerProfile<u32>, large: &PerProfile<u32>| {
            small != large && small.iter().all(|(profile, n)| n <= large.get(profile))
        };
        let largest = |set: &&PerProfile<u32>| !sets.iter().any(|other| within(set, other));
        sets.iter().filter(largest).copied().collect()
    }
}

impl Default for Geometry {
    fn default() -> Self {
        Self::new()
    }
}

fn all() -> impl Iterator<Item = State> {
    (0..u16::MAX).map(State)
}

/// Places of one profile do not disturb each other, so taking each in turn finds
/// the most.
fn most_more(layout: MigLayout, profile: MigProfile) -> u32 {
    let starts = profile.starts().iter();
    let full = starts.fold((layout, 0), |(layout, n), start| match layout.with(profile, *start) {
        Some(with) => (with, n + 1),
        None => (layout, n),
    });
    full.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_the_geometry_are_those_of_the_rules() {
        let geometry = Geometry::new();
        let layouts = &geometry.layouts;
        let rooms: BTreeSet<_> = layouts.iter().map(|l| (l.memory_mask(), l.counts())).collect();
        let multisets: BTreeSet<_> = layouts.iter().map(|l| l.counts()).collect();
        assert_eq!(layouts.len(), 723);
        assert_eq!((rooms.len(), multisets.len(), geometry.maximal().len()), (585, 78, 28));
    }

    #[test]
    fn every_way_leads_back() {
        let geometry = Geometry::new();
        assert_eq!(geometry.state(MigLayout::EMPTY), State::EMPTY);
        for state in geometry.states() {
            assert_eq!(geometry.state(geometry.layout(state)), state);
            for profile in MigProfile::ALL {
                for (start, with) in geometry.adds(state, profile) {
                    let back = geometry.layout(*with).without(profile, *start);
                    assert_eq!(back, Some(geometry.layout(state)));
                    assert!(geometry.removes(*with).contains(&state));
                }
            }
        }
    }

    #[test]
    fn the_most_that_fits_more_is_what_a_search_finds() {
        let geometry = Geometry::new();
        fn search(geometry: &Geometry, state: State, profile: MigProfile) -> u32 {
            let adds = geometry.adds(state, profile).iter();
            adds.map(|(_, with)| 1 + search(geometry, *with, profile)).max().unwrap_or(0)
        }
        for state in geometry.states() {
            for profile in MigProfile::ALL {
                let found = search(&geometry, state, profile);
                assert_eq!(geometry.most_more(state, profile), found);
            }
        }
    }
}
