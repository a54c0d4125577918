//! What jobs have left outside of the database: all that tells of them where an
//! older database was restored.

use std::collections::BTreeMap;

use spotwise_model::JobId;

/// The jobs that left anything, each with its highest attempt that did; 0 where
/// none did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers(BTreeMap<JobId, u32>);

impl Leftovers {
    /// A job, or an attempt of it, has left something.
    pub fn note(&mut self, job: JobId, attempt: u32) {
        let highest = self.0.entry(job).or_default();
        *highest = attempt.max(*highest);
    }

    /// The highest number of a job; 0 for none.
    pub fn last_job(&self) -> u64 {
        self.0.keys().next_back().map_or(0, |job| job.0)
    }

    /// The highest attempt of a job; 0 for none.
    pub fn attempts(&self, job: JobId) -> u32 {
        self.0.get(&job).copied().unwrap_or(0)
    }
}
