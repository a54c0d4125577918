//! Capacity that can be bought now.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commitment::PaidFor;
use crate::id::{InstanceType, PoolName, Zone};
use crate::money::Price;
use crate::resources::NodeShape;

/// How capacity is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityType {
    /// Cheap, and may be taken back.
    Spot,
    /// Expensive, and ours until we stop it.
    OnDemand,
    /// Already paid for.
    Reserved,
}

impl fmt::Display for CapacityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
            Self::Reserved => "reserved",
        })
    }
}

/// Identifies an offer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfferKey {
    /// The pool that launches it.
    pub pool: PoolName,
    /// The zone.
    pub zone: Zone,
    /// The machine type.
    pub instance_type: InstanceType,
    /// Spot, on-demand or reserved.
    pub capacity_type: CapacityType,
}

impl fmt::Display for OfferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.capacity_type, self.instance_type, self.zone)
    }
}

/// Pool x zone x machine type x capacity type, with its price and how much is available
/// now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Its key.
    pub key: OfferKey,
    /// What one machine has.
    pub shape: NodeShape,
    /// What one machine costs now.
    pub price: Price,
    /// What the same machine costs on demand: the counterfactual of savings.
    pub on_demand: Price,
    /// Machines that can be launched now, not counting those we hold.
    pub free: u32,
    /// Since when the capacity has been available (or gone, if `free` is 0 and the market
    /// says so).
    pub spell_since: Timestamp,
    /// Expected interruptions per machine-hour; 0 for on-demand. A statistic:
    /// a float is right here.
    pub hazard_per_hour: f64,
    /// Time from launch to the first useful step: boot, pull, restore.
    pub changeover: Duration,
    /// The commitments behind reserved capacity, in the order in which their machines are
    /// given out; empty for bought capacity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paid_for: Vec<PaidFor>,
}

impl Offer {
    /// Until when a machine given out now is paid for: the earliest end among the
    /// commitments with a machine left, or among all if none has one. `None` for bought
    /// capacity.
    pub fn paid_until(&self) -> Option<Timestamp> {
        let free = self.paid_for.iter().filter(|paid| paid.free > 0).map(|paid| paid.until).min();
        free.or_else(|| self.paid_for.iter().map(|paid| paid.until).min())
    }
}
