//! What jobs have left outside the database: all that is known of them when an older
//! database has been restored.

use std::collections::BTreeMap;

use spotwise_model::JobId;

/// The jobs that left anything, each with its highest attempt that did; 0 if none did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers(BTreeMap<JobId, u32>);

impl Leftovers {
    /// A job, or an attempt of it, has left something.
    pub fn note(&mut self, job: JobId, attempt: u32) {
        let highest = self.0.entry(job).or_default();
        *highest = attempt.max(*highest);
    }

    /// The highest job number; 0 for none.
    pub fn last_job(&self) -> u64 {
        self.0.keys().next_back().map_or(0, |job| job.0)
    }

    /// The highest attempt of a job; 0 for none.
    pub fn attempts(&self, job: JobId) -> u32 {
        self.0.get(&job).copied().unwrap_or(0)
    }
}
