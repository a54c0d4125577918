//! A cloud's account, where machines have lives of their own: the product's simulated cloud,
//! called over a network that is none too good, and its meter, which the books must equal.

mod opening;

use std::collections::BTreeMap;

use spotwise_model::OfferKey;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_simulated_cloud::SimulatedCloud;

use super::time::Ms;
pub(crate) use opening::open;

/// Our mark in the account.
pub(crate) const INSTALL: &str = "ours";
/// The two pools that share it.
pub(crate) const POOLS: [&str; 2] = ["cloud-a", "cloud-b"];
/// The account, and what the simulator knows of it.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) cloud: SimulatedCloud,
    /// The next tick of its clock that is on the heap.
    pub(crate) ticks_at: Option<Ms>,
    /// When each pool was listed last.
    pub(crate) listed: BTreeMap<PoolName, Ms>,
    /// Machines that were there when an older store came back: what happened to them before
    /// is in no book any more.
    pub(crate) half_known: Vec<ProviderId>,
    /// Which scheduler asked for a machine first, by its token.
    pub(crate) asked_by: BTreeMap<String, (usize, u64)>,
    /// Since when each machine has had no reason to be.
    pub(crate) unreasoned: BTreeMap<ProviderId, Ms>,
}

/// Whether an offer is of the account.
pub(crate) fn is_cloud(offer: &OfferKey) -> bool {
    POOLS.contains(&offer.pool.as_str())
}
