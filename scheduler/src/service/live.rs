//! What memory holds of some jobs, copied out of the loop so that nothing is
//! computed inside it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spotwise_api::convert::{JobFigures, blocked, job_summary};
use spotwise_api::v1;
use spotwise_model::{AttemptId, InstanceId, Job, JobId, JobState, LedgerEntry, Money, Now};

use super::{Service, ServiceError, no_such_job};
use spotwise_control::core::State;
use spotwise_control::phase::guard;
use spotwise_control::view::accrued;

/// A part of the state, and its unsettled cost.
pub(super) struct LiveSnapshot {
    pub(super) state: State,
    pub(super) now: Now,
    accrued: BTreeMap<AttemptId, Money>,
    entries: Vec<LedgerEntry>,
    blocked: BTreeMap<JobId, String>,
}

impl LiveSnapshot {
    /// What is known of a job beyond its stored row.
    pub(super) fn figures(&self, id: JobId) -> JobFigures {
        let attempt = self.state.live_attempt(id);
        JobFigures {
            progress: attempt.map(|attempt| self.state.progress_of(attempt)),
            estimated: self.accrued_by(id),
            attempt: attempt.cloned(),
            waits: self.state.seen.waits.get(&id).cloned(),
            blocked: self.blocked.get(&id).cloned().unwrap_or_default(),
        }
    }

    /// Unsettled charges of one attempt.
    pub(super) fn accrued_on(&self, id: AttemptId) -> Money {
        self.accrued.get(&id).copied().unwrap_or_default()
    }

    /// The charges that would result if every unsettled machine ended now.
    pub(super) fn accrued_entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    /// Unsettled charges of a job.
    pub(super) fn accrued_by(&self, id: JobId) -> Money {
        self.state.attempts_of(id).map(|attempt| self.accrued_on(attempt.id)).sum()
    }

    /// The row of a job as held in memory, otherwise as read.
    pub(super) fn row(&self, stored: &Job) -> v1::JobSummary {
        let job = self.state.jobs.get(&stored.id).unwrap_or(stored);
        job_summary(job, &self.figures(stored.id))
    }
}

impl Service {
    /// What memory holds of these jobs.
    pub(super) async fn live(&self, ids: Vec<JobId>) -> Result<LiveSnapshot, ServiceError> {
        let ask = move |state: &State, now| (part(state, &ids), now, all_blocked(state, &ids, now));
        let parts = self.parts.handle.ask(ask).await?;
        Ok(self.priced(parts))
    }

    /// What memory holds of all jobs, without the market.
    pub(super) async fn all_live(&self) -> Result<LiveSnapshot, ServiceError> {
        let all = |state: &State, now| {
            let part = State {
                jobs: state.jobs.clone(),
                attempts: state.attempts.clone(),
                instances: state.instances.clone(),
                ..counters(state)
            };
            (part, now, BTreeMap::new())
        };
        let parts = self.parts.handle.ask(all).await?;
        Ok(self.priced(parts))
    }

    fn priced(&self, (state, now, blocked): (State, Now, BTreeMap<JobId, String>)) -> LiveSnapshot {
        let policy = &self.parts.config.control.policy;
        let entries = accrued::accrued_entries(&state, policy, now);
        let mut accrued = BTreeMap::new();
        for entry in &entries {
            if let Some(attempt) = entry.attempt {
                *accrued.entry(attempt).or_insert(Money::ZERO) += entry.amount;
            }
        }
        LiveSnapshot { state, now, accrued, entries, blocked }
    }

    /// What a job with a live attempt has used of its budget and needs to stop cleanly, and
    /// as of when; `None` for a job without one.
    pub(super) async fn used(&self, id: JobId) -> Result<Option<(Timestamp, Money)>, ServiceError> {
        let ask = move |state: &State, now: Now| {
            let mut part = part(state, &[id]);
            part.seen.offers = state.seen.offers.clone();
            (part, now)
        };
        let (state, now) = self.parts.handle.ask(ask).await?;
        let config = &self.parts.config;
        let accrued = accrued::accrued(&state, &config.control.policy, now);
        let job = state.jobs.get(&id).filter(|_| state.live_attempt(id).is_some());
        Ok(job.map(|job| {
            (now.wall, guard::least_budget(&state, job, &accrued, &config.control, now))
        }))
    }

    /// A job, from memory if it is live, otherwise from the store.
    pub(super) async fn job(&self, id: JobId) -> Result<(Job, LiveSnapshot), ServiceError> {
        let live = self.live(vec![id]).await?;
        let job = match live.state.jobs.get(&id) {
            Some(job) => Some(job.clone()),
            None => self.parts.store.job(id).await?,
        };
        Ok((job.ok_or_else(|| no_such_job(id))?, live))
    }

    /// A job, without what only memory has of its attempts.
    pub(super) async fn stored_job(&self, id: JobId) -> Result<Job, ServiceError> {
        let live = self.parts.handle.ask(move |state, _| state.jobs.get(&id).cloned()).await?;
        let job = match live {
            Some(job) => Some(job),
            None => self.parts.store.job(id).await?,
        };
        job.ok_or_else(|| no_such_job(id))
    }

    /// The rows of jobs, in the order of `ids`.
    pub(super) async fn rows(&self, ids: &[JobId]) -> Result<Vec<v1::JobSummary>, ServiceError> {
        let live = self.live(ids.to_vec()).await?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            match live.state.jobs.get(id) {
                Some(job) => rows.push(live.row(job)),
                None => rows.extend(self.parts.store.job(*id).await?.map(|job| live.row(&job))),
            }
        }
        Ok(rows)
    }
}

/// The jobs, their attempts and machines, and everything that shares these machines: a
/// machine's price is split among all on it.
fn part(state: &State, ids: &[JobId]) -> State {
    let mut part = counters(state);
    for id in ids {
        part.jobs.extend(state.jobs.get(id).map(|job| (*id, job.clone())));
        part.attempts.extend(state.attempts_of(*id).cloned());
        part.seen.waits.extend(state.seen.waits.get(id).map(|why| (*id, why.clone())));
    }
    for id in part.attempts.keys() {
        part.seen.progress.extend(state.seen.progress.get(id).map(|seen| (*id, *seen)));
    }
    for (worker, used) in &state.seen.memory {
        if part.attempts.get(&worker.0).is_some() {
            part.seen.memory.insert(*worker, *used);
        }
    }
    let machines: BTreeSet<InstanceId> =
        part.attempts.values().flat_map(|attempt| attempt.instances.iter().copied()).collect();
    let known = |id: &InstanceId| Some((*id, state.instances.get(id)?.clone()));
    part.instances = machines.iter().filter_map(known).collect();
    for attempt in machines.iter().flat_map(|machine| state.attempts_on(*machine)) {
        let job = attempt.id.job;
        part.jobs.extend(state.jobs.get(&job).map(|found| (job, found.clone())));
        part.attempts.insert(attempt.clone());
    }
    part
}

/// Dependencies that are examined: more would take too much of the loop's time for a hint.
const MOST_EDGES: usize = 200_000;

/// Which of the jobs can never proceed by themselves, and why.
fn all_blocked(state: &State, ids: &[JobId], now: Now) -> BTreeMap<JobId, String> {
    let waits = |id: &JobId| state.seen.waits.get(id);
    let mut found: BTreeMap<JobId, String> = state
        .jobs
        .values()
        .filter_map(|job| Some((job.id, blocked(job, waits(&job.id), now.market)?)))
        .collect();
    if found.is_empty() {
        return found;
    }
    // A job has a higher number than those it waits for.
    let mut edges = 0;
    for job in state.jobs.values() {
        if edges > MOST_EDGES || !matches!(job.state, JobState::Waiting { .. }) {
            continue;
        }
        edges += job.after.len();
        if let Some((parent, why)) = job.after.iter().find_map(|id| found.get_key_value(id)) {
            let (parent, why) = (*parent, why.clone());
            found.entry(job.id).or_insert_with(|| behind(parent, &why));
        }
    }
    found.retain(|id, _| ids.contains(id));
    found
}

/// Why a job cannot proceed that waits for another that cannot.
fn behind(parent: JobId, why: &str) -> String {
    if why.contains(" cannot go on: ") {
        why.to_owned()
    } else {
        format!("{parent} cannot go on: {why}")
    }
}

fn counters(state: &State) -> State {
    State {
        pools: state.pools.clone(),
        last_event: state.last_event,
        settled_total: state.settled_total,
        ..State::default()
    }
}
