//! Attempts by id and by machine: looking at one machine must not mean looking at every
//! attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use spotwise_model::{Attempt, AttemptId, InstanceId};

/// Unsettled attempts. Read like the map from id to attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempts {
    by_id: BTreeMap<AttemptId, Attempt>,
    on: BTreeMap<InstanceId, BTreeSet<AttemptId>>,
}

impl Deref for Attempts {
    type Target = BTreeMap<AttemptId, Attempt>;

    fn deref(&self) -> &Self::Target {
        &self.by_id
    }
}

impl Attempts {
    /// Adds an attempt, or replaces its earlier value.
    pub fn insert(&mut self, attempt: Attempt) {
        let id = attempt.id;
        let machines = attempt.instances.clone();
        let before = self.by_id.insert(id, attempt);
        if before.as_ref().is_some_and(|before| before.instances == machines) {
            return;
        }
        if let Some(before) = before {
            self.leave(&before);
        }
        for machine in machines {
            self.on.entry(machine).or_default().insert(id);
        }
    }

    /// Drops every attempt that is no longer wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Attempt) -> bool) {
        let gone: Vec<AttemptId> =
            self.by_id.values().filter(|attempt| !wanted(attempt)).map(|a| a.id).collect();
        for id in gone {
            if let Some(attempt) = self.by_id.remove(&id) {
                self.leave(&attempt);
            }
        }
    }

    /// The attempts on a machine, oldest job first.
    pub fn on(&self, machine: InstanceId) -> impl Iterator<Item = &Attempt> {
        self.on.get(&machine).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }

    fn leave(&mut self, attempt: &Attempt) {
        for machine in &attempt.instances {
            let Some(on) = self.on.get_mut(machine) else { continue };
            on.remove(&attempt.id);
            if on.is_empty() {
                self.on.remove(machine);
            }
        }
    }
}

/// For tests that set a scene; machines stay as they are.
#[cfg(test)]
impl Attempts {
    pub(crate) fn get_mut(&mut self, id: &AttemptId) -> Option<&mut Attempt> {
        self.by_id.get_mut(id)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Attempt> {
        self.by_id.values_mut()
    }
}

impl Extend<Attempt> for Attempts {
    fn extend<I: IntoIterator<Item = Attempt>>(&mut self, attempts: I) {
        attempts.into_iter().for_each(|attempt| self.insert(attempt));
    }
}

impl FromIterator<Attempt> for Attempts {
    fn from_iter<I: IntoIterator<Item = Attempt>>(attempts: I) -> Self {
        let mut all = Self::default();
        all.extend(attempts);
        all
    }
}
