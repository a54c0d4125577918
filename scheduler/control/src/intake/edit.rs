//! Changes made by its owner to the terms of a job that has not ended: budget, deadline,
//! priority, retries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::job::{DeadlineSource, HoldReason};
use spotwise_model::plan::WaitReason;
use spotwise_model::spec::{Deadline, Edit, EditRetries, JobSpec, check_deadline_at};
use spotwise_model::time::{after, between};
use spotwise_model::{Attempt, Job, JobId, JobState, Money, Now};

use super::{CommandResult, invalid, remembered, replayed};
use crate::command::EditJob;
use crate::config::Config;
use crate::core::{Change, EventKind, State};
use crate::view::deadline::effective_deadlines;
use crate::{Refusal, Reply};

/// What a running job has used grows while its owner's request is on its way: a figure
/// looked up longer ago than this (wall time) is no longer valid.
const FRESH: Duration = Duration::from_secs(2);

/// Changes what is given, all of it or nothing.
pub(super) fn edit(state: &State, request: &EditJob, config: &Config, now: Now) -> CommandResult {
    let job = request.job;
    if let Some(answer) = replayed(state, &request.key, &request.hash, &request.known) {
        let reply = Reply::Edited { job: None, words: Vec::new(), replayed: true };
        return answer.map(|_| (Vec::new(), reply));
    }
    let (mut changes, words) = changed(state, request, config, now)?;
    let made = changes.iter().find_map(|change| match change {
        Change::Job(made) if made.id == job => Some(made.clone()),
        _ => None,
    });
    changes.extend(remembered((&request.key, &request.hash), vec![job], now));
    Ok((changes, Reply::Edited { job: made, words, replayed: false }))
}

/// The changes made by an edit, and a description of them as text.
pub fn changed(
    state: &State,
    request: &EditJob,
    config: &Config,
    now: Now,
) -> Result<(Vec<Change>, Vec<String>), Refusal> {
    let id = request.job;
    let old = state.jobs.get(&id).ok_or_else(|| Refusal::NotFound(format!("live job {id}")))?;
    if old.state.is_terminal() || old.cancel_asked.is_some() {
        let message = format!("{id} is over; `spotwise resubmit {id}` runs it again");
        return Err(invalid("job_ended", "job", message));
    }
    let Edit { budget, deadline, priority, retries } = request.edit;
    let (mut job, mut spec) = (old.clone(), (*old.spec).clone());
    let (mut words, mut changes) = (Vec::new(), Vec::new());
    if let Some(budget) = budget {
        changes.extend(set_budget(state, request, (&mut job, &mut spec), budget, now)?);
        let before = old.spec.budget.map_or("none".to_owned(), |old| old.human().to_string());
        note(&mut words, "budget", &before, &budget.human().to_string());
    }
    if let Some(deadline) = deadline {
        let at = deadline.from(old.deadline, now.market);
        check_deadline_at(at, now.market).map_err(|error| Refusal::Invalid {
            code: error.code,
            field: error.field,
            message: error.message,
        })?;
        spec.deadline = Some(Deadline::At(at));
        (job.deadline, job.deadline_source) = (at, DeadlineSource::Given);
        note(&mut words, "deadline", &old.deadline.to_string(), &at.to_string());
    }
    if let Some(priority) = priority {
        spec.priority = priority;
        note(&mut words, "priority", &old.spec.priority.to_string(), &priority.to_string());
    }
    if let Some(retries) = retries {
        set_retries(&mut spec, retries, &mut words);
    }
    job.spec = Arc::new(spec);
    if budget.is_some()
        && let JobState::Held { why: HoldReason::Budget { .. }, .. } = job.state
    {
        let next = job.state.clone().wait(now.market, WaitReason::Queued);
        job.state = next.map_err(|error| invalid("job_ended", "job", error.to_string()))?;
    }
    if job == *old {
        return Ok((Vec::new(), Vec::new()));
    }
    let message = match words.as_slice() {
        [] => "it goes on, by edit".to_owned(),
        words => format!("{} by edit", words.join("; ")),
    };
    changes.push(Change::event(id, None, now.market, EventKind::Edited, message));
    if job.deadline != old.deadline {
        changes.extend(derive_again(state, &job, config).into_iter().map(Change::from));
    }
    changes.push(job.into());
    Ok((changes, words))
}

fn note(words: &mut Vec<String>, what: &str, old: &str, new: &str) {
    if old != new {
        words.push(format!("{what} {old} -> {new}"));
    }
}

fn set_retries(spec: &mut JobSpec, retries: EditRetries, words: &mut Vec<String>) {
    let limit = |limit: Option<u32>| limit.map_or("unlimited".to_owned(), |n| n.to_string());
    if let Some(errors) = retries.errors {
        let old = std::mem::replace(&mut spec.retries.errors, errors);
        note(words, "retries after errors", &old.to_string(), &errors.to_string());
    }
    if let Some(interruptions) = retries.interruptions {
        let old = std::mem::replace(&mut spec.retries.interruptions, interruptions);
        note(words, "retries after interruptions", &limit(old), &limit(interruptions));
    }
}

/// Sets another budget. What is set aside for a live attempt follows it, so that spent and
/// set aside stay within it: its cutoff is sent again in this same round.
fn set_budget(
    state: &State,
    request: &EditJob,
    (job, spec): (&mut Job, &mut JobSpec),
    budget: Money,
    now: Now,
) -> Result<Option<Change>, Refusal> {
    let live = state.live_attempt(job.id);
    let others: Money = state.held_for(job.id) - live.map_or(Money::ZERO, |live| live.hold);
    let mut least = job.spent + others;
    if live.is_some() {
        let fresh = request.used.filter(|(at, _)| between(*at, now.wall) <= FRESH);
        let (_, used) = fresh.ok_or(Refusal::Overloaded)?;
        least = least.max(used);
    }
    let old = spec.budget.replace(budget);
    if old == Some(budget) {
        return Ok(None);
    }
    if budget < least {
        let message = format!(
            "{} is less than the {} that it has spent and {}; name at least that",
            budget.human(),
            least.human(),
            if live.is_some() { "needs to stop cleanly" } else { "has set aside" }
        );
        return Err(invalid("budget_too_small", "budget_usd", message));
    }
    let Some(live) = live else { return Ok(None) };
    // A stop for the old budget may be under way, ordered or by a worker that has not
    // heard of the new one: it does not hold the job.
    job.budget_raised = old.is_some_and(|old| old < budget);
    let passed = live.cutoff.is_some_and(|cutoff| cutoff.stop_at <= now.wall);
    let cutoff = live.cutoff.filter(|_| passed || live.stop.is_some());
    Ok(Some(Attempt { hold: budget - job.spent - others, cutoff, ..live.clone() }.into()))
}

/// Recomputes derived deadlines, of everything that the job waits for and everything that
/// waits for it, as they would have been with its new one.
fn derive_again(state: &State, edited: &Job, config: &Config) -> Vec<Job> {
    let mut jobs: BTreeMap<JobId, Job> = state
        .jobs
        .values()
        .filter(|job| !job.state.is_terminal())
        .map(|job| (job.id, job.clone()))
        .collect();
    jobs.insert(edited.id, edited.clone());
    let kin = kin(&jobs, edited.id);
    let derived = |job: &Job| job.deadline_source == DeadlineSource::Derived;
    // A job has a higher number than those it waits for.
    let order: Vec<JobId> = kin.iter().copied().filter(|id| *id != edited.id).collect();
    for id in &order {
        let Some(job) = jobs.get(id).filter(|job| derived(job)) else { continue };
        let parents = job.after.iter().filter_map(|parent| jobs.get(parent));
        let begin = parents.map(|parent| parent.deadline).fold(job.submitted, Timestamp::max);
        let span = job.spec.longest_expected_duration().saturating_mul(3);
        let deadline = after(begin, span).max(job.deadline);
        if let Some(job) = jobs.get_mut(id) {
            job.deadline = deadline;
        }
    }
    let deadlines = effective_deadlines(jobs.values(), config.policy.changeover);
    let moved = order.into_iter().filter_map(|id| {
        let job = jobs.get(&id).filter(|job| derived(job))?;
        let deadline = deadlines.get(&id).copied().unwrap_or(job.deadline);
        let stands = state.jobs.get(&id)?;
        (deadline != stands.deadline).then(|| Job { deadline, ..stands.clone() })
    });
    moved.collect()
}

/// Everything that a job waits for and everything that waits for it, transitively.
fn kin(jobs: &BTreeMap<JobId, Job>, id: JobId) -> std::collections::BTreeSet<JobId> {
    let mut kin = std::collections::BTreeSet::from([id]);
    for job in jobs.values() {
        if job.after.iter().any(|parent| kin.contains(parent)) {
            kin.insert(job.id);
        }
    }
    let mut above = vec![id];
    while let Some(id) = above.pop() {
        let parents = jobs.get(&id).map(|job| job.after.clone()).unwrap_or_default();
        above.extend(parents.into_iter().filter(|parent| kin.insert(*parent)));
    }
    kin
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
