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
