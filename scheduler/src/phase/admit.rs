//! Says of every job that is not running what it waits for, and gives up those
//! that can never run.

use std::collections::BTreeMap;

use spotwise_model::job::{FailReason, HoldReason};
use spotwise_model::plan::WaitReason;
use spotwise_model::{Job, JobId, JobState, Money, Now};

use super::ending;
use crate::core::{Change, EventKind, State};

/// Whether a waiting job may be planned now, and if not, why.
pub fn obstacle(state: &State, job: &Job, running: &ArrayLoad, now: Now) -> Option<WaitReason> {
    let open: Vec<JobId> =
        job.after.iter().copied().filter(|id| state.parent_outcome(*id) != Some(true)).collect();
    if !open.is_empty() {
        return Some(WaitReason::Dependencies { jobs: open });
    }
    if let Some(until) = job.not_before.filter(|until| *until > now.market) {
        return Some(WaitReason::Backoff { until });
    }
    let limit = job.array.and_then(|place| Some((place.first, place.max_parallel?)));
    limit
        .filter(|(first, limit)| running.of(*first) >= *limit)
        .map(|(_, max_parallel)| WaitReason::ArrayLimit { max_parallel })
}

/// How many elements of each array run.
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

/// Moves waiting and held jobs: dependencies that failed, reasons that changed,
/// budgets that hold again.
pub fn admit(state: &State, now: Now) -> Vec<Change> {
    let load = ArrayLoad::count(state);
    state.jobs.values().flat_map(|job| look_at(state, job, &load, now)).collect()
}

fn look_at(state: &State, job: &Job, load: &ArrayLoad, now: Now) -> Vec<Change> {
    match &job.state {
        JobState::Waiting { .. } | JobState::Held { .. } => {}
        _ => return Vec::new(),
    }
    let failed = job.after.iter().find(|id| state.parent_outcome(**id) == Some(false));
    if let Some(parent) = failed {
        return fail(job, FailReason::Dependency { job: *parent }, now);
    }
    match &job.state {
        JobState::Held { why: HoldReason::Budget { .. }, .. } => {
            let left = budget_left(state, job);
            // What a waiver has given back may be enough to go on with.
            if left.is_some_and(|left| left < worth_going_on(job)) {
                return Vec::new();
            }
            let mut job = job.clone();
            match job.state.wait(now.market, WaitReason::Queued) {
                Ok(state) => {
                    job.state = state;
                    vec![job.into()]
                }
                Err(_) => Vec::new(),
            }
        }
        JobState::Waiting { why, .. } => match obstacle(state, job, load, now) {
            Some(reason) if !why.same_kind(&reason) => wait(job, reason, now),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A held job starts again only with a tenth of its budget to spend, lest it
/// be stopped before its changeover is over.
fn worth_going_on(job: &Job) -> Money {
    job.spec.budget.unwrap_or_default().part(1, 10)
}

/// What a job's budget still holds: the budget less what is settled and what
/// is set aside. None without a budget.
pub fn budget_left(state: &State, job: &Job) -> Option<Money> {
    job.spec.budget.map(|budget| budget - job.spent - state.held_for(job.id))
}

/// Gives the job another reason to wait, with an event.
pub fn wait(job: &Job, reason: WaitReason, now: Now) -> Vec<Change> {
    let mut job = job.clone();
    let words = wait_words(&reason);
    let Ok(next) = job.state.clone().wait(now.market, reason) else { return Vec::new() };
    job.state = next;
    let event = Change::event(job.id, None, now.market, EventKind::Waiting, format!("waiting: {words}"));
    vec![job.into(), event]
}

fn fail(job: &Job, why: FailReason, now: Now) -> Vec<Change> {
    let mut job = job.clone();
    let words = ending::failure_words(&why);
    let Ok(next) = job.state.clone().fail(now.market, why) else { return Vec::new() };
    job.state = next;
    let event = Change::event(job.id, None, now.market, EventKind::Failed, words);
    vec![job.into(), event]
}

/// A reason to wait, in words.
pub fn wait_words(reason: &WaitReason) -> String {
    match reason {
        WaitReason::Queued => "for the next planning round".to_owned(),
        WaitReason::Dependencies { jobs } => {
            let names: Vec<String> = jobs.iter().take(5).map(ToString::to_string).collect();
            let more = jobs.len().saturating_sub(names.len());
            let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("for {}{tail} to succeed", names.join(", "))
        }
        WaitReason::Backoff { until } => format!("after a failure, until {until}"),
        WaitReason::Unschedulable { detail } => format!("no offer holds it: {detail}"),
        WaitReason::NoCapacity { suitable_offers: 1 } => {
            "the one offer that holds it has nothing free".to_owned()
        }
        WaitReason::NoCapacity { suitable_offers } => {
            format!("none of the {suitable_offers} offers that hold it has anything free")
        }
        WaitReason::PoolFull { resource } => format!("its pool has no {resource} left"),
        WaitReason::CheaperLater { now, later, latest_start } => format!(
            "spot is worth waiting for: about {} later against {} now; on-demand by {latest_start} still meets the deadline",
            later.human(),
            now.human()
        ),
        WaitReason::OverBudget { needs, left } => format!(
            "going on needs about {}, its budget has {} left",
            needs.human(),
            left.human()
        ),
        WaitReason::ArrayLimit { max_parallel } => {
            format!("{max_parallel} elements of its array run, as many as it allows")
        }
        WaitReason::Outbid => "other jobs were worth more in this round".to_owned(),
    }
}
