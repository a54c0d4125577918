//! After an older database was restored: what its jobs have done since is not in
//! it, but it was done.

use spotwise_model::attempt::Outcome;
use spotwise_model::time::after;
use spotwise_model::{AttemptId, Job, JobId, Now};

use super::ending;
use super::round::Draft;
use crate::config::{Config, LEASE_MARGIN};
use crate::core::{Change, EventKind, Traces};

/// Tells every job that is not over what its traces say. The numbers of attempts
/// that left some are not given again, what these may have saved is asked for by the
/// next one, and that one begins when no worker can be left of whom the database
/// knows nothing. Doing it again changes nothing.
pub fn half_known(draft: &mut Draft<'_>, traces: &Traces, config: &Config, now: Now) {
    let jobs: Vec<JobId> = draft.state.jobs.keys().copied().collect();
    for id in jobs {
        let job = draft.state.jobs.get(&id).filter(|job| !job.state.is_terminal());
        let highest = job.map(|job| job.attempts.max(traces.attempts(id)));
        let Some((job, highest)) =
            job.zip(highest).filter(|(job, highest)| *highest > job.half_known)
        else {
            continue;
        };
        let live = draft.state.live_attempt(id).cloned();
        let replaced = live.filter(|attempt| attempt.id.number < highest);
        let told = tell(job, highest, config, now);
        draft.take(told);
        // Another followed it, so that it is over.
        if let Some(attempt) = replaced {
            draft.take(ending::end(draft.state, &attempt, Outcome::Lost, now));
        }
    }
}

fn tell(job: &Job, highest: u32, config: &Config, now: Now) -> Vec<Change> {
    let unknown = match highest - job.attempts {
        0 => "what it has done since the backup is not in it".to_owned(),
        _ => format!("attempts up to {} are not in it", AttemptId { job: job.id, number: highest }),
    };
    let next = if job.spec.resumable() {
        "; the next attempt goes on from the newest checkpoint there is"
    } else {
        ""
    };
    let message = format!("an older database was restored: {unknown}{next}");
    let event = Change::event(job.id, None, now.market, EventKind::Restored, message);
    // A worker that nobody answers any more stops when its lease is over.
    let grace = job.spec.checkpoint.as_ref().map_or(config.default_grace, |c| c.grace);
    let patience = (config.lease + grace + LEASE_MARGIN).saturating_mul(config.speed);
    let not_before = job.not_before.max(Some(after(now.market, patience)));
    let job = Job { attempts: highest, half_known: highest, not_before, ..job.clone() };
    vec![job.into(), event]
}

#[cfg(test)]
#[path = "restored_tests.rs"]
mod tests;
