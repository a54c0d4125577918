//! Attempts as rows.

use spotwise_model::attempt::Progress;
use spotwise_model::{Attempt, AttemptState, Money, Now, Outcome};

use super::optional_time_text;
use crate::v1;

/// The row of an attempt: `progress` as last seen, `spent` settled and
/// estimated together.
pub fn attempt_summary(attempt: &Attempt, progress: &Progress, spent: Money) -> v1::AttemptSummary {
    let launched = match &attempt.state {
        AttemptState::Launching { since, .. } => Some(since.market),
        AttemptState::Running { launched, .. } => Some(launched.market),
        _ => attempt.nodes.iter().filter_map(|node| node.registered).map(market).min(),
    };
    let at_step = |progress: &Progress| progress.step.unwrap_or_default();
    v1::AttemptSummary {
        id: attempt.id.to_string(),
        pool: attempt.offer.pool.to_string(),
        zone: attempt.offer.market.zone.to_string(),
        instance_type: attempt.offer.market.instance_type.to_string(),
        capacity_type: attempt.offer.market.capacity_type.to_string(),
        instances: attempt.instances.iter().map(ToString::to_string).collect(),
        state: attempt.state.name().to_owned(),
        outcome: attempt.state.outcome().map(outcome).unwrap_or_default(),
        launched: optional_time_text(launched),
        started: optional_time_text(attempt.state.started().map(market)),
        ended: optional_time_text(attempt.state.ended().map(market)),
        resumed_from_step: attempt.restore.map(|c| at_step(&c.progress)).unwrap_or_default(),
        step: at_step(progress),
        checkpoint_step: attempt.checkpoint.map(|c| at_step(&c.progress)).unwrap_or_default(),
        spent_micros: spent.micros(),
        reason: attempt.why.to_string(),
        peak_memory_bytes: attempt.memory().map_or(0, |used| used.peak_bytes),
        asked_memory_bytes: attempt.share.memory_mib.saturating_mul(1 << 20),
        memory_limit_bytes: attempt.memory().and_then(|used| used.limit_bytes).unwrap_or(0),
    }
}

const fn market(now: Now) -> jiff::Timestamp {
    now.market
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { exit } => format!("{}: {exit}", outcome.name()),
        Outcome::LaunchFailed { error } => format!("{}: {error}", outcome.name()),
        other => other.name().to_owned(),
    }
}
