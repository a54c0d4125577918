//! How far a job is, and the checkpoints that preserve its progress.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::AttemptId;

/// How far a job is. Fractions are parts per million, so that no float enters the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Fraction of the work done, in parts per million (at most 1,000,000).
    pub done_ppm: u32,
    /// The step that the command reported, if it reports steps.
    pub step: Option<u64>,
    /// The last step, if known.
    pub total_steps: Option<u64>,
}

impl Progress {
    /// All of the work.
    pub const WHOLE: u32 = 1_000_000;

    /// From a reported step; a step beyond the total counts as all of it.
    pub fn of_step(step: u64, total_steps: Option<u64>) -> Self {
        let done_ppm = match total_steps {
            Some(total) if total > 0 => {
                let ppm = u128::from(step) * u128::from(Self::WHOLE) / u128::from(total);
                u32::try_from(ppm).unwrap_or(Self::WHOLE).min(Self::WHOLE)
            }
            _ => 0,
        };
        Self { done_ppm, step: Some(step), total_steps }
    }

    /// The part of `whole` that remains to be done.
    pub fn left_of(&self, whole: Duration) -> Duration {
        let left = u128::from(Self::WHOLE.saturating_sub(self.done_ppm));
        let millis = whole.as_millis() * left / u128::from(Self::WHOLE);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// A verified checkpoint in the checkpoint store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRef {
    /// The attempt that wrote it.
    pub attempt: AttemptId,
    /// Its number within the attempt, from 1.
    pub sequence: u32,
    /// How far the job was.
    pub progress: Progress,
    /// Total size of all shards.
    pub bytes: u64,
    /// When it was committed (market time).
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_bounded() {
        assert_eq!(Progress::of_step(50, Some(200)).done_ppm, 250_000);
        assert_eq!(Progress::of_step(u64::MAX, Some(1)).done_ppm, 1_000_000);
        assert_eq!(Progress::of_step(5, None).done_ppm, 0);
        let quarter = Progress::of_step(1, Some(4));
        assert_eq!(quarter.left_of(Duration::from_secs(400)), Duration::from_secs(300));
    }
}
