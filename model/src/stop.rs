//! Why and when an attempt must end before its command finishes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::time::Now;

/// Why we ended an attempt ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// Its owner cancelled the job.
    Cancelled,
    /// The job's budget is used up.
    Budget,
    /// It ran longer than its `timeout`.
    TimedOut,
    /// The planner is moving it to another offer.
    Moved,
    /// The provider is taking its capacity back.
    Interrupted,
    /// Another member of its gang is gone.
    GangBroken,
}

impl StopReason {
    /// Whether an order for this reason replaces a standing one. An attempt on notice keeps
    /// working until its machine goes, and one that moves or whose gang is broken may be
    /// waited for until its lease expires: neither may spend beyond its budget or after its
    /// owner has cancelled.
    pub const fn overrides(self, standing: Self) -> bool {
        match standing {
            Self::Interrupted => matches!(self, Self::Cancelled | Self::TimedOut | Self::Budget),
            Self::Moved | Self::GangBroken => matches!(self, Self::Cancelled | Self::Budget),
            Self::Cancelled | Self::TimedOut | Self::Budget => false,
        }
    }
}

/// Who gets SIGTERM when a command has to stop. SIGKILL goes to all in any case.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SignalTo {
    /// Every process of the command's group, as Slurm and a terminal do it.
    #[default]
    Group,
    /// The command's first process alone, as Kubernetes does it: it ends its own.
    Main,
}

impl SignalTo {
    /// As written in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Main => "main",
        }
    }
}

/// A durable order to end an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// Why.
    pub reason: StopReason,
    /// When it was given.
    pub at: Now,
    /// Wall time at which the capacity is gone, if the provider sets one.
    pub reclaim_wall: Option<Timestamp>,
}

/// How long the budget pays for an attempt at today's price. Its workers know it and stop
/// by themselves unless told a later time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetCutoff {
    /// Wall time at which a worker begins to stop its command.
    #[serde(rename = "burns")]
    pub stop_at: Timestamp,
    /// By then nothing of it is running: the grace and the last save have ended.
    #[serde(rename = "over")]
    pub gone_by: Now,
}

impl BudgetCutoff {
    /// When something ended whose end is only known now: unreported in time, it had stopped
    /// by itself.
    pub fn end_by(self, now: Now) -> Now {
        now.min(self.gone_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [StopReason; 6] = [
        StopReason::Cancelled,
        StopReason::Budget,
        StopReason::TimedOut,
        StopReason::Moved,
        StopReason::Interrupted,
        StopReason::GangBroken,
    ];

    #[test]
    fn no_two_orders_take_each_others_place() {
        for one in ALL {
            for other in ALL {
                assert!(!(one.overrides(other) && other.overrides(one)), "{one:?} {other:?}");
            }
            assert!(!one.overrides(one), "repeating an order changes nothing: {one:?}");
        }
    }

    #[test]
    fn a_budget_ends_what_would_go_on_and_leaves_what_ends_anyway() {
        let overridden = ALL.into_iter().filter(|standing| StopReason::Budget.overrides(*standing));
        let expected = [StopReason::Moved, StopReason::Interrupted, StopReason::GangBroken];
        assert_eq!(overridden.collect::<Vec<_>>(), expected);
    }
}
