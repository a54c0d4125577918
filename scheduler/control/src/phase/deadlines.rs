//! Reports that a deadline can no longer be met at the moment when this becomes true, and
//! withdraws that if it can be after all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time::{after, between, human, whole_second};
use spotwise_model::{Attempt, Job, JobId, Now};
use spotwise_solver::graph;

use crate::core::due::Due;
use crate::core::{Change, EventKind, State};

/// An end this much before the deadline is in time again: a job's measured speed
/// fluctuates.
const LEAST_GAIN: Duration = Duration::from_secs(60);

/// An end this much late is late: [`due`] names the exact moment.
const SECOND: Duration = Duration::from_secs(1);

/// Judges the deadline of every job that has not ended by the earliest end that it could
/// still have, if it started on demand now, or when everything it waits for has finished.
pub fn deadlines(state: &State, changeover: Duration, now: Now) -> Vec<Change> {
    let ends = ends_of_parents(state, changeover, now);
    let judged = |job: &Job| {
        let end = end_of(state, job, &ends, changeover, now);
        let (lost, message) = verdict(state, job, end, now)?;
        let kind = if lost { EventKind::DeadlineLost } else { EventKind::DeadlineBack };
        let event = Change::event(job.id, None, now.market, kind, message);
        let deadline_lost = lost.then_some(job.deadline);
        Some([Job { deadline_lost, ..job.clone() }.into(), event])
    };
    open(state).filter_map(judged).flatten().collect()
}

/// When [`deadlines`] may have to report one as lost if nothing is received: an end
/// approaches no faster than time passes.
pub fn due(state: &State, changeover: Duration, due: &mut Due) {
    let now = due.now();
    let ends = ends_of_parents(state, changeover, now);
    let told = |job: &Job| job.deadline_lost == Some(job.deadline) || job.cancel_asked.is_some();
    let met = open(state).filter(|job| !told(job));
    due.market(met.map(|job| {
        let end = end_of(state, job, &ends, changeover, now);
        after(now.market, between(end, job.deadline) + SECOND)
    }));
}

/// When a job could end at the earliest.
fn end_of(
    state: &State,
    job: &Job,
    ends: &BTreeMap<JobId, Timestamp>,
    changeover: Duration,
    now: Now,
) -> Timestamp {
    ends.get(&job.id).copied().unwrap_or_else(|| {
        graph::earliest_end(now.market, &job.hurries(), span(state, job, changeover, now), ends)
    })
}

fn open(state: &State) -> impl Iterator<Item = &Job> {
    state.jobs.values().filter(|job| !job.state.is_terminal())
}

/// When each job that others wait for could end at the earliest: there are few.
fn ends_of_parents(state: &State, changeover: Duration, now: Now) -> BTreeMap<JobId, Timestamp> {
    // One that waits for a failure may start as soon as that comes: at once.
    let parents: BTreeSet<JobId> = open(state).flat_map(Job::hurries).collect();
    // By number: what a job waits for was there before it.
    let waited_for = parents.iter().filter_map(|id| state.jobs.get(id));
    let waited_for = waited_for.filter(|job| !job.state.is_terminal());
    let spans: Vec<(JobId, Vec<JobId>, Duration)> =
        waited_for.map(|job| (job.id, job.hurries(), span(state, job, changeover, now))).collect();
    let spans = spans.iter().map(|(id, waits_for, span)| (*id, waits_for.as_slice(), *span));
    graph::earliest_ends(now.market, spans)
}

/// What is left of a job, from when it may start; if it is running, from now on.
fn span(state: &State, job: &Job, changeover: Duration, now: Now) -> Duration {
    match state.live_attempt(job.id) {
        Some(attempt) => left_of(state, job, attempt, now),
        None => best_span(job, changeover),
    }
}

/// The least time from a start on demand to the end of what is not saved.
pub fn best_span(job: &Job, changeover: Duration) -> Duration {
    job.saved_progress().left_of(whole(job)).saturating_add(changeover)
}

/// Zero if it is unknown: an assumed duration does not make a deadline impossible.
fn whole(job: &Job) -> Duration {
    job.measured.shortest_known(&job.spec)
}

/// What is left of a running job: by its progress or, if it reports none, by the time since
/// its start.
fn left_of(state: &State, job: &Job, attempt: &Attempt, now: Now) -> Duration {
    if !job.measured.is_empty() {
        return state.progress_of(attempt).left_of(whole(job));
    }
    let since = attempt.state.started().map(|at| between(at.market, now.market));
    job.saved_progress().left_of(whole(job)).saturating_sub(since.unwrap_or_default())
}

/// Whether there is something to report: that the deadline is lost, or that it is not.
fn verdict(state: &State, job: &Job, end: Timestamp, now: Now) -> Option<(bool, String)> {
    if job.cancel_asked.is_some() {
        return None;
    }
    let known = job.deadline_lost == Some(job.deadline);
    if end >= after(job.deadline, SECOND) {
        return (!known).then(|| (true, lost(state, job, end, now)));
    }
    let sure = after(end, LEAST_GAIN) <= job.deadline;
    // Another deadline than the one that was lost.
    let moved = job.deadline_lost.is_some() && !known;
    (moved || known && sure).then(|| {
        let words = format!(
            "its deadline {} can be met again: done by {} at the earliest",
            job.deadline,
            whole_second(end)
        );
        (false, words)
    })
}

fn lost(state: &State, job: &Job, end: Timestamp, now: Now) -> String {
    if job.deadline <= now.market {
        return format!("its deadline {} has passed", job.deadline);
    }
    let open = |id: &JobId| state.jobs.get(id).is_some_and(|job| !job.state.is_terminal());
    let waits = job.hurries().into_iter().filter(open).count();
    let how = match (state.live_attempt(job.id), waits) {
        (Some(_), _) => "at its best it is done".to_owned(),
        (None, 0) => "started on demand now it would be done".to_owned(),
        (None, 1) => "after the job that it waits for it would be done".to_owned(),
        (None, n) => format!("after the {n} jobs that it waits for it would be done"),
    };
    format!(
        "its deadline {} can no longer be met: {how} at {}, {} late",
        job.deadline,
        whole_second(end),
        human(between(job.deadline, end))
    )
}

#[cfg(test)]
#[path = "deadlines_tests.rs"]
mod tests;
