//! What the market's quotes mean for us: offers of a pool, less what we hold.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::id::PoolName;
use spotwise_model::{CapacityType, Instance, Offer, OfferKey, PaidFor, Price};

use crate::core::State;
use spotwise_market::MarketQuote;

/// The offers that a pool makes from the market's quotes, in the order of keys. What
/// several commitments pay for of one machine type and zone is one offer.
pub fn offers(
    state: &State,
    pool: &PoolName,
    quotes: Vec<MarketQuote>,
    changeover: Duration,
) -> Vec<Offer> {
    let held = held(state);
    let (paid, bought): (Vec<MarketQuote>, Vec<MarketQuote>) =
        quotes.into_iter().partition(|quote| quote.commitment.is_some());
    let mut offers: Vec<Offer> = bought
        .into_iter()
        .map(|quote| {
            let key = OfferKey::recorded(
                pool.clone(),
                quote.zone,
                quote.instance_type,
                quote.capacity_type,
            );
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
                paid_for: Vec::new(),
            }
        })
        .collect();
    offers.extend(reserved(state, pool, paid, changeover));
    offers.sort_by(|a, b| a.key.cmp(&b.key));
    offers
}

/// The offers of what is already paid for. Machines of the longest-lasting commitment are
/// given out first; the price is the mean of those that are left, or of all if none is.
fn reserved(
    state: &State,
    pool: &PoolName,
    quotes: Vec<MarketQuote>,
    changeover: Duration,
) -> Vec<Offer> {
    let taken = in_use(state);
    let mut offers: BTreeMap<OfferKey, Offer> = BTreeMap::new();
    for quote in quotes {
        let Some(commitment) = quote.commitment else { continue };
        let key = OfferKey::recorded(
            pool.clone(),
            quote.zone,
            quote.instance_type,
            CapacityType::Reserved,
        );
        let used = taken.get(commitment.name.as_str()).copied().unwrap_or(0);
        let paid = PaidFor {
            free: commitment.machines.saturating_sub(used),
            commitment: commitment.name,
            price: commitment.price,
            until: commitment.until,
        };
        let offer = offers.entry(key.clone()).or_insert_with(|| Offer {
            key,
            shape: quote.shape,
            price: quote.price,
            on_demand: quote.on_demand,
            free: 0,
            spell_since: quote.spell_since,
            hazard_per_hour: 0.0,
            changeover,
            paid_for: Vec::new(),
        });
        offer.free = offer.free.saturating_add(paid.free);
        offer.spell_since = offer.spell_since.min(quote.spell_since);
        offer.paid_for.push(paid);
    }
    let in_order = |mut offer: Offer| {
        offer.paid_for.sort_by(|a, b| b.until.cmp(&a.until).then(a.commitment.cmp(&b.commitment)));
        offer.price = mean_price(&offer.paid_for);
        offer
    };
    offers.into_values().map(in_order).collect()
}

/// Rounded up, so that a budget covers it.
fn mean_price(paid_for: &[PaidFor]) -> Price {
    let left: i128 = paid_for.iter().map(|paid| i128::from(paid.free)).sum();
    let weight = |paid: &PaidFor| if left > 0 { i128::from(paid.free) } else { 1 };
    let all: i128 = paid_for.iter().map(weight).sum::<i128>().max(1);
    let dollars = |paid: &PaidFor| i128::from(paid.price.micros_per_hour()) * weight(paid);
    let sum: i128 = paid_for.iter().map(dollars).sum();
    let mean = (sum + all - 1).div_euclid(all);
    Price::from_micros_per_hour(i64::try_from(mean).unwrap_or(i64::MAX))
}

/// Machines that each commitment pays for now.
pub fn in_use(state: &State) -> BTreeMap<&str, u32> {
    let mut in_use = BTreeMap::new();
    let live = state.instances.values().filter(|instance| !instance.ended());
    for covered in live.filter_map(Instance::covered) {
        *in_use.entry(covered.commitment.as_str()).or_insert(0) += 1;
    }
    in_use
}

/// Machines that we hold of each offer, including noticed ones: their capacity is not
/// available to anybody.
pub fn held(state: &State) -> BTreeMap<OfferKey, u32> {
    let mut held = BTreeMap::new();
    for instance in state.instances.values().filter(|instance| !instance.ended()) {
        *held.entry(instance.offer.clone()).or_insert(0) += 1;
    }
    held
}

/// Machines that the market has of each spot offer, ours included.
pub fn available_spot(pool: &PoolName, quotes: &[MarketQuote]) -> BTreeMap<OfferKey, u32> {
    let spot = quotes.iter().filter(|quote| quote.capacity_type == CapacityType::Spot);
    spot.map(|quote| {
        let key = OfferKey::recorded(
            pool.clone(),
            quote.zone.clone(),
            quote.instance_type.clone(),
            CapacityType::Spot,
        );
        (key, quote.available)
    })
    .collect()
}
