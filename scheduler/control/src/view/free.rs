//! What is free on machines, given what is live on them.

use std::collections::BTreeMap;

use spotwise_model::resources::{Free, GpuSlot};
use spotwise_model::{Attempt, AttemptId, Instance, InstanceId};

use crate::core::State;

/// What is left of a machine, given what is live on it.
pub(crate) fn free_of(state: &State, instance: &Instance) -> Free {
    with_slots(state, instance).0
}

/// The same, and the slots of parts that were stored before slots existed: those go where
/// the others leave room, in the order of their ids, as they were once placed.
pub(crate) fn with_slots(
    state: &State,
    instance: &Instance,
) -> (Free, BTreeMap<AttemptId, GpuSlot>) {
    let mut free = Free::new(&instance.shape);
    let (mut later, mut given) = (Vec::new(), BTreeMap::new());
    for attempt in state.attempts_on(instance.id).filter(|attempt| attempt.state.is_live()) {
        let slot = slot_on(attempt, instance.id);
        if slot.is_none() && attempt.share.takes_part() {
            later.push(attempt);
            continue;
        }
        // It was checked when it was placed; should it not fit any more, the
        // machine is simply full.
        let _ = free.take_at(&attempt.share, slot);
    }
    for attempt in later {
        let slot = free.slot_for(&attempt.share);
        if free.take_at(&attempt.share, slot) {
            given.extend(slot.map(|slot| (attempt.id, slot)));
        }
    }
    (free, given)
}

/// An attempt's slot on one of its machines.
fn slot_on(attempt: &Attempt, machine: InstanceId) -> Option<GpuSlot> {
    let rank = attempt.instances.iter().position(|id| *id == machine)?;
    attempt.slots.get(rank).copied()
}
