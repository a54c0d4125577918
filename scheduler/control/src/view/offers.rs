//! What the pools can buy now: the market's quotes less what is held.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::{
    CapacityType, Instance, InstanceState, MarketKey, Offer, OfferKey, PaidFor, Pool, Price, Supply,
};

use crate::core::State;
use spotwise_market::MarketQuote;

/// The offers that the pools make from the market's quotes, in the order of keys. What
/// several commitments pay for of one machine type and zone is one offer. Two pools that
/// buy on one market both offer all of it: [`super::limits`] says what they may take
/// together. A market that has just refused has nothing to offer; nor has a pool that
/// leaves. Of markets that show nothing of what they have, nothing but the price is read.
pub fn offers(
    state: &State,
    quotes: &[MarketQuote],
    least_changeover: Duration,
    now: Timestamp,
) -> Vec<Offer> {
    let held = held(state);
    let taken = in_use(state);
    let tries = Tries::of(state);
    let mut offers = Vec::new();
    for pool in state.pools.pools.values().filter(|pool| !pool.leaving) {
        let changeover = pool.changeover().max(least_changeover);
        let sold = quotes.iter().filter_map(|quote| Some((market_of(pool, quote)?, quote)));
        let (paid, bought): (Vec<_>, Vec<_>) =
            sold.partition(|(_, quote)| quote.commitment.is_some());
        offers.extend(bought.into_iter().map(|(market, quote)| {
            let held = held.get(&market).copied().unwrap_or(0);
            let refused = state.seen.refusals.refuses(&market, now);
            let (free, spell_since, hazard_per_hour) = match state.pools.is_unknown(&market) {
                true => (
                    Supply::Unknown { tries: if refused { 0 } else { tries.left(&market) } },
                    state.own_log.since(&market).unwrap_or(now),
                    state.seen.beliefs.hazard_per_hour(&market).unwrap_or(0.0),
                ),
                false => (
                    match refused {
                        true => Supply::Counted(0),
                        false => Supply::Counted(quote.available.saturating_sub(held)),
                    },
                    quote.spell_since,
                    quote.hazard_per_hour,
                ),
            };
            Offer {
                free,
                key: OfferKey { pool: pool.name.clone(), market },
                shape: quote.shape.clone(),
                price: quote.price,
                on_demand: quote.on_demand,
                spell_since,
                hazard_per_hour,
                changeover,
                paid_for: Vec::new(),
            }
        }));
        offers.extend(reserved(pool, paid, &taken, changeover));
    }
    offers.sort_by(|a, b| a.key.cmp(&b.key));
    offers
}

/// Where nobody says how many machines there are, so many of a market are asked for before
/// the first of them is answered: a refusal of one ends all, and each is a call. A gang asks
/// for all of its machines at once.
const TRIES: u32 = 32;

/// How many machines may be asked for of markets that show nothing of what they have.
struct Tries {
    /// Of each.
    most: u32,
    /// Machines asked for and not answered, of each.
    asked: BTreeMap<MarketKey, u32>,
}

impl Tries {
    fn of(state: &State) -> Self {
        let mut tries = Self { most: TRIES, asked: BTreeMap::new() };
        if !state.pools.is_any_unknown() {
            return tries;
        }
        let open = state.jobs.values().filter(|job| !job.state.is_terminal());
        tries.most = open.map(|job| job.spec.resources.nodes).fold(TRIES, u32::max);
        for machine in state.instances.values() {
            if let InstanceState::Requested { .. } = machine.state {
                *tries.asked.entry(machine.offer.market.clone()).or_insert(0) += 1;
            }
        }
        tries
    }

    fn left(&self, market: &MarketKey) -> u32 {
        self.most.saturating_sub(self.asked.get(market).copied().unwrap_or(0))
    }
}

/// The market on which a pool would buy what a quote offers; `None` if it does not.
fn market_of(pool: &Pool, quote: &MarketQuote) -> Option<MarketKey> {
    let market = pool.market(&quote.zone, &quote.instance_type, quote.capacity_type);
    pool.sells.has(&market).then_some(market)
}

/// The offers of what is already paid for. Machines of the longest-lasting commitment are
/// given out first; the price is the mean of those that are left, or of all if none is.
fn reserved(
    pool: &Pool,
    quotes: Vec<(MarketKey, &MarketQuote)>,
    taken: &BTreeMap<&str, u32>,
    changeover: Duration,
) -> Vec<Offer> {
    let mut offers: BTreeMap<OfferKey, Offer> = BTreeMap::new();
    for (market, quote) in quotes {
        let Some(commitment) = &quote.commitment else { continue };
        let key = OfferKey { pool: pool.name.clone(), market };
        let used = taken.get(commitment.name.as_str()).copied().unwrap_or(0);
        let paid = PaidFor {
            free: commitment.machines.saturating_sub(used),
            commitment: commitment.name.clone(),
            price: commitment.price,
            until: commitment.until,
        };
        let offer = offers.entry(key.clone()).or_insert_with(|| Offer {
            key,
            shape: quote.shape.clone(),
            price: quote.price,
            on_demand: quote.on_demand,
            free: Supply::Counted(0),
            spell_since: quote.spell_since,
            hazard_per_hour: 0.0,
            changeover,
            paid_for: Vec::new(),
        });
        offer.free = offer.free.machines().saturating_add(paid.free).into();
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

/// Machines that we hold of each market, over all pools, including those on notice or on
/// their way out: their capacity is not available to anybody.
pub fn held(state: &State) -> BTreeMap<MarketKey, u32> {
    let mut held = BTreeMap::new();
    for instance in state.instances.values().filter(|instance| !instance.ended()) {
        *held.entry(instance.offer.market.clone()).or_insert(0) += 1;
    }
    held
}

/// Machines that each spot market has that a pool buys on, ours included; those that show
/// nothing of it are not named.
pub fn available_spot(state: &State, quotes: &[MarketQuote]) -> BTreeMap<MarketKey, u32> {
    let spot = |pool| {
        let spot = quotes.iter().filter(|quote| quote.capacity_type == CapacityType::Spot);
        spot.filter_map(move |quote| Some((market_of(pool, quote)?, quote.available)))
    };
    let all = state.pools.pools.values().flat_map(spot);
    all.filter(|(market, _)| !state.pools.is_unknown(market)).collect()
}

#[cfg(test)]
#[path = "offers_tests.rs"]
mod tests;
