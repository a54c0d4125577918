//! Capacity that is paid for whether it is used or not: reserved instances,
//! savings plans.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{InstanceType, Zone};
use crate::money::Price;

/// The charge dimension that names the commitment which paid for the hours.
pub const DIMENSION: &str = "commitment";

/// A number of machines of one type in one zone, paid for over a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Its name for people; unique among commitments at any time.
    pub name: String,
    /// The machine type.
    pub instance_type: InstanceType,
    /// The zone.
    pub zone: Zone,
    /// The number of machines, at least one.
    pub machines: u32,
    /// The effective price of one machine: upfront fees spread over the hours.
    pub price: Price,
    /// The start (market time).
    pub from: Timestamp,
    /// The end, exclusive.
    pub until: Timestamp,
}

impl Commitment {
    /// Whether its machines are paid for at time `at`.
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// Machine-seconds that it pays for within a period, in whole seconds.
    pub fn machine_seconds(&self, from: Timestamp, to: Timestamp) -> u64 {
        let (from, to) = (self.from.max(from), self.until.min(to));
        let span = to.as_second().saturating_sub(from.as_second());
        u64::try_from(span).unwrap_or(0).saturating_mul(u64::from(self.machines))
    }
}

/// What remains of one of the commitments behind an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidFor {
    /// The commitment's name.
    pub commitment: String,
    /// Its price per machine.
    pub price: Price,
    /// The end, exclusive.
    pub until: Timestamp,
    /// Unused machines.
    pub free: u32,
}

/// A period of a machine's life that a commitment pays for; outside its covered spans a
/// machine is billed on demand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoveredSpan {
    /// The commitment's name.
    pub commitment: String,
    /// The price of the machine's hours.
    pub price: Price,
    /// The start (market time).
    pub from: Timestamp,
    /// The first moment billed on demand again, if the machine is still alive.
    pub until: Timestamp,
}

impl CoveredSpan {
    /// Whether it pays for anything: bills count whole seconds.
    pub fn pays(&self) -> bool {
        self.from.as_second() < self.until.as_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_counted_within_the_span_only() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let commitment = Commitment {
            name: "research-a".to_owned(),
            instance_type: InstanceType::new("p3.2xlarge"),
            zone: Zone::new("us-east-1a"),
            machines: 3,
            price: Price::from_micros_per_hour(1),
            from: at(100),
            until: at(200),
        };
        assert_eq!(commitment.machine_seconds(at(0), at(1_000)), 300);
        assert_eq!(commitment.machine_seconds(at(150), at(160)), 30);
        assert_eq!(commitment.machine_seconds(at(200), at(300)), 0);
        assert_eq!(commitment.machine_seconds(at(0), at(100)), 0);
        assert!(commitment.is_active(at(100)) && commitment.is_active(at(199)));
        assert!(!commitment.is_active(at(99)) && !commitment.is_active(at(200)));
    }
}
