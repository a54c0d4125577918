//! How an attempt is stopped, how it ends, and what that means for its job.

use std::time::Duration;

use spotwise_model::attempt::{CommandEnd, Exit, NodeReport, Outcome, StopOrder, StopReason, Told};
use spotwise_model::ending::{self as table, Left, Said};
use spotwise_model::job::{FailReason, HoldReason};
pub use spotwise_model::outcome::EXIT_REQUEUE;
use spotwise_model::plan::WaitReason;
use spotwise_model::time::after;
use spotwise_model::{Attempt, Job, JobState, Now};

use crate::core::{Change, EventKind, State};

/// The longest wait after failures.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3_600);
/// The longest wait for a pool that refuses: capacity comes back within minutes,
/// and every try is an attempt.
const LONGEST_REFUSAL: Duration = Duration::from_secs(900);
/// The limit of consecutive attempts that ask to be run again and have saved nothing new,
/// as for Kubernetes' `backoffLimit`: a quarter of an hour of market time.
const MOST_FRUITLESS: u32 = 6;
/// First wait after a failure (market time); doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(30);

/// Orders an attempt to stop. Repeating it changes nothing.
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

/// Considers some of a gang's workers as ended, and stops the rest first, so that nothing
/// of this attempt runs alongside the next one.
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

/// Ends an attempt that its pool could not launch for now: too many calls, no capacity.
/// That is not a failure of the job, which waits for a while.
pub fn put_off(state: &State, attempt: &Attempt, error: String, now: Now) -> Vec<Change> {
    let later = |job: &mut Job, ended: &Attempt, outcome: &Outcome, now: Now| match outcome {
        Outcome::LaunchFailed { .. } if job.cancel_asked.is_none() => {
            job.state = after_refusal(job, now).ok()?;
            None
        }
        other => move_on(job, ended, other, now),
    };
    conclude(state, attempt, Outcome::LaunchFailed { error }, later, now)
}

/// Ends an attempt one of whose machines does not come: nothing of it ran, and its job goes
/// on looking at once.
pub fn release(state: &State, attempt: &Attempt, now: Now) -> Vec<Change> {
    let again = |job: &mut Job, ended: &Attempt, outcome: &Outcome, now: Now| match outcome {
        Outcome::LaunchFailed { .. } if job.cancel_asked.is_none() => {
            job.state = job.state.clone().wait(now.market, WaitReason::Queued).ok()?;
            None
        }
        other => move_on(job, ended, other, now),
    };
    let why = state.seen.refusals.why(&attempt.offer.market);
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let error = format!("a machine for it did not come{why}");
    conclude(state, attempt, Outcome::LaunchFailed { error }, again, now)
}

fn conclude(
    state: &State,
    attempt: &Attempt,
    outcome: Outcome,
    then: impl Fn(&mut Job, &Attempt, &Outcome, Now) -> Option<Change>,
    now: Now,
) -> Vec<Change> {
    let Some(job) = state.jobs.get(&attempt.id.job) else { return Vec::new() };
    let outcome = table::unheard(attempt.stop, outcome);
    let mut ended = state.with_memory(attempt);
    // What is heard later than its money lasted had stopped by itself.
    let at = attempt.cutoff.map_or(now, |cutoff| cutoff.end_by(now));
    // Nobody knows whether it did anything after the backup that came back.
    let at = job.uncertain_since(attempt.id).map_or(at, |since| since.min(at));
    let Ok(next) = ended.state.end(at, outcome.clone()) else { return Vec::new() };
    ended.state = next;
    ended.progress = state.progress_of(attempt);
    let mut job = job.clone();
    job.progress =
        if matches!(outcome, Outcome::Succeeded) { done(&job) } else { job.saved_progress() };
    let (kind, message) = describe(&ended, &outcome);
    let mut changes = vec![Change::event(job.id, Some(attempt.id), now.market, kind, message)];
    count_fruitless(&mut job, &ended, &outcome);
    changes.extend(then(&mut job, &ended, &outcome, now));
    changes.push(ended.into());
    changes.push(job.into());
    changes
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
        Outcome::Failed { exit } => format!("failed with {}{saved}", cause(attempt, *exit)),
        Outcome::LaunchFailed { error } => format!("could not start: {error}"),
        Outcome::Lost => format!("lost: its worker is gone{saved}"),
        other => format!("{}{}{saved}", other.name(), unbelieved(attempt)),
    };
    (EventKind::Ended, text)
}

/// Only attempts that themselves ask for another one must have saved something: machines
/// that are taken away, lost workers and our own stops are not the job's fault, and
/// failures have a count of their own.
fn count_fruitless(job: &mut Job, ended: &Attempt, outcome: &Outcome) {
    let news = ended.saved_news(job.saved_step, FIRST_BACKOFF);
    job.saved_step = job.saved_step.max(ended.saved_step());
    if news || matches!(outcome, Outcome::Failed { .. }) {
        job.fruitless = 0;
    } else if matches!(outcome, Outcome::Requeued) {
        job.fruitless += 1;
    }
}

/// How it failed, and why, if its memory use tells.
fn cause(ended: &Attempt, exit: Exit) -> String {
    match ended.out_of_memory() {
        Some(found) => format!("{exit} ({found})"),
        None => exit.to_string(),
    }
}

/// The text for a command that returned 0 only after it had been told to stop.
fn unbelieved(attempt: &Attempt) -> &'static str {
    let told = |node: &NodeReport| match node.told {
        Told::Nothing => false,
        Told::Unknown => attempt.stop.is_some(),
        Told::Notice | Told::Stop => true,
    };
    let zero = |node: &NodeReport| matches!(node.exited, Some((_, Exit::Code(0))));
    if attempt.nodes.iter().any(|node| zero(node) && told(node)) {
        "; exit code 0 after it was told to stop does not mean that it is done"
    } else {
        ""
    }
}

/// The job's next state after an attempt.
fn move_on(job: &mut Job, ended: &Attempt, outcome: &Outcome, now: Now) -> Option<Change> {
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
        Outcome::Failed { exit } => after_error(job, &cause(ended, *exit), now),
        Outcome::LaunchFailed { error } => after_error(job, error, now),
        Outcome::Interrupted
        | Outcome::Lost
        | Outcome::Stopped { reason: StopReason::Interrupted } => after_interruption(job, now),
        Outcome::Requeued if job.fruitless > 0 => after_nothing_new(job, now),
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
        JobState::Failed { why, .. } => (EventKind::Failed, why.to_string()),
        JobState::Held { .. } => (EventKind::Held, "held: its budget is used up".to_owned()),
        JobState::Waiting { why: why @ WaitReason::Backoff { fruitless: 1.., .. }, .. } => {
            (EventKind::Waiting, why.to_string())
        }
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
    wait_longer(job, job.errors, LONGEST_BACKOFF, now)
}

/// Exit code 75 and nothing new saved: retried ever later, and not indefinitely.
fn after_nothing_new(job: &mut Job, now: Now) -> Next {
    if job.fruitless >= MOST_FRUITLESS {
        let why = FailReason::NothingNew { attempts: job.fruitless };
        return job.state.clone().fail(now.market, why);
    }
    wait_longer(job, job.fruitless, LONGEST_BACKOFF, now)
}

/// Until the first wait has passed, doubled for each time after the first.
fn wait_longer(job: &mut Job, times: u32, longest: Duration, now: Now) -> Next {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << times.saturating_sub(1).min(16));
    let until = after(now.market, doubled.min(longest));
    job.not_before = Some(until);
    let why = WaitReason::Backoff { until, fruitless: job.fruitless };
    job.state.clone().wait(now.market, why)
}

/// Waits longer with every attempt that failed through no fault of the job.
fn after_refusal(job: &mut Job, now: Now) -> Next {
    let blameless = job.attempts.saturating_sub(job.errors + job.interruptions).max(1);
    wait_longer(job, blameless, LONGEST_REFUSAL, now)
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

/// How an attempt ended, once all of its commands have.
pub fn outcome_of(state: &State, attempt: &Attempt) -> Option<Outcome> {
    let ends: Option<Vec<CommandEnd>> = attempt.nodes.iter().map(NodeReport::end).collect();
    let since = attempt.stop.map(|order| order.at.market);
    // Market time moves in whole seconds: one of that very second counts as newer.
    let saved = since.zip(attempt.checkpoint).is_some_and(|(since, saved)| saved.at >= since);
    let left = Left { said: Said::of(&state.progress_of(attempt)), saved };
    ends.map(|ends| table::outcome(attempt.stop, &ends, left))
}

#[cfg(test)]
#[path = "attempt_end_tests.rs"]
mod tests;
