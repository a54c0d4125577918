//! Commits to launches: from here on a worker may be started.

use spotwise_model::{Attempt, AttemptState, Now};

use crate::core::{Change, State};

/// Moves planned attempts to launching, once all of their machines take workers. The calls
/// follow when this is durable.
pub fn launch(state: &State, now: Now) -> Vec<Change> {
    let planned =
        state.attempts.values().filter(|a| matches!(a.state, AttemptState::Planned { .. }));
    planned
        .filter(|attempt| is_ready(state, attempt))
        .filter_map(|attempt| {
            let mut attempt = attempt.clone();
            attempt.state = attempt.state.launch(now).ok()?;
            Some(attempt.into())
        })
        .collect()
}

fn is_ready(state: &State, attempt: &Attempt) -> bool {
    attempt.instances.iter().all(|id| {
        let machine = state.instances.get(id);
        machine.is_some_and(|machine| machine.takes_workers() && machine.accepts_work())
    })
}

#[cfg(test)]
mod tests {
    use spotwise_model::{CapacityType, Instance, InstanceState};

    use super::*;
    use crate::fixture::{at, attempt, machine, now, state_of};

    #[test]
    fn a_gang_starts_once_all_of_its_machines_take_workers() {
        let first = machine(1, "a", CapacityType::Spot);
        let booting = InstanceState::Booting { requested: now(0), since: at(0) };
        let second = Instance { state: booting, ..machine(2, "a", CapacityType::Spot) };
        let planned = AttemptState::Planned { at: now(0) };
        let gang = attempt(1, &[&first, &second], 8, planned);
        let mut state = state_of(vec![gang.into(), first.into(), second.clone().into()]);
        assert!(launch(&state, now(1)).is_empty());
        state.apply(&mut second.register().unwrap().into());
        assert_eq!(launch(&state, now(1)).len(), 1);
    }
}
