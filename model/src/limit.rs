//! Limits on the machines that are open at once: an account's quotas, what a market has
//! left for several pools together, what a pool's owner allows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Account, PoolName, Region};
use crate::money::Money;
use crate::offer::{CapacityType, MarketKey};

/// What is limited, over all machines that are open at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "limit", rename_all = "kebab-case")]
pub enum LimitKey {
    /// An account's quota in a region, in vCPUs: all pools of the account share it.
    Quota {
        /// The account.
        account: Account,
        /// The region.
        region: Region,
        /// The provider's name of the families that count: `G and VT`.
        family: String,
        /// Spot and on-demand have quotas of their own.
        capacity_type: CapacityType,
    },
    /// Machines that one market has left, over all pools that buy on it.
    Market(MarketKey),
    /// Machines of a pool.
    PoolMachines {
        /// The pool.
        pool: PoolName,
    },
    /// GPUs of a pool's machines.
    PoolGpus {
        /// The pool.
        pool: PoolName,
    },
    /// What a pool's machines cost an hour, in micro-dollars at today's prices.
    PoolSpend {
        /// The pool.
        pool: PoolName,
    },
}

impl LimitKey {
    /// The unit that it is counted in.
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Quota { .. } => "vCPUs",
            Self::Market(_) | Self::PoolMachines { .. } => "machines",
            Self::PoolGpus { .. } => "GPUs",
            Self::PoolSpend { .. } => "micro-dollars an hour",
        }
    }
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota { account, region, family, capacity_type } => {
                write!(f, "account {account}'s quota for {capacity_type} {family} in {region}")
            }
            Self::Market(market) => write!(f, "what the market has of {market}"),
            Self::PoolMachines { pool } => write!(f, "pool `{pool}`'s limit of machines"),
            Self::PoolGpus { pool } => write!(f, "pool `{pool}`'s limit of GPUs"),
            Self::PoolSpend { pool } => write!(f, "pool `{pool}`'s limit of cost per hour"),
        }
    }
}

/// How much of a limit is used, and how much there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// Which limit.
    pub key: LimitKey,
    /// Used by open machines, in the limit's unit; others' use counts.
    pub used: u64,
    /// The limit.
    pub of: u64,
}

impl LimitUse {
    /// What is left.
    pub const fn left(&self) -> u64 {
        self.of.saturating_sub(self.used)
    }

    /// That it allows no further machine that takes `needs`, or not as many of them as a
    /// job needs at once.
    pub fn reached(&self, needs: u64) -> String {
        let Self { key, used, of } = self;
        let [used_text, of_text, each] = [*used, *of, needs].map(|amount| self.amount(amount));
        let unit = match key {
            LimitKey::PoolSpend { .. } => "an hour",
            _ => key.unit(),
        };
        if needs <= self.left() {
            return format!(
                "{key} leaves too little for all its machines, {used_text} of {of_text} {unit} are \
                 used, and each machine takes {each}"
            );
        }
        match key {
            LimitKey::Market(_) => {
                format!("{key} is used up by our machines, {used_text} of {of_text} {unit}")
            }
            _ => format!(
                "{key} is used up, {used_text} of {of_text} {unit}, and one more machine takes {each}"
            ),
        }
    }

    /// That it never allows what a job needs at least: so many machines, each of which
    /// takes so much.
    pub fn never_allows(&self, nodes: u32, each: u64) -> String {
        let Self { key, of, .. } = self;
        let unit = match key {
            LimitKey::PoolSpend { .. } => "an hour",
            _ => key.unit(),
        };
        let all = self.amount(each.saturating_mul(u64::from(nodes)));
        let machines =
            if nodes == 1 { "one machine".to_owned() } else { format!("{nodes} machines") };
        format!("{key} is {} {unit}, and {machines} for it would take {all}", self.amount(*of))
    }

    /// An amount of its unit: dollars where that is micro-dollars.
    fn amount(&self, amount: u64) -> String {
        match self.key {
            LimitKey::PoolSpend { .. } => {
                Money::from_micros(i64::try_from(amount).unwrap_or(i64::MAX)).human()
            }
            _ => amount.to_string(),
        }
    }
}
