//! What a simulated account is.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::CapacityType;
use spotwise_model::id::{Account, InstanceType, Region};

use crate::behaviour::Behaviour;

/// An account in a region.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudSpec {
    /// The account that is billed.
    pub account: Account,
    /// The region.
    pub region: Region,
    /// vCPUs of each machine type that is sold; a launch of any other is unsupported.
    pub vcpus: BTreeMap<InstanceType, u64>,
    /// The account's quotas. The first that a machine belongs to counts it; one that
    /// belongs to none is not limited.
    pub quotas: Vec<QuotaSpec>,
    /// How calls are limited.
    pub buckets: Buckets,
    /// How use is billed.
    pub billing: Billing,
    /// How it behaves, and misbehaves.
    pub behaviour: Behaviour,
}

/// A quota in vCPUs over the open machines of some families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSpec {
    /// The provider's name of the families: `G and VT`.
    pub family: String,
    /// What the names of its machine types begin with: `g5.`, or a whole name.
    pub prefixes: Vec<String>,
    /// Spot and on-demand have quotas of their own; reserved machines count as on-demand.
    pub capacity_type: CapacityType,
    /// The quota.
    pub vcpus: u64,
}

impl QuotaSpec {
    /// Whether it counts machines of this type, bought this way.
    pub fn counts(&self, instance_type: &InstanceType, capacity_type: CapacityType) -> bool {
        let spot = |capacity_type| capacity_type == CapacityType::Spot;
        spot(self.capacity_type) == spot(capacity_type)
            && self.prefixes.iter().any(|prefix| instance_type.as_str().starts_with(prefix))
    }
}

/// How use is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billing {
    /// Every machine is billed for at least this long.
    pub minimum: Duration,
    /// A spot machine that the provider ends earlier than this is free.
    pub waiver: Duration,
}

impl Default for Billing {
    /// EC2's for Linux: a minute, and an hour.
    fn default() -> Self {
        Self { minimum: Duration::from_secs(60), waiver: Duration::from_secs(3_600) }
    }
}

/// A token bucket: so many calls at once, and so many more a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Calls that a full bucket allows.
    pub capacity: u32,
    /// Calls a second (of market time) that it is filled by.
    pub per_second: u32,
}

/// The limits of calls, one for each action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Launches.
    pub launch: Bucket,
    /// Terminations.
    pub terminate: Bucket,
    /// Pages of listings.
    pub list: Bucket,
    /// Questions for quotas.
    pub quotas: Bucket,
}

impl Default for Buckets {
    /// EC2's for fleets, terminations and filtered listings; Service Quotas' own are not
    /// documented.
    fn default() -> Self {
        let bucket = |capacity, per_second| Bucket { capacity, per_second };
        Self {
            launch: bucket(50, 5),
            terminate: bucket(100, 5),
            list: bucket(100, 20),
            quotas: bucket(10, 5),
        }
    }
}
