//! Records for every job that is not running what it waits for, and gives up those that can
//! never run: cancelled, or skipped if all is well without them.

use std::collections::BTreeMap;

use spotwise_model::plan::WaitReason;
use spotwise_model::{Ending, Job, JobId, JobState, Now, Unmet};

use crate::core::due::Due;
use crate::core::{Change, EventKind, State};

/// Whether a waiting job may be planned now, and if not, why.
pub fn obstacle(state: &State, job: &Job, running: &ArrayLoad, now: Now) -> Option<WaitReason> {
    let open = job.open(|id| state.parent_ending(id));
    if !open.is_empty() {
        return Some(WaitReason::needs(open));
    }
    if let Some(freeze) = &state.frozen {
        return Some(WaitReason::Frozen(freeze.clone()));
    }
    if let Some(known) = job.restore_gap.filter(|gap| gap.over > now.market) {
        return Some(WaitReason::FormerWorkers { until: known.over });
    }
    if let Some(until) = job.not_before.filter(|until| *until > now.market) {
        return Some(WaitReason::Backoff { until, fruitless: job.fruitless });
    }
    let limit = job.array.and_then(|place| Some((place.first, place.max_parallel?)));
    limit
        .filter(|(first, limit)| running.of(*first) >= *limit)
        .map(|(_, max_parallel)| WaitReason::ArrayLimit { max_parallel })
}

/// How many elements of each array are running.
#[derive(Clone, Debug, Default)]
pub struct ArrayLoad(BTreeMap<JobId, u32>);

impl ArrayLoad {
    /// Counts the active jobs.
    pub fn count(state: &State) -> Self {
        let mut load = Self::default();
        for job in state.jobs.values().filter(|j| matches!(j.state, JobState::Active { .. })) {
            load.add(job);
        }
        load
    }

    /// Counts one more.
    pub fn add(&mut self, job: &Job) {
        if let Some(place) = job.array {
            *self.0.entry(place.first).or_default() += 1;
        }
    }

    fn of(&self, first: JobId) -> u32 {
        self.0.get(&first).copied().unwrap_or(0)
    }
}

/// Moves waiting and held jobs: conditions that can never be met, reasons that changed. A
/// job has a higher number than those it waits for, so that giving one up takes all that
/// depend on it along at once.
pub fn admit(state: &State, now: Now) -> Vec<Change> {
    let load = ArrayLoad::count(state);
    let mut given_up = BTreeMap::new();
    let look = |job| look_at(state, job, &load, &mut given_up, now);
    state.jobs.values().flat_map(look).collect()
}

/// When a job that waits for a time may be planned again.
pub fn due(state: &State, due: &mut Due) {
    let waiting = state.jobs.values().filter(|j| matches!(j.state, JobState::Waiting { .. }));
    due.market(
        waiting
            .flat_map(|job| job.not_before.into_iter().chain(job.restore_gap.map(|gap| gap.over))),
    );
}

fn look_at(
    state: &State,
    job: &Job,
    load: &ArrayLoad,
    given_up: &mut BTreeMap<JobId, Ending>,
    now: Now,
) -> Vec<Change> {
    match &job.state {
        JobState::Waiting { .. } | JobState::Held { .. } => {}
        _ => return Vec::new(),
    }
    let ending = |id: JobId| given_up.get(&id).copied().or_else(|| state.parent_ending(id));
    if let Some(unmet) = job.unmet(ending) {
        return give_up(job, unmet, given_up, now);
    }
    match &job.state {
        JobState::Waiting { why, .. } => match obstacle(state, job, load, now) {
            Some(reason) if !why.same_kind(&reason) => wait(job, reason, now),
            _ => Vec::new(),
        },
        // A held job stays held: going on would cost money that its owner has
        // not granted.
        _ => Vec::new(),
    }
}

/// Gives the job a new reason to wait, with an event.
pub fn wait(job: &Job, reason: WaitReason, now: Now) -> Vec<Change> {
    let mut job = job.clone();
    let words = reason.to_string();
    let Ok(next) = job.state.clone().wait(now.market, reason) else { return Vec::new() };
    job.state = next;
    let event = Change::event(job.id, None, now.market, EventKind::Waiting, words);
    vec![job.into(), event]
}

fn give_up(job: &Job, why: Unmet, given_up: &mut BTreeMap<JobId, Ending>, now: Now) -> Vec<Change> {
    let mut job = job.clone();
    let Ok(next) = job.state.clone().give_up(now.market, why) else { return Vec::new() };
    let (kind, word) = match next {
        JobState::Skipped { .. } => (EventKind::Skipped, "skipped"),
        _ => (EventKind::Cancelled, "cancelled"),
    };
    given_up.extend(next.ending().map(|ending| (job.id, ending)));
    job.state = next;
    let words = format!("{word}: {why}");
    let event = Change::event(job.id, None, now.market, kind, words);
    vec![job.into(), event]
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
