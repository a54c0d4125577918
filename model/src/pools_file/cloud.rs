//! How a simulated cloud behaves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The behaviour of the simulated cloud of one account. Its machines, prices and capacity
/// come from the market; this is what a provider adds to them. Times are market time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudOptions {
    /// The seed of all chance: the same seed and the same calls give the same answers.
    pub seed: u64,
    /// From the launch of a machine to the moment it runs, when its bill begins.
    pub boot: TimeRange,
    /// From the moment a machine runs to its registration.
    pub registration: TimeRange,
    /// From the order to end a machine to the end of its bill.
    pub terminate: TimeRange,
    /// How long a call takes to answer.
    pub answers: TimeRange,
    /// Calls that are answered in a second, in the long run; more are throttled.
    pub calls_per_second: u32,
    /// Calls that are answered at once after a quiet time, before that rate counts.
    pub call_burst: u32,
    /// How old what a listing shows is.
    pub list_lag: TimeRange,
    /// A launch is refused for want of capacity, although the market has some.
    pub no_capacity: Chance,
    /// A machine runs, is billed, and never registers.
    pub never_registers: Chance,
    /// A call is carried out and its answer is lost.
    pub lost_answers: Chance,
    /// A machine is taken back without the notice before.
    pub no_notice: Chance,
    /// A spot machine is said to be at risk (a rebalance recommendation) in an hour in which
    /// nothing becomes of it.
    pub rebalance_rumours: Chance,
    /// vCPUs that somebody else uses of each quota of the account.
    pub foreign_vcpus: u64,
}

impl Default for CloudOptions {
    /// A quiet day: no faults, and the times that EC2 usually takes.
    fn default() -> Self {
        let seconds = |least, most| TimeRange {
            least: Duration::from_secs(least),
            most: Duration::from_secs(most),
        };
        Self {
            seed: 0,
            boot: seconds(20, 60),
            registration: seconds(10, 60),
            terminate: seconds(30, 30),
            answers: TimeRange { least: Duration::from_millis(100), most: Duration::from_secs(1) },
            calls_per_second: 5,
            call_burst: 100,
            list_lag: seconds(0, 10),
            no_capacity: Chance::NEVER,
            never_registers: Chance::NEVER,
            lost_answers: Chance::NEVER,
            no_notice: Chance::NEVER,
            rebalance_rumours: Chance::NEVER,
            foreign_vcpus: 0,
        }
    }
}

/// A time between two, each length as likely as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// At least.
    pub least: Duration,
    /// At most; not below `least`.
    pub most: Duration,
}

/// A probability, in whole millionths: at most 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "u32")]
pub struct Chance(u32);

impl From<u32> for Chance {
    fn from(millionths: u32) -> Self {
        Self::from_millionths(millionths)
    }
}

impl Chance {
    /// It does not happen.
    pub const NEVER: Self = Self(0);

    /// From millionths; more than all of them is all of them.
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(if millionths > 1_000_000 { 1_000_000 } else { millionths })
    }

    /// In millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// Between 0 and 1.
    pub fn probability(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}
