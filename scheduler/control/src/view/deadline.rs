//! When jobs must be done, so that those that depend on them can meet their deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::{Job, JobId};
use spotwise_solver::graph::{self, Node};

use crate::core::State;

/// When one job must be done, so that those that depend on it can meet their deadlines;
/// `None` if it is not live.
pub fn effective_deadline(state: &State, id: JobId, changeover: Duration) -> Option<Timestamp> {
    let bear_on_it = state.jobs.values().filter(|job| job.id == id || !job.after.is_empty());
    effective_deadlines(bear_on_it, changeover).get(&id).copied()
}

/// When each of these jobs must be done, so that those that depend on it can meet their
/// deadlines.
pub fn effective_deadlines<'j>(
    jobs: impl Iterator<Item = &'j Job>,
    changeover: Duration,
) -> BTreeMap<JobId, Timestamp> {
    graph::effective_deadlines(jobs.map(|job| Node {
        key: job.id,
        after: job.hurries(),
        deadline: job.deadline,
        duration: left(job),
        changeover,
    }))
}

fn left(job: &Job) -> Duration {
    job.progress.left_of(job.measured.longest(&job.spec))
}
