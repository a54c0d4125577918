//! Calls and their answers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::inventory::SeenMachine;
use spotwise_model::{InstanceId, MarketKey};

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<T> {
    /// Whether and when its caller learns it.
    pub delivery: Delivery,
    /// Whether it was carried out. A refusal of what was asked counts as carried out; a call
    /// that never arrived, was throttled or came with expired credentials was not.
    pub executed: bool,
    /// What the cloud would have answered. A caller may look at it only if it was delivered:
    /// see [`Self::answer`].
    pub outcome: T,
}

impl<T> Call<T> {
    /// What the caller gets and when; `None` if no answer comes.
    pub fn answer(self) -> Option<(Timestamp, T)> {
        match self.delivery {
            Delivery::Answered { at } => Some((at, self.outcome)),
            Delivery::Lost { .. } => None,
        }
    }
}

/// Whether and when an answer arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives, perhaps after its caller has given up waiting.
    Answered {
        /// When.
        at: Timestamp,
    },
    /// It does not: whether the call was carried out is unknown to its caller.
    Lost {
        /// When the caller gives up waiting.
        known_after: Timestamp,
    },
}

/// A request for one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchRequest {
    /// Names the request: asked again with the same one, the answer is the same. It counts
    /// within the zone.
    pub token: String,
    /// The installation that asks, as a tag.
    pub install: String,
    /// Its pool, as a tag.
    pub pool: PoolName,
    /// Its own number of the machine, as a tag.
    pub instance: InstanceId,
    /// What is bought and where; its account and region are the cloud's.
    pub market: MarketKey,
}

/// A machine that was launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Its name.
    pub machine: ProviderId,
    /// From when it is billed.
    pub launched: Timestamp,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The machines on it.
    pub machines: BTreeMap<ProviderId, SeenMachine>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<PageToken>,
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// What the listing shows is as of then.
    pub(crate) as_of: Timestamp,
    /// The number of the last machine on the page before.
    pub(crate) after: usize,
}
