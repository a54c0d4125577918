//! Commits to launches: from here on something may be billed.

use spotwise_model::{AttemptState, Now};

use crate::core::{Change, State};

/// Moves planned attempts to launching. The calls follow when this is durable.
pub fn launch(state: &State, now: Now) -> Vec<Change> {
    let planned =
        state.attempts.values().filter(|a| matches!(a.state, AttemptState::Planned { .. }));
    planned
        .filter_map(|attempt| {
            let mut attempt = attempt.clone();
            attempt.state = attempt.state.launch(now).ok()?;
            Some(attempt.into())
        })
        .collect()
}
