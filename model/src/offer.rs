//! Capacity that can be bought now.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commitment::PaidFor;
use crate::id::{Account, InstanceType, PoolName, Region, Zone};
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

/// One market of a provider: what has one price, one supply and one risk of interruption,
/// however many pools buy from it. Prices, spells, forecasts, quotas, refusals and
/// commitments belong to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "MarketKeyDocument")]
pub struct MarketKey {
    /// The account that is billed.
    pub account: Account,
    /// The region.
    pub region: Region,
    /// The zone.
    pub zone: Zone,
    /// The machine type.
    pub instance_type: InstanceType,
    /// Spot, on-demand or reserved.
    pub capacity_type: CapacityType,
}

/// A market key as it is stored: documents of earlier versions have neither account nor
/// region.
#[derive(Deserialize)]
struct MarketKeyDocument {
    account: Option<Account>,
    region: Option<Region>,
    zone: Zone,
    instance_type: InstanceType,
    capacity_type: CapacityType,
}

impl From<MarketKeyDocument> for MarketKey {
    fn from(it: MarketKeyDocument) -> Self {
        let recorded = Self::recorded(it.zone, it.instance_type, it.capacity_type);
        Self {
            account: it.account.unwrap_or(recorded.account),
            region: it.region.unwrap_or(recorded.region),
            ..recorded
        }
    }
}

impl MarketKey {
    /// A market known by its zone alone, as recordings are: of no account, in the region
    /// that the zone's name tells.
    pub fn recorded(zone: Zone, instance_type: InstanceType, capacity_type: CapacityType) -> Self {
        let region = Region::new(zone.region());
        Self { account: Account::local(), region, zone, instance_type, capacity_type }
    }

    /// The market on which these machines are bought: what a commitment pays for is bought
    /// on demand.
    #[must_use]
    pub fn as_bought(&self) -> Self {
        let capacity_type = match self.capacity_type {
            CapacityType::Reserved => CapacityType::OnDemand,
            other => other,
        };
        Self { capacity_type, ..self.clone() }
    }
}

impl fmt::Display for MarketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.capacity_type, self.instance_type, self.zone)
    }
}

/// Identifies an offer: a market, and the pool that buys from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfferKey {
    /// The pool that launches it.
    pub pool: PoolName,
    /// The market that it is bought on.
    #[serde(flatten)]
    pub market: MarketKey,
}

impl OfferKey {
    /// What a pool offers of a market known by its zone alone.
    pub fn recorded(
        pool: PoolName,
        zone: Zone,
        instance_type: InstanceType,
        capacity_type: CapacityType,
    ) -> Self {
        Self { pool, market: MarketKey::recorded(zone, instance_type, capacity_type) }
    }
}

impl fmt::Display for OfferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.market.fmt(f)
    }
}

/// How many machines of an offer may be asked for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supply {
    /// The market shows that it has so many, not counting those we hold.
    Counted(u32),
    /// Nobody says how many there are: what is asked for may be refused.
    Unknown {
        /// So many may be asked for, until they are answered.
        tries: u32,
    },
}

impl Supply {
    /// Machines that may be asked for now.
    pub const fn machines(self) -> u32 {
        match self {
            Self::Counted(free) => free,
            Self::Unknown { tries } => tries,
        }
    }

    /// How many there are, where somebody says so.
    pub const fn counted(self) -> Option<u32> {
        match self {
            Self::Counted(free) => Some(free),
            Self::Unknown { .. } => None,
        }
    }
}

impl From<u32> for Supply {
    fn from(free: u32) -> Self {
        Self::Counted(free)
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
    pub free: Supply,
    /// Since when the capacity has been available (or gone, if `free` is 0 and the market
    /// says so); where nobody says, since when we have held a machine there, or have had
    /// none.
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
