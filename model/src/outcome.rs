//! How commands and attempts end, in one word each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stop::StopReason;
use crate::time::Now;

/// Exit code of a command that saved its state and asks to be run again
/// (`EX_TEMPFAIL` of sysexits.h).
pub const EXIT_REQUEUE: i32 = 75;

/// What a command had been told by its worker while it was still alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// The worker does not say: it is too old to report this, or is gone.
    #[default]
    Unknown,
    /// Nothing: it ended by itself.
    Nothing,
    /// That its machine is being taken back, by file or by SIGUSR1; not yet to stop.
    Notice,
    /// To stop, by SIGTERM or SIGKILL.
    Stop,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// It was ended by a signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The command returned 0 on every node.
    Succeeded,
    /// The command failed by itself.
    Failed {
        /// How.
        exit: Exit,
    },
    /// The command saved its state and asked to be run again (exit code 75).
    Requeued,
    /// The provider took the capacity back.
    Interrupted,
    /// We stopped it.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// The worker disappeared without a report.
    Lost,
    /// The capacity could not be launched, or the worker could not start.
    LaunchFailed {
        /// What the pool or the worker said.
        error: String,
    },
}

impl Outcome {
    /// A one-word name for tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Requeued => "requeued",
            Self::Interrupted => "interrupted",
            Self::Stopped { reason: StopReason::Cancelled } => "cancelled",
            Self::Stopped { reason: StopReason::Budget } => "over budget",
            Self::Stopped { reason: StopReason::TimedOut } => "timed out",
            Self::Stopped { reason: StopReason::Moved } => "moved",
            Self::Stopped { reason: StopReason::Interrupted } => "interrupted",
            Self::Stopped { reason: StopReason::GangBroken } => "gang broken",
            Self::Lost => "lost",
            Self::LaunchFailed { .. } => "launch failed",
        }
    }
}

/// How one command of an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandEnd {
    /// When.
    pub at: Now,
    /// How.
    pub exit: Exit,
    /// What it had been told by then.
    pub told: Told,
}
