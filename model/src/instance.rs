//! One machine (or local slot) that we pay for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::attempt::Certainty;
use crate::commitment::CoveredSpan;
use crate::id::{InstanceId, ProviderId};
use crate::money::Price;
use crate::offer::{CapacityType, OfferKey};
use crate::resources::NodeShape;
use crate::time::Now;

/// Who ended an instance, which determines what the provider bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// We stopped it.
    Us,
    /// The provider took it back.
    Provider,
}

/// Why a machine gets no new work although nobody takes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainCause {
    /// Its operator asked for it.
    Operator,
    /// Its pool is gone from the operator's file.
    PoolLeaves,
}

impl DrainCause {
    /// Its name on the wire and in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::PoolLeaves => "pool-leaves",
        }
    }
}

/// Why a machine is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenBackFor {
    /// Nobody uses it, and nobody is expected in time.
    Unused,
    /// It was drained, and is empty.
    Drained,
    /// It did not come in time: unknown to its provider, or not registered.
    Late,
    /// It carries our mark, and nobody asked for it.
    Orphan,
}

impl GivenBackFor {
    /// Its name on the wire and in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Drained => "drained",
            Self::Late => "late",
            Self::Orphan => "orphan",
        }
    }
}

/// How far a machine is.
///
/// ```text
/// Requested -> Booting -> Registered -> Noticed | Draining -> Terminating -> Gone
///          \___________\_____________\____________\______________________^
/// ```
///
/// Everything but `Requested`, `Draining` and `Terminating`, which are our intents, is
/// observed. Times are market times unless they are a [`Now`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum InstanceState {
    /// Committed to: its provider is or will be asked. Nobody knows whether it exists.
    Requested {
        /// When.
        at: Now,
        /// Whether the outcome of the call is known.
        certainty: Certainty,
    },
    /// It exists, and has not joined its pool yet.
    Booting {
        /// From when its provider bills it.
        since: Timestamp,
        /// When it was asked for.
        requested: Now,
    },
    /// It takes workers.
    #[serde(rename = "live")]
    Registered {
        /// From when its provider bills it.
        since: Timestamp,
    },
    /// The provider has announced that it will take it back.
    Noticed {
        /// From when its provider bills it.
        since: Timestamp,
        /// When the notice came.
        at: Timestamp,
        /// When the capacity will be gone.
        reclaim_at: Timestamp,
    },
    /// It gets no new work, and is given back when what runs on it has ended.
    Draining {
        /// From when its provider bills it.
        since: Timestamp,
        /// Since when.
        at: Timestamp,
        /// Why.
        cause: DrainCause,
    },
    /// Its provider is asked to end it, until it is seen to be gone.
    Terminating {
        /// From when its provider bills it; `None` if nobody knows whether it exists.
        since: Option<Timestamp>,
        /// When that was decided.
        at: Now,
        /// Why.
        cause: GivenBackFor,
    },
    /// Gone.
    #[serde(rename = "ended")]
    Gone {
        /// From when its provider billed it; `None` if it never existed.
        since: Option<Timestamp>,
        /// When we gave it back; `None` if its provider took it, and in documents written
        /// by earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given_back: Option<Timestamp>,
        /// When it ended, by its provider.
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
    /// The names of all states of a machine that is not settled.
    pub const UNSETTLED: [&'static str; 7] =
        ["requested", "booting", "registered", "noticed", "draining", "terminating", "gone"];

    /// A one-word name for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Booting { .. } => "booting",
            Self::Registered { .. } => "registered",
            Self::Noticed { .. } => "noticed",
            Self::Draining { .. } => "draining",
            Self::Terminating { .. } => "terminating",
            Self::Gone { settled: false, .. } => "gone",
            Self::Gone { settled: true, .. } => "settled",
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
    /// The provider's name of it, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    /// The name under which its provider was asked for it; `None` where machines are there
    /// at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Instance {
    /// From when its provider bills it (market time); `None` if it is not known to exist.
    pub const fn since(&self) -> Option<Timestamp> {
        match self.state {
            InstanceState::Requested { .. } => None,
            InstanceState::Booting { since, .. }
            | InstanceState::Registered { since }
            | InstanceState::Noticed { since, .. }
            | InstanceState::Draining { since, .. } => Some(since),
            InstanceState::Terminating { since, .. } | InstanceState::Gone { since, .. } => since,
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

    /// Whether new work may be placed on it, now or as soon as it is there.
    pub const fn accepts_work(&self) -> bool {
        matches!(
            self.state,
            InstanceState::Requested { .. }
                | InstanceState::Booting { .. }
                | InstanceState::Registered { .. }
        )
    }

    /// Whether workers can be started on it.
    pub const fn takes_workers(&self) -> bool {
        matches!(
            self.state,
            InstanceState::Registered { .. }
                | InstanceState::Noticed { .. }
                | InstanceState::Draining { .. }
        )
    }

    /// Whether it is gone.
    pub const fn ended(&self) -> bool {
        matches!(self.state, InstanceState::Gone { .. })
    }

    /// Whether it is gone or about to be, so that nothing on it goes on.
    pub const fn ends(&self) -> bool {
        matches!(self.state, InstanceState::Terminating { .. } | InstanceState::Gone { .. })
    }

    /// When its market had none for us; `None` if that is not how it ended.
    pub const fn refused_at(&self) -> Option<Timestamp> {
        match self.state {
            InstanceState::Gone { since: None, given_back: None, at, .. } => Some(at),
            _ => None,
        }
    }

    /// Whether its provider is about to have news of it: it comes, or it goes.
    pub const fn is_moving(&self) -> bool {
        matches!(
            self.state,
            InstanceState::Requested { .. }
                | InstanceState::Booting { .. }
                | InstanceState::Noticed { .. }
                | InstanceState::Terminating { .. }
        )
    }

    const fn refuse<T>(&self, to: &'static str) -> Result<T, InvalidTransition> {
        Err(InvalidTransition { from: self.state.name(), to })
    }

    /// The answer to the request for it was lost.
    pub fn lose_answer(self) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Requested { at, .. } => {
                let state = InstanceState::Requested { at, certainty: Certainty::Unknown };
                Ok(Self { state, ..self })
            }
            _ => self.refuse("requested (unknown)"),
        }
    }

    /// It exists, billed from `since`, under its provider's name. One that was given up
    /// while nobody knew keeps being ended.
    pub fn launched(
        self,
        provider: ProviderId,
        since: Timestamp,
    ) -> Result<Self, InvalidTransition> {
        let state = match self.state {
            InstanceState::Requested { at, .. } => InstanceState::Booting { since, requested: at },
            InstanceState::Terminating { since: None, at, cause } => {
                InstanceState::Terminating { since: Some(since), at, cause }
            }
            _ => return self.refuse("booting"),
        };
        Ok(Self { provider: Some(provider), state, ..self })
    }

    /// It takes workers.
    pub fn register(self) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Booting { since, .. } => {
                Ok(Self { state: InstanceState::Registered { since }, ..self })
            }
            _ => self.refuse("registered"),
        }
    }

    /// Records the provider's notice, which counts once.
    pub fn noticed(self, at: Timestamp, reclaim_at: Timestamp) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Booting { since, .. }
            | InstanceState::Registered { since }
            | InstanceState::Draining { since, .. } => {
                Ok(Self { state: InstanceState::Noticed { since, at, reclaim_at }, ..self })
            }
            _ => self.refuse("noticed"),
        }
    }

    /// It gets no new work.
    pub fn drain(self, at: Timestamp, cause: DrainCause) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Booting { since, .. } | InstanceState::Registered { since } => {
                Ok(Self { state: InstanceState::Draining { since, at, cause }, ..self })
            }
            _ => self.refuse("draining"),
        }
    }

    /// We want it no more: its provider is asked to end it.
    pub fn give_back(self, at: Now, cause: GivenBackFor) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Terminating { .. } | InstanceState::Gone { .. } => {
                self.refuse("terminating")
            }
            _ => {
                let since = self.since();
                Ok(Self { state: InstanceState::Terminating { since, at, cause }, ..self })
            }
        }
    }

    /// It is gone, by its provider's time: no earlier than it began. An instance ends once.
    pub fn end(self, at: Timestamp, by: EndedBy) -> Result<Self, InvalidTransition> {
        let given_back = match self.state {
            InstanceState::Gone { .. } => return self.refuse("gone"),
            InstanceState::Terminating { at, .. } => Some(at.market),
            _ => None,
        };
        let since = self.since();
        let at = since.map_or(at, |since| at.max(since));
        let state = InstanceState::Gone { since, given_back, at, by, settled: false };
        Ok(Self { state, ..self })
    }

    /// Marks its charges as written. Only an ended instance is settled, and only once.
    pub fn settle(self) -> Result<Self, InvalidTransition> {
        match self.state {
            InstanceState::Gone { since, given_back, at, by, settled: false } => {
                let state = InstanceState::Gone { since, given_back, at, by, settled: true };
                Ok(Self { state, ..self })
            }
            _ => self.refuse("settled"),
        }
    }
}

#[cfg(test)]
#[path = "instance_tests.rs"]
mod tests;
