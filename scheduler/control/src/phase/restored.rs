//! After an older database was restored: what its jobs have done since is not in it, but
//! happened.

use spotwise_model::attempt::Outcome;
use spotwise_model::job::RestoreGap;
use spotwise_model::time::after;
use spotwise_model::{AttemptId, Job, Now};

use super::attempt_end;
use super::round::WorkingState;
use crate::config::{Config, LEASE_MARGIN};
use crate::core::{Change, EventKind, Leftovers};

/// Updates every job that has not ended according to its leftovers. The numbers of attempts
/// that left some are not assigned again, what these may have saved is requested by the
/// next one, and that one begins when no worker unknown to the database can be left. `made`
/// is the time of the backup. Repeating it changes nothing.
pub fn record_gaps(
    working: &mut WorkingState<'_>,
    leftovers: &Leftovers,
    config: &Config,
    made: Now,
    now: Now,
) {
    let open = working.state.jobs.values().filter(|job| !job.state.is_terminal());
    let news = open.filter_map(|job| {
        let highest = job.attempts.max(leftovers.attempts(job.id));
        let known = job.restore_gap.map_or(0, |gap| gap.attempt);
        (highest > known).then_some(AttemptId { job: job.id, number: highest })
    });
    for last in news.collect::<Vec<_>>() {
        let replaced = working.state.live_attempt(last.job).filter(|live| live.id < last).cloned();
        let recorded =
            working.state.jobs.get(&last.job).map(|job| record_gap(job, last, config, made, now));
        working.take(recorded.unwrap_or_default());
        // Another followed it, so that it is over.
        if let Some(attempt) = replaced {
            working.take(attempt_end::end(working.state, &attempt, Outcome::Lost, now));
        }
    }
}

/// A job whose last attempt that left anything is this one.
fn record_gap(job: &Job, last: AttemptId, config: &Config, made: Now, now: Now) -> Vec<Change> {
    let unknown = if job.attempts < last.number {
        format!("attempts up to {last} are not in it")
    } else {
        "what it has done since is not in it".to_owned()
    };
    let next = if job.spec.resumable() {
        "; the next attempt goes on from the newest checkpoint there is"
    } else {
        ""
    };
    let message = format!("the database was restored from a backup: {unknown}{next}");
    let event = Change::event(job.id, None, now.market, EventKind::Restored, message);
    // A worker that nobody answers any more stops when its lease is over.
    let grace = job.spec.checkpoint.as_ref().map_or(config.default_grace, |c| c.grace);
    let patience = (config.lease + grace + LEASE_MARGIN).saturating_mul(config.speed);
    let over = after(now.market, patience);
    let restore_gap =
        Some(RestoreGap { attempt: last.number, over, uncertain_since: Some(made.min(now)) });
    vec![Job { attempts: last.number, restore_gap, ..job.clone() }.into(), event]
}

#[cfg(test)]
#[path = "restored_tests.rs"]
mod tests;
