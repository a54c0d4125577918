//! Jobs that are alike in all that a round looks at: they are valued once. The elements
//! of an array follow each other, so that only neighbours are compared.

use crate::statement::demand::JobDemand;
use crate::statement::input::PlanJob;

/// Which jobs are alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdenticalJobs {
    /// For each job the number of its class.
    class: Vec<usize>,
    /// For each class its first job.
    first: Vec<usize>,
}

/// Finds runs of like jobs.
pub(crate) fn find_identical(jobs: &[&PlanJob]) -> IdenticalJobs {
    let mut identical = IdenticalJobs::default();
    let mut before: Option<&PlanJob> = None;
    for (at, job) in jobs.iter().enumerate() {
        if !before.is_some_and(|before| alike(before, job)) {
            identical.first.push(at);
        }
        identical.class.push(identical.first.len() - 1);
        before = Some(job);
    }
    identical
}

impl IdenticalJobs {
    /// The first job of each class.
    pub(crate) fn leads(&self) -> impl Iterator<Item = usize> {
        self.first.iter().copied()
    }

    /// How many classes there are.
    pub(crate) const fn classes(&self) -> usize {
        self.first.len()
    }

    /// The class of a job.
    pub(crate) fn class_of(&self, at: usize) -> usize {
        self.class.get(at).copied().unwrap_or(usize::MAX)
    }

    /// Whether any two are alike.
    pub(crate) const fn any(&self) -> bool {
        self.first.len() < self.class.len()
    }

    /// One demand per job, from one per class.
    pub(crate) fn spread<'a>(
        &self,
        demands: &[JobDemand<'a>],
        jobs: &[&'a PlanJob],
    ) -> Vec<JobDemand<'a>> {
        let each = jobs.iter().zip(&self.class).enumerate();
        each.filter_map(|(number, (job, class))| Some(demands.get(*class)?.of(job, number)))
            .collect()
    }
}

/// Whether a round cannot tell two jobs apart but by their numbers.
fn alike(a: &PlanJob, b: &PlanJob) -> bool {
    let (one, two) = (&*a.spec, &*b.spec);
    a.submitted == b.submitted
        && a.deadline == b.deadline
        && a.saved == b.saved
        && a.measured == b.measured
        && a.budget_left == b.budget_left
        && a.worker_array == b.worker_array
        && a.barred == b.barred
        && (std::sync::Arc::ptr_eq(&a.spec, &b.spec)
            || (one.resources == two.resources
                && one.work == two.work
                && one.class == two.class
                && one.checkpoint == two.checkpoint
                && one.interruptible == two.interruptible
                && one.timeout == two.timeout
                && one.priority == two.priority
                && one.data == two.data))
}
