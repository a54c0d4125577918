//! What is expected of the spot markets: fitted to what has been seen of them,
//! once in a while, and brought up to date in every round.
//!
//! A gang takes all of its machines at once or none: for it a zone is there where
//! so many can be had, and that comes and goes more often than a single machine
//! does. So each number of nodes that is asked for has a forecast of its own.

mod gangs;
mod history;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, PoolName};
use spotwise_model::time::{between, human};
use spotwise_model::{CapacityType, Offer, OfferKey};
use spotwise_solver::Forecast;
use spotwise_solver::horizon::{Horizon, Terms, Zone, ZoneNow, regions};

use crate::core::{Spells, State};
use crate::market::Market;
use gangs::Gangs;
use history::History;

/// A forecast decides in steps of this length.
const STEP: Duration = Duration::from_secs(900);
/// Three days ahead.
const STEPS: usize = 288;
/// Hours of market time after which a forecast is fitted anew.
const REFIT_HOURS: f64 = 6.0;

/// The spot offers of one pool and machine type.
type Offers<'a> = BTreeMap<(&'a PoolName, &'a InstanceType), Vec<&'a Offer>>;

/// What is seen of the markets, and when.
#[derive(Clone, Copy)]
struct Sight<'a> {
    spells: &'a Spells,
    market: &'a Market,
    /// The machines of each spot offer, ours included.
    available: &'a BTreeMap<OfferKey, u32>,
    now: Timestamp,
}

/// The forecasts brought up to date. At most one is fitted in a round, which then
/// takes some hundredths of a second longer. `available` are the machines of each
/// spot offer, ours included.
pub fn look(
    mut known: Vec<Forecast>,
    state: &State,
    market: &Market,
    available: &BTreeMap<OfferKey, u32>,
    changeover: Duration,
    now: Timestamp,
) -> Vec<Forecast> {
    let sight = Sight { spells: &state.spells, market, available, now };
    let mut offers: Offers<'_> = BTreeMap::new();
    let spot = |offer: &&Offer| offer.key.capacity_type == CapacityType::Spot;
    for offer in state.seen.offers.iter().filter(spot) {
        offers.entry((&offer.key.pool, &offer.key.instance_type)).or_default().push(offer);
    }
    let gangs = Gangs::of(state);
    let mut fitted = false;
    let mut forecasts = Vec::with_capacity(known.len());
    for ((pool, instance_type), offers) in offers {
        let Some(first) = offers.first() else { continue };
        for nodes in gangs.sizes(&first.shape) {
            let is_it = |f: &Forecast| {
                f.pool == *pool && f.instance_type == *instance_type && f.nodes == nodes
            };
            let at = known.iter().position(is_it);
            let mut forecast = at.map(|at| known.swap_remove(at));
            let fresh = forecast.as_ref().is_some_and(|f| is_fresh(f, &offers, now));
            if !fresh && !fitted {
                forecast = Some(fit(sight, first, &offers, nodes, changeover));
                fitted = true;
            }
            let Some(mut forecast) = forecast else { continue };
            for (offer, (zone, at)) in offers.iter().zip(&mut forecast.zones) {
                *zone = offer.key.zone.clone();
                *at = zone_now(sight, offer, nodes);
            }
            forecasts.push(forecast);
        }
    }
    forecasts
}

/// Whether it is of these zones, and not too old.
fn is_fresh(forecast: &Forecast, offers: &[&Offer], now: Timestamp) -> bool {
    forecast.horizon.hours_old(forecast.step_of(now)) < REFIT_HOURS
        && offers.iter().map(|o| &o.key.zone).eq(forecast.zones.iter().map(|(zone, _)| zone))
}

fn zone_now(sight: Sight<'_>, offer: &Offer, nodes: u32) -> ZoneNow {
    let Sight { spells, market, available, now } = sight;
    // The market says since when it has had any machine at all.
    let since = match nodes {
        1 => offer.spell_since,
        _ => history::since(spells, market, &offer.key, nodes, now),
    };
    let age = between(since, now).as_secs_f64() / STEP.as_secs_f64();
    ZoneNow {
        up: available.get(&offer.key).is_some_and(|machines| *machines >= nodes),
        age: age as usize + 1,
        price: dollars_a_step(offer.price.dollars_per_hour()),
    }
}

fn fit(
    sight: Sight<'_>,
    first: &Offer,
    offers: &[&Offer],
    nodes: u32,
    changeover: Duration,
) -> Forecast {
    let keys: Vec<&OfferKey> = offers.iter().map(|offer| &offer.key).collect();
    let history = History::of(sight.spells, sight.market, &keys, nodes, sight.now);
    let regions = regions(offers.iter().map(|offer| offer.key.zone.as_str()));
    let zones: Vec<Zone<'_>> = offers
        .iter()
        .zip(regions)
        .zip(&history.zones)
        .map(|((offer, region), seen)| Zone {
            region,
            price: dollars_a_step(offer.price.dollars_per_hour()),
            seen,
        })
        .collect();
    let terms = Terms {
        step_seconds: STEP.as_secs_f64(),
        on_demand: dollars_a_step(first.on_demand.dollars_per_hour()),
        changeover: changeover.as_secs_f64() / STEP.as_secs_f64(),
    };
    let nothing = ZoneNow { up: false, age: 1, price: 0.0 };
    Forecast {
        pool: first.key.pool.clone(),
        instance_type: first.key.instance_type.clone(),
        nodes,
        horizon: Arc::new(Horizon::solve(&zones, terms, STEPS, STEPS as f64)),
        zones: offers.iter().map(|offer| (offer.key.zone.clone(), nothing)).collect(),
        step: STEP,
        steps: STEPS,
        first: history.first,
        sight: history.sight,
    }
}

/// What the forecast goes by that the planner takes for a job of so many nodes on
/// an offer, in words.
pub fn what_was_seen(forecasts: &[Forecast], offer: &OfferKey, nodes: u32) -> Option<String> {
    let is_of = |f: &&Forecast| {
        f.pool == offer.pool && f.instance_type == offer.instance_type && f.nodes >= nodes
    };
    let forecast = forecasts.iter().filter(is_of).min_by_key(|forecast| forecast.nodes)?;
    let sight = forecast.sight;
    let mut parts = Vec::new();
    if !sight.own.is_zero() {
        parts.push(format!("seen for {}", human(sight.own)));
    }
    if sight.own < sight.span {
        parts.push(format!("recorded for {} before that", human(sight.span - sight.own)));
    }
    if parts.is_empty() {
        parts.push("not seen for long enough to learn anything".to_owned());
    }
    let machines = match forecast.nodes {
        1 => "a machine".to_owned(),
        nodes => format!("{nodes} machines at once"),
    };
    Some(format!(
        "spot {} is {}: {} spells with {machines} or without, in {} zones",
        offer.instance_type,
        parts.join(", "),
        sight.spells,
        forecast.zones.len()
    ))
}

fn dollars_a_step(dollars_an_hour: f64) -> f64 {
    dollars_an_hour * STEP.as_secs_f64() / 3_600.0
}

#[cfg(test)]
mod tests;
