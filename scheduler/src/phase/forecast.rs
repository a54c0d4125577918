//! What is expected of the spot markets: fitted to what has been seen of them,
//! once in a while, and brought up to date in every round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, PoolName};
use spotwise_model::time::between;
use spotwise_model::{CapacityType, Offer, OfferKey};
use spotwise_solver::Forecast;
use spotwise_solver::horizon::{Horizon, Terms, Zone, ZoneNow, regions};

use crate::market::Market;

/// A forecast decides in steps of this length.
const STEP: Duration = Duration::from_secs(900);
/// Three days ahead.
const STEPS: usize = 288;
/// What is older is not looked at: with a half-life of three days it weighs
/// less than a twentieth.
const MEMORY: Duration = Duration::from_secs(14 * 86_400);
/// Hours of market time after which a forecast is fitted anew.
const REFIT_HOURS: f64 = 6.0;

/// The spot offers of one pool and machine type.
type Offers<'a> = BTreeMap<(&'a PoolName, &'a InstanceType), Vec<&'a Offer>>;

/// The forecasts brought up to date. At most one is fitted in a round, which then
/// takes some hundredths of a second longer. `available` are the machines of each
/// spot offer, ours included.
pub fn look(
    mut known: Vec<Forecast>,
    seen: &[Offer],
    market: &Market,
    available: &BTreeMap<OfferKey, u32>,
    changeover: Duration,
    now: Timestamp,
) -> Vec<Forecast> {
    let mut offers: Offers<'_> = BTreeMap::new();
    for offer in seen.iter().filter(|offer| offer.key.capacity_type == CapacityType::Spot) {
        offers.entry((&offer.key.pool, &offer.key.instance_type)).or_default().push(offer);
    }
    let mut fitted = false;
    let mut forecasts = Vec::with_capacity(offers.len());
    for ((pool, instance_type), offers) in offers {
        let at = known.iter().position(|f| f.pool == *pool && f.instance_type == *instance_type);
        let mut forecast = at.map(|at| known.swap_remove(at));
        let fresh = forecast.as_ref().is_some_and(|f| is_fresh(f, &offers, now));
        if !fresh && !fitted {
            forecast = fit(market, &offers, changeover, now);
            fitted = true;
        }
        let Some(mut forecast) = forecast else { continue };
        for (offer, (zone, at)) in offers.iter().zip(&mut forecast.zones) {
            *zone = offer.key.zone.clone();
            *at = zone_now(offer, available, now);
        }
        forecasts.push(forecast);
    }
    forecasts
}

/// Whether it is of these zones, and not too old.
fn is_fresh(forecast: &Forecast, offers: &[&Offer], now: Timestamp) -> bool {
    forecast.horizon.hours_old(forecast.step_of(now)) < REFIT_HOURS
        && offers.iter().map(|o| &o.key.zone).eq(forecast.zones.iter().map(|(zone, _)| zone))
}

fn zone_now(offer: &Offer, available: &BTreeMap<OfferKey, u32>, now: Timestamp) -> ZoneNow {
    let age = between(offer.spell_since, now).as_secs_f64() / STEP.as_secs_f64();
    ZoneNow {
        up: available.get(&offer.key).is_some_and(|machines| *machines > 0),
        age: age as usize + 1,
        price: dollars_a_step(offer.price.dollars_per_hour()),
    }
}

/// None where the market does not know the offers.
fn fit(
    market: &Market,
    offers: &[&Offer],
    changeover: Duration,
    now: Timestamp,
) -> Option<Forecast> {
    let first_offer = offers.first()?;
    let memory = between(market.start(), now).min(MEMORY);
    let steps = (memory.as_secs() / STEP.as_secs()) as u32;
    // The last step ends now.
    let first = now.checked_sub(STEP.saturating_mul(steps)).unwrap_or(now);
    let seen: Vec<Vec<bool>> = offers
        .iter()
        .map(|offer| {
            let key = &offer.key;
            market.watched(&key.zone, &key.instance_type, (first, now), STEP)
        })
        .collect::<Option<_>>()?;
    let regions = regions(offers.iter().map(|offer| offer.key.zone.as_str()));
    let zones: Vec<Zone<'_>> = offers
        .iter()
        .zip(regions)
        .zip(&seen)
        .map(|((offer, region), seen)| Zone {
            region,
            price: dollars_a_step(offer.price.dollars_per_hour()),
            seen,
        })
        .collect();
    let terms = Terms {
        step_seconds: STEP.as_secs_f64(),
        on_demand: dollars_a_step(first_offer.on_demand.dollars_per_hour()),
        changeover: changeover.as_secs_f64() / STEP.as_secs_f64(),
    };
    let nothing = ZoneNow { up: false, age: 1, price: 0.0 };
    Some(Forecast {
        pool: first_offer.key.pool.clone(),
        instance_type: first_offer.key.instance_type.clone(),
        horizon: Arc::new(Horizon::solve(&zones, terms, STEPS, STEPS as f64)),
        zones: offers.iter().map(|offer| (offer.key.zone.clone(), nothing)).collect(),
        step: STEP,
        steps: STEPS,
        first,
    })
}

fn dollars_a_step(dollars_an_hour: f64) -> f64 {
    dollars_an_hour * STEP.as_secs_f64() / 3_600.0
}
