//! What a job waits for: the jobs that must end first, each in its own way.

use std::collections::BTreeSet;

use super::Job;
use crate::dependency::{Condition, Ending, Unmet};
use crate::id::JobId;

impl Job {
    /// How a job that it waits for must end.
    pub fn condition(&self, parent: JobId) -> Condition {
        self.on.get(&parent).copied().unwrap_or_default()
    }

    /// The jobs that still keep it from running; `ending` tells how those that ended did
    /// so.
    pub fn open(&self, ending: impl Fn(JobId) -> Option<Ending>) -> Vec<(JobId, Condition)> {
        let may_fail = self.may_fail(&ending);
        let is_open = |id: JobId| match (ending(id), self.one_of.get(&id)) {
            (None, _) => true,
            (Some(it), None) => !self.condition(id).is_met_by(it),
            (Some(_), Some(array)) => !may_fail.contains(array),
        };
        // All elements of an array end before it is known that none has failed.
        let condition = |id: JobId| match self.one_of.contains_key(&id) {
            true => Condition::Ended,
            false => self.condition(id),
        };
        let open = self.after.iter().copied().filter(|id| is_open(*id));
        open.map(|id| (id, condition(id))).collect()
    }

    /// A condition that can no longer be met, preferring a real failure to one that is
    /// merely not needed.
    pub fn unmet(&self, ending: impl Fn(JobId) -> Option<Ending>) -> Option<Unmet> {
        let may_fail = self.may_fail(&ending);
        let never = self.after.iter().filter_map(|id| {
            let (on, ended) = (self.condition(*id), ending(*id)?);
            let saved = self.one_of.get(id).is_some_and(|array| may_fail.contains(array));
            (!saved && !on.is_met_by(ended)).then_some(Unmet { job: *id, on, ended })
        });
        never.min_by_key(|unmet| unmet.ended.is_good())
    }

    /// The arrays of `one_of` with an element that has failed, or may yet fail.
    fn may_fail(&self, ending: &impl Fn(JobId) -> Option<Ending>) -> BTreeSet<JobId> {
        let may = |id: JobId| ending(id).is_none_or(|it| self.condition(id).is_met_by(it));
        self.one_of.iter().filter(|(id, _)| may(**id)).map(|(_, array)| *array).collect()
    }

    /// The jobs to which its deadline applies too.
    pub fn hurries(&self) -> Vec<JobId> {
        self.after.iter().copied().filter(|id| self.condition(*id).hurries()).collect()
    }
}
