//! What machines have free beside what lives on them.

use std::collections::BTreeMap;

use spotwise_model::resources::{Free, GpuSeat};
use spotwise_model::{Attempt, AttemptId, Instance, InstanceId};

use crate::core::State;

/// What is left of a machine beside what lives on it.
pub(crate) fn free_of(state: &State, instance: &Instance) -> Free {
    seated(state, instance).0
}

/// The same, and the seats of parts that were stored before seats were: those go
/// where the others leave room, in the order of their ids, as they once were
/// placed.
pub(crate) fn seated(state: &State, instance: &Instance) -> (Free, BTreeMap<AttemptId, GpuSeat>) {
    let mut free = Free::new(&instance.shape);
    let (mut later, mut given) = (Vec::new(), BTreeMap::new());
    for attempt in state.attempts_on(instance.id).filter(|attempt| attempt.state.is_live()) {
        let seat = seat_on(attempt, instance.id);
        if seat.is_none() && attempt.share.takes_part() {
            later.push(attempt);
            continue;
        }
        // It was checked when it was placed; should it not fit any more, the
        // machine is simply full.
        let _ = free.take_at(&attempt.share, seat);
    }
    for attempt in later {
        let seat = free.seat_for(&attempt.share);
        if free.take_at(&attempt.share, seat) {
            given.extend(seat.map(|seat| (attempt.id, seat)));
        }
    }
    (free, given)
}

/// An attempt's seat on one of its machines.
fn seat_on(attempt: &Attempt, machine: InstanceId) -> Option<GpuSeat> {
    let rank = attempt.instances.iter().position(|id| *id == machine)?;
    attempt.seats.get(rank).copied()
}
