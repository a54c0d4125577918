//! How long a job's work takes, before anything is measured.

use std::time::Duration;

use super::{JobSpec, Work};
use crate::id::Accelerator;

impl JobSpec {
    /// Duration of the whole work on `accelerator`, before anything is measured.
    pub fn expected_duration(&self, accelerator: Option<&Accelerator>) -> Duration {
        match &self.work {
            Work::Unknown => self.class.prior_duration(),
            Work::Duration { default, by_accelerator } => accelerator
                .and_then(|a| by_accelerator.get(a))
                .or(default.as_ref())
                .or_else(|| by_accelerator.values().max())
                .copied()
                .unwrap_or(self.class.prior_duration()),
            Work::Steps { total, steps_per_hour, by_accelerator } => {
                let rate = accelerator
                    .and_then(|a| by_accelerator.get(a))
                    .or(steps_per_hour.as_ref())
                    .or_else(|| by_accelerator.values().min());
                match rate {
                    Some(rate) if *rate > 0 => {
                        let millis = u128::from(*total) * 3_600_000 / u128::from(*rate);
                        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
                    }
                    _ => self.class.prior_duration(),
                }
            }
        }
    }

    /// The shortest duration of the whole work on anything that it may run on, according to
    /// the spec; zero if it states none.
    pub fn shortest_known_duration(&self) -> Duration {
        if matches!(self.work, Work::Unknown) {
            return Duration::ZERO;
        }
        let named = self.named_accelerators().into_iter().map(|a| self.expected_duration(Some(a)));
        named.chain([self.expected_duration(None)]).min().unwrap_or_default()
    }

    /// The accelerators for which the spec states a duration or a rate.
    pub(crate) fn named_accelerators(&self) -> Vec<&Accelerator> {
        match &self.work {
            Work::Unknown => Vec::new(),
            Work::Duration { by_accelerator, .. } => by_accelerator.keys().collect(),
            Work::Steps { by_accelerator, .. } => by_accelerator.keys().collect(),
        }
    }

    /// The longest expected duration over everything the job may run on: the
    /// base of a derived deadline.
    pub fn longest_expected_duration(&self) -> Duration {
        self.named_accelerators()
            .into_iter()
            .map(|a| self.expected_duration(Some(a)))
            .chain([self.expected_duration(None)])
            .max()
            .unwrap_or(self.class.prior_duration())
    }
}
