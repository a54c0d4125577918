//! The jobs without machines, and which of them two machines look at.

use super::lagrangian::Lagrangian;
use crate::statement::round::Round;

/// Waiting jobs that each pair of machines looks at, dearest first: that many
/// that stay no longer than the shorter-lived of both, than the longer-lived,
/// and than [`LONGER`] times that.
const LOOKED_AT: usize = 6;
const LONGER: f64 = 1.6;
/// So many once fewer gain nothing more.
const WIDEST: usize = 12;

/// Jobs without machines by group of listings, dearest first.
pub(super) struct Waiting {
    groups: Vec<Vec<One>>,
    /// How many of them are looked at, three times.
    wide: usize,
}

#[derive(Clone, Copy)]
struct One {
    at: usize,
    /// What waiting costs it for each part of a machine.
    density: f64,
    hours: f64,
}

impl One {
    fn before(&self, other: &Self) -> bool {
        self.density > other.density || (self.density >= other.density && self.at < other.at)
    }
}

impl Waiting {
    pub(super) fn new(
        round: &Round<'_>,
        lagrangian: &Lagrangian<'_, '_>,
        jobs: Vec<usize>,
    ) -> Self {
        let groups = vec![Vec::new(); round.market.groups.len()];
        let mut waiting = Self { groups, wide: LOOKED_AT };
        for at in jobs {
            waiting.put_back(round, lagrangian, at);
        }
        waiting
    }

    /// Puts a job among the waiting ones of every group that holds it.
    pub(super) fn put_back(
        &mut self,
        round: &Round<'_>,
        lagrangian: &Lagrangian<'_, '_>,
        at: usize,
    ) -> Option<()> {
        let demand = round.demands.get(at)?;
        let first = demand.candidates.first()?;
        let density = demand.wait / lagrangian.factor(at, first).max(1e-9);
        let one = One { at, density, hours: first.hours() };
        for kind in demand.kinds.iter() {
            let list = self.groups.get_mut(kind.group)?;
            let place = list.partition_point(|other| other.before(&one));
            list.insert(place, one);
        }
        Some(())
    }

    /// Takes a job out again.
    pub(super) fn take_out(&mut self, round: &Round<'_>, at: usize) -> Option<()> {
        for kind in round.demands.get(at)?.kinds.iter() {
            self.groups.get_mut(kind.group)?.retain(|one| one.at != at);
        }
        Some(())
    }

    /// The waiting jobs that two machines of a group look at.
    pub(super) fn looked_at(&self, group: usize, lives: [f64; 2]) -> Vec<usize> {
        let [one, two] = lives;
        let (long, short) = (one.max(two), one.min(two));
        let longest = if short > 0.0 { long * LONGER } else { f64::INFINITY };
        let mut open = [(short, self.wide), (long, self.wide), (longest, self.wide)];
        let mut found = Vec::with_capacity(3 * self.wide);
        for waiting in self.groups.get(group).into_iter().flatten() {
            let place = open.iter_mut().find(|(most, left)| waiting.hours <= *most && *left > 0);
            if let Some((_, left)) = place {
                *left -= 1;
                found.push(waiting.at);
                if open.iter().all(|(_, left)| *left == 0) {
                    break;
                }
            }
        }
        found
    }

    /// Looks at more of them from now on; false where that is enough.
    pub(super) fn widen(&mut self) -> bool {
        self.wide *= 2;
        self.wide <= WIDEST
    }
}
