//! One machine (or local slot) that we pay for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commitment::CoveredSpan;
use crate::id::InstanceId;
use crate::money::Price;
use crate::offer::{CapacityType, OfferKey};
use crate::resources::NodeShape;

/// Who ended an instance, which determines what the provider bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// We stopped it.
    Us,
    /// The provider took it back.
    Provider,
}

/// An availability zone, such as `us-east-1a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum InstanceState {
    /// Committed to, and billed from `since` (market time).
    Live {
        /// When it was bought.
        since: Timestamp,
    },
    /// The provider has announced that it will take it back.
    Noticed {
        /// When it was bought.
        since: Timestamp,
        /// When the notice came (market time).
        at: Timestamp,
        /// When the capacity will be gone (market time).
        reclaim_at: Timestamp,
    },
    /// Gone.
    Ended {
        /// When it was bought.
        since: Timestamp,
        /// When it ended (market time).
        at: Timestamp,
        /// Who ended it.
        by: EndedBy,
        /// Whether its charges are in the ledger.
        settled: bool,
    },
}

/// A transition that the life cycle of an instance does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an instance that is {from} cannot become {to}")]
pub struct InvalidTransition {
    from: &'static str,
    to: &'static str,
}

impl InstanceState {
    /// A one-word name for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Live { .. } => "live",
            Self::Noticed { .. } => "noticed",
            Self::Ended { settled: false, .. } => "ended",
            Self::Ended { settled: true, .. } => "settled",
        }
    }
}

/// One machine of an offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// What was bought. One that a commitment pays for is reserved; when the commitment
    /// ends, it continues as on-demand.
    pub offer: OfferKey,
    /// What it has.
    pub shape: NodeShape,
    /// The price at launch; charges follow the market's price segments.
    pub launch_price: Price,
    /// The on-demand price of the same type at launch.
    pub on_demand: Price,
    /// Its state.
    pub state: InstanceState,
    /// The spans that commitments have paid for, in order and without overlap.
    #[serde(default, rename = "stints", skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<CoveredSpan>,
}

impl Instance {
    /// When it was bought (market time).
    pub const fn since(&self) -> Timestamp {
        match self.state {
            InstanceState::Live { since }
            | InstanceState::Noticed { since, .. }
            | InstanceState::Ended { since, .. } => since,
        }
    }

    /// The covered span that pays for it now; `None` if it is billed by itself.
    pub fn covered(&self) -> Option<&CoveredSpan> {
        let reserved = self.offer.market.capacity_type == CapacityType::Reserved;
        self.coverage.last().filter(|_| reserved)
    }

    /// Starts a covered span at `from`; one that already pays continues unchanged.
    #[must_use]
    pub fn with_coverage(mut self, covered: CoveredSpan) -> Self {
        if self.covered().is_none() {
            self.offer.market.capacity_type = CapacityType::Reserved;
            self.coverage.push(covered);
        }
        self
    }

    /// Sets the end of its covered span, and closes the span if that end is not after
    /// `now`. The past is left unchanged.
    #[must_use]
    pub fn paid_until(mut self, until: Timestamp, now: Timestamp) -> Self {
        if self.offer.market.capacity_type != CapacityType::Reserved {
            return self;
        }
        match self.coverage.last_mut() {
            Some(covered) if covered.until > now => covered.until = until.max(now),
            _ => {}
        }
        if self.coverage.last().is_none_or(|covered| covered.until <= now) {
            self.offer.market.capacity_type = CapacityType::OnDemand;
        }
        self
    }

    /// Whether new work may be placed on it.
    pub const fn accepts_work(&self) -> bool {
        matches!(self.state, InstanceState::Live { .. })
    }

    /// Whether it is gone.
    pub const fn ended(&self) -> bool {
        matches!(self.state, InstanceState::Ended { .. })
    }

    const fn refuse<T>(&self, to: &'static str) -> Result<T, InvalidTransition> {
        Err(InvalidTransition { from: self.state.name(), to })
    }

    /// Records the provider's notice, which comes once.
    pub fn noticed(self, at: Timestamp, reclaim_at: Timestamp) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Live { since } => {
                Ok(Self { state: InstanceState::Noticed { since, at, reclaim_at }, ..self })
            }
            InstanceState::Noticed { .. } | InstanceState::Ended { .. } => self.refuse("noticed"),
        }
    }

    /// Ends it, no earlier than it began. An instance ends once.
    pub fn end(self, at: Timestamp, by: EndedBy) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Live { since } | InstanceState::Noticed { since, .. } => {
                let at = at.max(since);
                Ok(Self { state: InstanceState::Ended { since, at, by, settled: false }, ..self })
            }
            InstanceState::Ended { .. } => self.refuse("ended"),
        }
    }

    /// Marks its charges as written. Only an ended instance is settled, and only once.
    pub fn settle(self) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Ended { since, at, by, settled: false } => {
                Ok(Self { state: InstanceState::Ended { since, at, by, settled: true }, ..self })
            }
            _ => self.refuse("settled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{InstanceType, PoolName, Zone};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn instance() -> Instance {
        Instance {
            id: InstanceId(1),
            offer: OfferKey::recorded(
                PoolName::new("local"),
                Zone::new("us-east-1a"),
                InstanceType::new("p3.2xlarge"),
                CapacityType::Spot,
            ),
            shape: NodeShape::default(),
            launch_price: Price::ZERO,
            on_demand: Price::ZERO,
            state: InstanceState::Live { since: at(100) },
            coverage: Vec::new(),
        }
    }

    #[test]
    fn a_covered_span_ends_once_and_its_past_stays() {
        let covered = |from, until| CoveredSpan {
            commitment: "a".to_owned(),
            price: Price::ZERO,
            from: at(from),
            until: at(until),
        };
        let seated = instance().with_coverage(covered(100, 200));
        assert_eq!(seated.covered(), Some(&covered(100, 200)));
        let renewed = seated.clone().paid_until(at(300), at(150));
        assert_eq!(renewed.covered(), Some(&covered(100, 300)));
        // Cut into the past, it ends now; after its end it is not drawn out.
        let cut = seated.clone().paid_until(at(120), at(150));
        assert_eq!((cut.covered(), cut.coverage.clone()), (None, vec![covered(100, 150)]));
        let over = seated.paid_until(at(900), at(250));
        assert_eq!((over.covered(), over.coverage.clone()), (None, vec![covered(100, 200)]));
        assert_eq!(over.offer.market.capacity_type, CapacityType::OnDemand);
        let again = over.with_coverage(covered(260, 400));
        assert_eq!(again.coverage, vec![covered(100, 200), covered(260, 400)]);
    }

    #[test]
    fn an_instance_is_noticed_ends_and_is_settled_once_and_in_this_order() {
        let refused = |step: Result<Instance, InvalidTransition>| step.unwrap_err().to_string();
        assert_eq!(refused(instance().settle()), "an instance that is live cannot become settled");
        let noticed = instance().noticed(at(150), at(160)).unwrap();
        assert!(refused(noticed.clone().noticed(at(151), at(170))).contains("is noticed"));
        let ended = noticed.end(at(200), EndedBy::Us).unwrap();
        assert!(refused(ended.clone().end(at(300), EndedBy::Provider)).contains("is ended"));
        assert!(refused(ended.clone().noticed(at(150), at(160))).contains("is ended"));
        let settled = ended.settle().unwrap();
        assert!(refused(settled.clone().settle()).contains("is settled"));
        assert!(refused(settled.end(at(300), EndedBy::Us)).contains("is settled"));
    }

    #[test]
    fn an_instance_never_ends_before_it_began() {
        let ended = instance().end(at(50), EndedBy::Us).unwrap();
        assert!(matches!(ended.state, InstanceState::Ended { since, at, .. } if since == at));
    }
}
