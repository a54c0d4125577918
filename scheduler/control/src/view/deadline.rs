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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spotwise_model::time::add;

    use super::*;
    use crate::fixture::{at, chained, state_of};

    const CHANGEOVER: Duration = Duration::from_secs(600);

    #[test]
    fn a_job_is_due_in_time_for_those_behind_it() {
        let jobs = [chained(1, 50, &[]), chained(2, 50, &[1]), chained(3, 10, &[2])];
        let state = state_of(jobs.into_iter().map(Into::into).collect());
        let due = |id| effective_deadline(&state, JobId(id), CHANGEOVER);
        let minutes = |hour, less: i64| add(at(hour), jiff::SignedDuration::from_mins(-less));
        assert_eq!(due(3), Some(at(10)));
        assert_eq!(due(2), Some(minutes(8, 10)), "two hours and a start before");
        assert_eq!(due(1), Some(minutes(6, 20)));
        assert_eq!(due(4), None, "not there");
    }

    proptest! {
        #[test]
        fn one_job_is_asked_for_as_all_are(
            links in proptest::collection::vec((0_i64..100, proptest::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..12),
        ) {
            let jobs = links.iter().enumerate().map(|(number, (due, parents))| {
                let parents = parents.iter().filter(|_| number > 0).map(|it| it.index(number) as u64 + 1);
                chained(number as u64 + 1, *due, &parents.collect::<Vec<_>>())
            });
            let state = state_of(jobs.map(Into::into).collect());
            let all = effective_deadlines(state.jobs.values(), CHANGEOVER);
            for (id, due) in all {
                prop_assert_eq!(effective_deadline(&state, id, CHANGEOVER), Some(due));
            }
        }
    }
}
