//! Freed room is filled in the same round, using what the last plan left: jobs need not
//! wait for the next one, which looks at everything anew.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::id::PoolName;
use spotwise_model::{Now, Plan};

use super::admit::{self, ArrayLoad};
use super::forecast::{is_any_missing, speaks_to};
use crate::config::Config;
use crate::core::State;
use crate::view::deadline::effective_deadlines;
use crate::view::snapshot::{plan_job, snapshot};

/// Places for waiting jobs, to be applied like those of any plan; `None` if no job that may
/// go is waiting. Machines that are there at once cost nothing to give back; others are
/// bought by plans.
pub fn fill(state: &State, config: &Config, now: Now) -> Option<Plan> {
    let mut load = ArrayLoad::count(state);
    let unknown = is_any_missing(state);
    let first = state.seen.queue.first(&state.jobs, |job| {
        let open = job.cancel_asked.is_none()
            && !(unknown && speaks_to(&job.spec))
            && admit::obstacle(state, job, &load, now).is_none();
        if open {
            load.add(job);
        }
        open
    });
    if first.is_empty() {
        return None;
    }
    // Deadlines of others bear on a job only where others wait for it.
    let chained = state.jobs.values().any(|job| !job.after.is_empty());
    let live = state.jobs.values().filter(|job| chained && !job.state.is_terminal());
    let deadlines = effective_deadlines(live, config.policy.changeover);
    let jobs = first.into_iter().map(|job| plan_job(state, job, &deadlines)).collect();
    let input = snapshot(state, config, jobs, &deadlines, now);
    let instant = state
        .pools
        .pools
        .values()
        .filter(|pool| pool.features.instant && pool.features.starts_workers && !pool.leaving);
    let returnable: BTreeSet<PoolName> = instant.map(|pool| pool.name.clone()).collect();
    let filled = spotwise_solver::fill(&input, state.seen.queue.guide(), &returnable);
    // Why the others wait, plans say.
    Some(Plan { waits: BTreeMap::new(), ..filled })
}
