//! Room that is kept in a round for jobs that go before others, as [`reserve`] finds
//! it.
//!
//! [`reserve`]: crate::reserve

use spotwise_model::{InstanceId, JobId, Share};

use crate::statement::ends::{Leaving, SAME};

/// Room that is kept for a job.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Which demand; none of them for a job that is not in the round.
    pub(crate) number: usize,
    pub(crate) job: JobId,
    pub(crate) listing: usize,
    pub(crate) share: Share,
    pub(crate) nodes: u32,
    /// Hours from now to its start, and until it is gone at the latest.
    pub(crate) from: f64,
    pub(crate) until: f64,
    /// Places of running machines in the listing, and how many are not open yet.
    pub(crate) machines: Vec<usize>,
    pub(crate) fresh: u32,
    pub(crate) by_choice: bool,
    pub(crate) behind: Vec<JobId>,
}

impl Kept {
    pub(crate) fn is_active(&self, hour: f64) -> bool {
        self.from <= hour + SAME && self.until > hour + SAME
    }
}

/// What is kept in a round, and who leaves when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reserved<'a> {
    pub(crate) kept: Vec<Kept>,
    pub(crate) leaving: Vec<Leaving<'a>>,
}

impl<'a> Reserved<'a> {
    /// The reservation of a demand.
    pub(crate) fn of(&self, number: usize) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.number == number)
    }

    /// Who runs on a machine, the first to end first.
    pub(crate) fn on(&self, machine: InstanceId) -> impl Iterator<Item = &Leaving<'a>> {
        self.leaving.iter().filter(move |leaving| leaving.is_on(machine))
    }
}
