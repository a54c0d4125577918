//! What the operator sets: class priors, default changeover, safety margins.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::Class;

/// The operator's settings that choices depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Time from launch to the first useful step where an offer does not say.
    pub changeover: Duration,
    /// Kept free before the latest start on on-demand, on top of two
    /// changeovers: it covers the length of a planning round.
    pub deadline_margin: Duration,
    /// A spot machine taken back by its provider within this time is free.
    pub interruption_waiver: Duration,
    /// The provider bills at least this long.
    pub minimum_billed: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            changeover: Duration::from_secs(300),
            deadline_margin: Duration::from_secs(300),
            interruption_waiver: Duration::from_secs(3_600),
            minimum_billed: Duration::from_secs(60),
        }
    }
}

impl Class {
    /// Expected duration of a job that does not state one, until progress has
    /// been reported. Our own choice: it only has to be in the right decade.
    pub const fn prior_duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Training => 4 * 3_600,
            Self::Critical => 2 * 3_600,
            Self::Inference | Self::Dev => 3_600,
        })
    }
}
