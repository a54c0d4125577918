//! Where parts of GPUs are: a part is given its seat once, when its attempt is
//! made, and keeps it.

use spotwise_model::gpu::MigProfile;
use spotwise_model::resources::{Cost, Free, GpuSeat};
use spotwise_model::spec::GpuRequest;
use spotwise_model::{Attempt, Instance, Share};

use crate::core::{Change, State};
use crate::view::free::seated;

/// Gives what was stored before seats were its seats for good.
pub fn adopt(state: &State) -> Vec<Change> {
    let without = |attempt: &&Attempt| {
        attempt.state.is_live() && attempt.share.takes_part() && attempt.seats.is_empty()
    };
    let seats = |attempt: &Attempt| {
        let machines = attempt.instances.iter().map(|id| state.instances.get(id));
        let seat = |machine: Option<&Instance>| seated(state, machine?).1.remove(&attempt.id);
        machines.map(seat).collect::<Option<Vec<GpuSeat>>>()
    };
    let adopted = |attempt: &Attempt| Some(Attempt { seats: seats(attempt)?, ..attempt.clone() });
    state.attempts.values().filter(without).filter_map(adopted).map(Change::from).collect()
}

/// How often each profile is asked for: by every job that is not over, and once
/// more, since any may come.
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

/// What a plan adds to one machine, each share with the placement and the rank
/// that it is for.
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

    /// The seats of its parts of GPUs, chosen together, beside what is there. None
    /// where they do not fit, which the room that let them in has ruled out.
    pub(super) fn seats(
        self,
        mut there: Free,
        cost: &Cost<'_>,
    ) -> impl Iterator<Item = ((usize, usize), GpuSeat)> + use<> {
        let shares: Vec<Share> = self.shares.iter().map(|(_, share)| *share).collect();
        let seats = there.seat(&shares, cost).unwrap_or_default();
        let places = self.shares.into_iter().map(|(place, _)| place);
        places.zip(seats).filter_map(|(place, seat)| Some((place, seat?)))
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
