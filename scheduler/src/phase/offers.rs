//! What the market's quotes mean for us: offers of a pool, less what we hold.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::id::PoolName;
use spotwise_model::{CapacityType, Offer, OfferKey};

use crate::core::State;
use crate::market::Quote;

/// The offers that a pool makes of the market's quotes, in the order of keys.
pub fn offers(
    state: &State,
    pool: &PoolName,
    quotes: Vec<Quote>,
    changeover: Duration,
) -> Vec<Offer> {
    let held = held(state);
    let mut offers: Vec<Offer> = quotes
        .into_iter()
        .map(|quote| {
            let key = OfferKey {
                pool: pool.clone(),
                zone: quote.zone,
                instance_type: quote.instance_type,
                capacity_type: quote.capacity_type,
            };
            let held = held.get(&key).copied().unwrap_or(0);
            Offer {
                free: quote.available.saturating_sub(held),
                key,
                shape: quote.shape,
                price: quote.price,
                on_demand: quote.on_demand,
                spell_since: quote.spell_since,
                hazard_per_hour: quote.hazard_per_hour,
                changeover,
            }
        })
        .collect();
    offers.sort_by(|a, b| a.key.cmp(&b.key));
    offers
}

/// Machines that we hold of each offer, noticed ones included: their capacity
/// is not there for anybody.
pub fn held(state: &State) -> BTreeMap<OfferKey, u32> {
    let mut held = BTreeMap::new();
    for instance in state.instances.values().filter(|instance| !instance.ended()) {
        *held.entry(instance.offer.clone()).or_insert(0) += 1;
    }
    held
}

/// Machines that the market has of each spot offer, ours included.
pub fn available_spot(pool: &PoolName, quotes: &[Quote]) -> BTreeMap<OfferKey, u32> {
    let spot = quotes.iter().filter(|quote| quote.capacity_type == CapacityType::Spot);
    spot.map(|quote| {
        let key = OfferKey {
            pool: pool.clone(),
            zone: quote.zone.clone(),
            instance_type: quote.instance_type.clone(),
            capacity_type: CapacityType::Spot,
        };
        (key, quote.available)
    })
    .collect()
}
