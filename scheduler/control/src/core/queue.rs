//! The waiting jobs as the last plan left them: jobs to fill freed room are taken from the
//! front.

use std::collections::{BTreeMap, VecDeque};

use spotwise_model::{Job, JobId, JobState, Plan};
use spotwise_solver::Guide;

/// This many jobs of the queue are considered at once, and this many of those that arrived
/// since: several times what is freed at any one time.
const LOOKED_AT: usize = 256;

/// What guides the rounds until the next plan.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Its order is kept apart.
    guide: Guide,
    order: VecDeque<JobId>,
    /// Whether there has been a plan.
    planned: bool,
    /// Jobs with higher numbers arrived later; 0 for none before.
    newest: u64,
}

impl Queue {
    /// Before the first plan of a memory that has read jobs up to this one: which of them
    /// goes first is unknown.
    pub fn unknown(newest: JobId) -> Self {
        Self { newest: newest.0, ..Self::default() }
    }

    /// The queue left by a plan that knew of jobs up to `newest`. A job that it places, but
    /// that then does not get the place, goes first.
    pub fn of(plan: &Plan, mut guide: Guide, newest: JobId) -> Self {
        let waiting = std::mem::take(&mut guide.order);
        let placed = plan.placements.iter().map(|placement| placement.job);
        Self { guide, order: placed.chain(waiting).collect(), planned: true, newest: newest.0 }
    }

    /// The prices, reasons and reservations of the plan.
    pub const fn guide(&self) -> &Guide {
        &self.guide
    }

    /// The first waiting jobs that satisfy `may`, at most this many; empty if others are
    /// waiting that no plan has ordered yet.
    pub fn first<'j>(
        &self,
        jobs: &'j BTreeMap<JobId, Job>,
        mut may: impl FnMut(&Job) -> bool,
    ) -> Vec<&'j Job> {
        let older = || jobs.range(..=JobId(self.newest)).any(|(_, job)| is_waiting(job));
        if !self.planned && older() {
            return Vec::new();
        }
        let queued = self.order.iter().filter_map(|id| jobs.get(id));
        let since = jobs.range(JobId(self.newest.saturating_add(1))..);
        let mut first: Vec<&Job> =
            queued.filter(|job| is_waiting(job) && may(job)).take(LOOKED_AT).collect();
        let later = since.map(|(_, job)| job).filter(|job| is_waiting(job) && may(job));
        first.extend(later.take(LOOKED_AT));
        first
    }

    /// Drops jobs at the front that no longer wait.
    pub(super) fn tidy(&mut self, jobs: &BTreeMap<JobId, Job>) {
        while let Some(first) = self.order.front()
            && !jobs.get(first).is_some_and(is_waiting)
        {
            self.order.pop_front();
        }
    }
}

fn is_waiting(job: &Job) -> bool {
    matches!(job.state, JobState::Waiting { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::job;

    fn jobs(ids: &[u64]) -> BTreeMap<JobId, Job> {
        ids.iter().map(|id| (JobId(*id), job(*id, "dev"))).collect()
    }

    fn first(queue: &Queue, jobs: &BTreeMap<JobId, Job>) -> Vec<u64> {
        queue.first(jobs, |_| true).iter().map(|job| job.id.0).collect()
    }

    #[test]
    fn the_plan_says_who_goes_first_and_who_came_later_goes_behind() {
        let waiting = jobs(&[1, 2, 3, 4, 5, 6]);
        let guide = Guide { order: [4, 1, 3].map(JobId).into(), ..Guide::default() };
        let mut queue = Queue::of(&Plan::empty(), guide, JobId(4));
        assert_eq!(first(&queue, &waiting), [4, 1, 3, 5, 6], "2 is held up by something");
        assert_eq!(queue.first(&waiting, |job| job.id.0 > 3).len(), 3);
        let left = jobs(&[3, 6]);
        queue.tidy(&left);
        assert_eq!(queue.order, [JobId(3)]);
        assert_eq!(first(&queue, &left), [3, 6]);
    }

    #[test]
    fn before_the_first_plan_nobody_overtakes_who_waited_before() {
        let queue = Queue::unknown(JobId(2));
        assert!(first(&queue, &jobs(&[2, 3])).is_empty());
        assert_eq!(first(&queue, &jobs(&[3, 4])), [3, 4]);
    }
}
