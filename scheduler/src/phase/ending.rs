//! How an attempt is stopped, how it ends, and what that means for its job.

use std::time::Duration;

use spotwise_api::convert as words;
use spotwise_model::attempt::{Exit, Outcome, StopOrder, StopReason};
use spotwise_model::job::{FailReason, HoldReason};
use spotwise_model::plan::WaitReason;
use spotwise_model::time::after;
use spotwise_model::{Attempt, Job, JobState, Now};

use crate::core::{Change, EventKind, State};

/// The longest wait after failures.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3_600);
/// The longest wait for a pool that refuses: capacity comes back within minutes,
/// and every try is an attempt.
const LONGEST_REFUSAL: Duration = Duration::from_secs(900);
/// Exit code of a command that saved its state and asks to be run again
/// (`EX_TEMPFAIL` of sysexits.h).
pub const EXIT_REQUEUE: i32 = 75;
/// First wait after a failure (market time); doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(30);

/// Orders an attempt to end. Repeating it changes nothing.
pub fn order_stop(attempt: &Attempt, order: StopOrder, words: &str) -> Vec<Change> {
    let stopped = attempt.clone().order_stop(order);
    if stopped == *attempt {
        return Vec::new();
    }
    let event = Change::event(
        attempt.id.job,
        Some(attempt.id),
        order.at.market,
        if order.reason == StopReason::Interrupted {
            EventKind::Noticed
        } else {
            EventKind::Stopping
        },
        format!("stopping: {words}"),
    );
    vec![stopped.into(), event]
}

/// Takes some of a gang's workers for ended, and stops the rest first, so that nothing
/// of this attempt runs beside the next one.
pub fn lose_members(attempt: &Attempt, ranks: &[u32], words: &str, now: Now) -> Vec<Change> {
    let mut attempt = attempt.clone();
    for (rank, node) in (0u32..).zip(&mut attempt.nodes) {
        if ranks.contains(&rank) {
            // No failure of the command: the job goes on when the rest has ended.
            node.exited = Some((now, Exit::Code(EXIT_REQUEUE)));
        }
    }
    let order = StopOrder { reason: StopReason::GangBroken, at: now, reclaim_wall: None };
    let mut changes = vec![attempt.clone().into()];
    changes.extend(order_stop(&attempt, order, words));
    changes
}

/// Ends a live attempt and moves its job on.
pub fn end(state: &State, attempt: &Attempt, outcome: Outcome, now: Now) -> Vec<Change> {
    conclude(state, attempt, outcome, move_on, now)
}

/// Ends an attempt that its pool could not launch for now: too many calls, no
/// capacity. That is no failure of the job, which waits for a while.
pub fn put_off(state: &State, attempt: &Attempt, error: String, now: Now) -> Vec<Change> {
    let later = |job: &mut Job, outcome: &Outcome, now: Now| match outcome {
        Outcome::LaunchFailed { .. } if job.cancel_asked.is_none() => {
            job.state = after_refusal(job, now).ok()?;
            None
        }
        other => move_on(job, other, now),
    };
    conclude(state, attempt, Outcome::LaunchFailed { error }, later, now)
}

fn conclude(
    state: &State,
    attempt: &Attempt,
    outcome: Outcome,
    then: impl Fn(&mut Job, &Outcome, Now) -> Option<Change>,
    now: Now,
) -> Vec<Change> {
    let Some(job) = state.jobs.get(&attempt.id.job) else { return Vec::new() };
    let outcome = overruled(attempt, outcome);
    let mut ended = attempt.clone();
    // What is heard later than its money lasted had stopped by itself.
    let at = attempt.fuse.map_or(now, |fuse| fuse.end_by(now));
    // Nobody knows whether it did anything after the backup that came back.
    let at = job.known_until(attempt.id).map_or(at, |known| known.min(at));
    let Ok(next) = ended.state.end(at, outcome.clone()) else { return Vec::new() };
    ended.state = next;
    ended.progress = state.progress_of(attempt);
    let mut job = job.clone();
    job.progress =
        if matches!(outcome, Outcome::Succeeded) { done(&job) } else { job.saved_progress() };
    let (kind, message) = describe(&ended, &outcome);
    let mut changes = vec![Change::event(job.id, Some(attempt.id), now.market, kind, message)];
    changes.extend(then(&mut job, &outcome, now));
    changes.push(ended.into());
    changes.push(job.into());
    changes
}

/// A stop that we ordered, and a notice, say more than the exit code they cause:
/// only success beats them.
fn overruled(attempt: &Attempt, outcome: Outcome) -> Outcome {
    match (attempt.stop, outcome) {
        (_, Outcome::Succeeded) => Outcome::Succeeded,
        // Where the gang is broken because a member failed, that failure counts;
        // how the rest ends that was then told to does not.
        (
            Some(StopOrder { reason: StopReason::GangBroken, at, .. }),
            failed @ Outcome::Failed { .. },
        ) if failed_by(attempt, at) => failed,
        (Some(StopOrder { reason: StopReason::Interrupted, .. }), _) => Outcome::Interrupted,
        (Some(order), _) => Outcome::Stopped { reason: order.reason },
        (None, outcome) => outcome,
    }
}

/// Whether a member had failed by then.
fn failed_by(attempt: &Attempt, then: Now) -> bool {
    let mut exits = attempt.nodes.iter().filter_map(|node| node.exited);
    exits.any(|(at, exit)| at.wall <= then.wall && is_failure(exit))
}

const fn is_failure(exit: Exit) -> bool {
    !matches!(exit, Exit::Code(0 | EXIT_REQUEUE))
}

fn done(job: &Job) -> spotwise_model::attempt::Progress {
    let mut progress = job.progress;
    progress.done_ppm = spotwise_model::attempt::Progress::WHOLE;
    progress.step = progress.total_steps.or(progress.step);
    progress
}

fn describe(attempt: &Attempt, outcome: &Outcome) -> (EventKind, String) {
    let saved = match (attempt.checkpoint, attempt.progress.step) {
        (Some(checkpoint), Some(step)) => match checkpoint.progress.step {
            Some(kept) => format!("; step {kept} of {step} reached is saved"),
            None => "; its checkpoint is saved".to_owned(),
        },
        (Some(_), None) => "; its checkpoint is saved".to_owned(),
        (None, _) => "; nothing was saved".to_owned(),
    };
    let text = match outcome {
        Outcome::Succeeded => "finished its command".to_owned(),
        Outcome::Failed { exit } => format!("failed with {exit}{saved}"),
        Outcome::LaunchFailed { error } => format!("could not start: {error}"),
        Outcome::Lost => format!("lost: its worker is gone{saved}"),
        other => format!("{}{saved}", other.name()),
    };
    (EventKind::Ended, text)
}

/// The job's next state after an attempt.
fn move_on(job: &mut Job, outcome: &Outcome, now: Now) -> Option<Change> {
    let at = now.market;
    let wish = job.cancel_asked.is_some();
    let next = match outcome {
        Outcome::Succeeded => job.state.clone().succeed(at),
        _ if wish => job.state.clone().cancel(at),
        Outcome::Stopped { reason: StopReason::Cancelled } => job.state.clone().cancel(at),
        Outcome::Stopped { reason: StopReason::TimedOut } => {
            job.state.clone().fail(at, FailReason::TimedOut)
        }
        Outcome::Stopped { reason: StopReason::Budget } if job.budget_raised => {
            job.budget_raised = false;
            job.state.clone().wait(at, WaitReason::Queued)
        }
        Outcome::Stopped { reason: StopReason::Budget } => {
            let budget = job.spec.budget.unwrap_or_default();
            job.state.clone().hold(at, HoldReason::Budget { budget, committed: job.spent })
        }
        Outcome::Failed { exit } => after_error(job, &exit.to_string(), now),
        Outcome::LaunchFailed { error } => after_error(job, error, now),
        Outcome::Interrupted
        | Outcome::Lost
        | Outcome::Stopped { reason: StopReason::Interrupted } => after_interruption(job, now),
        Outcome::Requeued
        | Outcome::Stopped { reason: StopReason::Moved | StopReason::GangBroken } => {
            job.state.clone().wait(at, WaitReason::Queued)
        }
    };
    job.state = next.ok()?;
    let (kind, text) = match &job.state {
        JobState::Succeeded { .. } if job.met_deadline() == Some(false) => {
            (EventKind::Succeeded, format!("succeeded, after its deadline {}", job.deadline))
        }
        JobState::Succeeded { .. } => {
            (EventKind::Succeeded, "succeeded before its deadline".to_owned())
        }
        JobState::Cancelled { .. } => (EventKind::Cancelled, "cancelled".to_owned()),
        JobState::Failed { why, .. } => (EventKind::Failed, words::fail_reason(why)),
        JobState::Held { .. } => (EventKind::Held, "held: its budget is used up".to_owned()),
        _ => return None,
    };
    Some(Change::event(job.id, None, at, kind, text))
}

type Next = Result<JobState, spotwise_model::job::InvalidTransition>;

fn after_error(job: &mut Job, last: &str, now: Now) -> Next {
    job.errors += 1;
    if job.errors > job.spec.retries.errors {
        let why = FailReason::Errors { errors: job.errors, last: last.to_owned() };
        return job.state.clone().fail(now.market, why);
    }
    let doubled = FIRST_BACKOFF.saturating_mul(1 << (job.errors - 1).min(16));
    let until = after(now.market, doubled.min(LONGEST_BACKOFF));
    job.not_before = Some(until);
    job.state.clone().wait(now.market, WaitReason::Backoff { until })
}

/// Waits longer with every attempt that came to nothing without its fault.
fn after_refusal(job: &mut Job, now: Now) -> Next {
    let blameless = job.attempts.saturating_sub(job.errors + job.interruptions).max(1);
    let doubled = FIRST_BACKOFF.saturating_mul(1 << (blameless - 1).min(16));
    let until = after(now.market, doubled.min(LONGEST_REFUSAL));
    job.not_before = Some(until);
    job.state.clone().wait(now.market, WaitReason::Backoff { until })
}

fn after_interruption(job: &mut Job, now: Now) -> Next {
    job.interruptions += 1;
    match job.spec.retries.interruptions {
        Some(limit) if job.interruptions > limit => {
            let why = FailReason::Interruptions { interruptions: job.interruptions };
            job.state.clone().fail(now.market, why)
        }
        _ => job.state.clone().wait(now.market, WaitReason::Queued),
    }
}

/// How an attempt ended whose every node has: by its first failure, if any.
pub fn outcome_of(exits: &[(Now, Exit)]) -> Outcome {
    let failures = exits.iter().filter(|(_, exit)| is_failure(*exit));
    match failures.min_by_key(|(at, _)| at.wall) {
        Some((_, exit)) => Outcome::Failed { exit: *exit },
        None if exits.iter().any(|(_, exit)| *exit == Exit::Code(EXIT_REQUEUE)) => {
            Outcome::Requeued
        }
        None => Outcome::Succeeded,
    }
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
