//! The positions of parts of GPUs: a part is given its slot once, when its attempt is
//! created, and keeps it.

use spotwise_model::gpu::MigProfile;
use spotwise_model::resources::{Cost, Free, GpuSlot};
use spotwise_model::spec::GpuRequest;
use spotwise_model::{Attempt, Instance, Share};

use crate::core::{Change, State};
use crate::view::free::with_slots;

/// Permanently assigns slots to what was stored before slots existed.
pub fn backfill(state: &State) -> Vec<Change> {
    let without = |attempt: &&Attempt| {
        attempt.state.is_live() && attempt.share.takes_part() && attempt.slots.is_empty()
    };
    let slots = |attempt: &Attempt| {
        let machines = attempt.instances.iter().map(|id| state.instances.get(id));
        let slot = |machine: Option<&Instance>| with_slots(state, machine?).1.remove(&attempt.id);
        machines.map(slot).collect::<Option<Vec<GpuSlot>>>()
    };
    let backfilled =
        |attempt: &Attempt| Some(Attempt { slots: slots(attempt)?, ..attempt.clone() });
    state.attempts.values().filter(without).filter_map(backfilled).map(Change::from).collect()
}

/// How often each profile is requested: by every job that has not ended, plus one, since
/// any may come.
pub(super) fn demand(state: &State) -> [u32; 6] {
    let mut demand = [1; 6];
    for job in state.jobs.values().filter(|job| !job.state.is_terminal()) {
        if let GpuRequest::Slice { profile, .. } = job.spec.resources.gpus
            && let Some(count) = demand.get_mut(MigProfile::index(profile))
        {
            *count = u32::saturating_add(*count, job.spec.resources.nodes.max(1));
        }
    }
    demand
}

/// What a plan adds to one machine, each share with its placement and rank.
#[derive(Clone, Debug, Default)]
pub(super) struct Added {
    shares: Vec<((usize, usize), Share)>,
}

impl Added {
    pub(super) fn add(&mut self, placement: usize, rank: usize, share: Share) {
        self.shares.push(((placement, rank), share));
    }

    pub(super) fn has_parts(&self) -> bool {
        self.shares.iter().any(|(_, share)| share.takes_part())
    }

    /// The slots of its parts of GPUs, chosen together, next to what is already there.
    /// Empty if they do not fit, which the check that admitted them has ruled out.
    pub(super) fn slots(
        self,
        mut there: Free,
        cost: &Cost<'_>,
    ) -> impl Iterator<Item = ((usize, usize), GpuSlot)> + use<> {
        let shares: Vec<Share> = self.shares.iter().map(|(_, share)| *share).collect();
        let slots = there.assign_slots(&shares, cost).unwrap_or_default();
        let places = self.shares.into_iter().map(|(place, _)| place);
        places.zip(slots).filter_map(|(place, slot)| Some((place, slot?)))
    }
}

#[cfg(test)]
#[path = "gpu_slots_tests.rs"]
mod tests;
