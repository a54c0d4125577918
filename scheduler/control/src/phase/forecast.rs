//! What is expected of the spot markets: fitted to observations from time to time, and
//! updated in every round, as long as it matters to some job, or somebody asks what one
//! would cost. A fit takes some hundredths of a second and ten megabytes.
//!
//! A gang takes all of its machines at once or none: for it a zone is available if that
//! many machines are, and this changes more often than for a single machine. So each
//! requested number of nodes has a forecast of its own.
//!
//! Where a market shows nothing of what it has, all sizes go by what is believed of a single
//! machine there ([`beliefs`](crate::core::beliefs)).

mod gangs;
mod history;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::{Account, InstanceType, Zone as ZoneName};
use spotwise_model::time::{after, between, human};
use spotwise_model::{CapacityType, MarketKey, Offer, Supply};
use spotwise_solver::Forecast;
use spotwise_solver::forecast::TrainingWindow;
use spotwise_solver::horizon::{Horizon, HorizonTerms, ObservedZone, ZoneNow, regions};
use spotwise_solver::own::Estimator;

use crate::core::beliefs::rests_on;
use crate::core::{AvailabilityHistory, State};
use gangs::Gangs;
pub use gangs::speaks_to;
use history::History;
use spotwise_market::Market;

pub use crate::core::beliefs::STEP;

/// Three days ahead.
const STEPS: usize = 288;
/// Hours of market time after which a forecast is fitted anew.
const REFIT_HOURS: f64 = 6.0;

/// What is observed of the markets, and when.
#[derive(Clone, Copy)]
struct MarketView<'a> {
    availability: &'a AvailabilityHistory,
    market: &'a Market,
    /// The machines of each spot market, ours included.
    available: &'a BTreeMap<MarketKey, u32>,
    now: Timestamp,
}

/// The updated forecasts; those no longer wanted are dropped. `available` are the machines
/// of each spot market, ours included.
pub fn refresh(
    mut known: Vec<Forecast>,
    state: &State,
    market: &Market,
    available: &BTreeMap<MarketKey, u32>,
    now: Timestamp,
) -> Vec<Forecast> {
    let view = MarketView { availability: &state.availability, market, available, now };
    let mut forecasts = Vec::with_capacity(known.len());
    for Wanted { first, offers, nodes } in wanted(state) {
        let at = known.iter().position(|known| is_it(known, first, nodes));
        let Some(mut forecast) = at.map(|at| known.swap_remove(at)) else { continue };
        if !is_of_zones(&forecast, &offers) {
            continue;
        }
        let own = own(state, first);
        if own.is_some() != forecast.own.is_some() {
            continue;
        }
        for (offer, (_, at)) in offers.iter().zip(&mut forecast.zones) {
            *at = zone_now(view, offer, nodes);
        }
        forecast.own = own.or(forecast.own);
        forecasts.push(forecast);
    }
    forecasts
}

/// The first forecast that is missing or too old, ready to be fitted.
pub fn due(
    state: &State,
    market: &Market,
    available: &BTreeMap<MarketKey, u32>,
    changeover: Duration,
    now: Timestamp,
) -> Option<Fit> {
    let view = MarketView { availability: &state.availability, market, available, now };
    let due = wanted(state).into_iter().find(|wanted| is_due(state, wanted, now))?;
    Some(Fit::new(view, &due, own(state, due.first), changeover))
}

/// Whether one has never been fitted. An outdated one is used until it is fitted again.
pub fn is_any_missing(state: &State) -> bool {
    wanted(state).iter().any(|wanted| known(state, wanted).is_none())
}

/// Whether one is missing or outdated.
pub fn is_any_due(state: &State, now: Timestamp) -> bool {
    wanted(state).iter().any(|wanted| is_due(state, wanted, now))
}

fn is_due(state: &State, wanted: &Wanted<'_>, now: Timestamp) -> bool {
    !known(state, wanted).is_some_and(|known| is_fresh(known, now))
}

fn known<'s>(state: &'s State, wanted: &Wanted<'_>) -> Option<&'s Forecast> {
    let mut known = state.seen.forecasts.iter();
    let known = known.find(|known| is_it(known, wanted.first, wanted.nodes));
    let same = |known: &&Forecast| {
        is_of_zones(known, &wanted.offers)
            && known.own.is_some() == own(state, wanted.first).is_some()
    };
    known.filter(same)
}

/// What is believed of a machine type's markets, where they show nothing.
fn own(state: &State, first: &Offer) -> Option<Arc<Estimator>> {
    let market = &first.key.market;
    let belief = state.seen.beliefs.of(&market.account, &market.instance_type);
    belief.map(|belief| belief.own.clone())
}

/// Replaces the previous forecast, unless the new one knows more than is known by now: the
/// market's time may have gone back since it was started. Returns whether it did.
pub fn take(forecasts: &mut Vec<Forecast>, fitted: Forecast, now: Timestamp) -> bool {
    if after(fitted.first, fitted.training.span) > now {
        return false;
    }
    let name = |f: &Forecast| (f.account.clone(), f.instance_type.clone(), f.nodes);
    match forecasts.iter_mut().find(|known| name(known) == name(&fitted)) {
        Some(known) => *known = fitted,
        None => forecasts.push(fitted),
    }
    true
}

/// A machine type of an account, an offer of each of its spot markets, and a number of nodes.
struct Wanted<'a> {
    first: &'a Offer,
    offers: Vec<&'a Offer>,
    nodes: u32,
}

/// Every forecast that should exist.
fn wanted(state: &State) -> Vec<Wanted<'_>> {
    let gangs = Gangs::of(state);
    if gangs.is_empty() {
        return Vec::new();
    }
    // Pools that buy on one market share what is known of it.
    let mut markets: BTreeMap<&MarketKey, &Offer> = BTreeMap::new();
    let spot = |offer: &&Offer| offer.key.market.capacity_type == CapacityType::Spot;
    for offer in state.seen.offers.iter().filter(spot) {
        markets.entry(&offer.key.market).or_insert(offer);
    }
    let mut by_type: BTreeMap<(&Account, &InstanceType), Vec<&Offer>> = BTreeMap::new();
    for (market, offer) in markets {
        by_type.entry((&market.account, &market.instance_type)).or_default().push(offer);
    }
    let each = by_type.into_values().filter_map(|offers| Some((*offers.first()?, offers)));
    each.flat_map(|(first, offers)| {
        let sizes = gangs.sizes(&first.shape).into_iter();
        sizes.map(move |nodes| Wanted { first, offers: offers.clone(), nodes })
    })
    .collect()
}

fn is_it(forecast: &Forecast, first: &Offer, nodes: u32) -> bool {
    forecast.account == first.key.market.account
        && forecast.instance_type == first.key.market.instance_type
        && forecast.nodes == nodes
}

fn is_of_zones(forecast: &Forecast, offers: &[&Offer]) -> bool {
    offers.iter().map(|o| &o.key.market.zone).eq(forecast.zones.iter().map(|(zone, _)| zone))
}

fn is_fresh(forecast: &Forecast, now: Timestamp) -> bool {
    forecast.horizon.hours_old(forecast.step_of(now)) < REFIT_HOURS
}

fn zone_now(view: MarketView<'_>, offer: &Offer, nodes: u32) -> ZoneNow {
    let MarketView { availability, market, available, now } = view;
    let price = dollars_a_step(offer.price.dollars_per_hour());
    if matches!(offer.free, Supply::Unknown { .. }) {
        return ZoneNow { up: false, age: 1, price };
    }
    // The market says since when it has had any machine at all.
    let since = match nodes {
        1 => offer.spell_since,
        _ => history::since(availability, market, &offer.key.market, nodes, now),
    };
    let age = between(since, now).as_secs_f64() / STEP.as_secs_f64();
    ZoneNow {
        up: available.get(&offer.key.market).is_some_and(|machines| *machines >= nodes),
        age: age as usize + 1,
        price,
    }
}

/// A forecast yet to be fitted, with everything this takes: some hundredths of a second, in
/// which the state may change.
#[derive(Debug)]
pub struct Fit {
    account: Account,
    instance_type: InstanceType,
    nodes: u32,
    zones: Vec<(ZoneName, ZoneNow)>,
    knowledge: Knowledge,
    terms: HorizonTerms,
}

/// What is known of the zones.
#[derive(Debug)]
enum Knowledge {
    /// What they had when.
    Seen(History),
    /// What our own machines have shown, until now.
    Believed(Arc<Estimator>, Timestamp),
}

impl Fit {
    fn new(
        view: MarketView<'_>,
        wanted: &Wanted<'_>,
        own: Option<Arc<Estimator>>,
        changeover: Duration,
    ) -> Self {
        let Wanted { first, offers, nodes } = wanted;
        let keys: Vec<&MarketKey> = offers.iter().map(|offer| &offer.key.market).collect();
        let zones = offers.iter();
        Self {
            account: first.key.market.account.clone(),
            instance_type: first.key.market.instance_type.clone(),
            nodes: *nodes,
            zones: zones.map(|o| (o.key.market.zone.clone(), zone_now(view, o, *nodes))).collect(),
            knowledge: match own {
                Some(own) => Knowledge::Believed(own, view.now),
                None => {
                    let (availability, market) = (view.availability, view.market);
                    Knowledge::Seen(History::of(availability, market, &keys, *nodes, view.now))
                }
            },
            terms: HorizonTerms {
                step_seconds: STEP.as_secs_f64(),
                on_demand: dollars_a_step(first.on_demand.dollars_per_hour()),
                changeover: changeover.as_secs_f64() / STEP.as_secs_f64(),
            },
        }
    }

    /// Fits it.
    pub fn run(self) -> Forecast {
        let Self { account, instance_type, nodes, zones, knowledge, terms } = self;
        let (horizon, first, training, own) = match knowledge {
            Knowledge::Seen(history) => {
                let regions = regions(zones.iter().map(|(zone, _)| zone.as_str()));
                let seen = zones.iter().zip(regions).zip(&history.zones);
                let seen: Vec<ObservedZone<'_>> = seen
                    .map(|(((_, now), region), seen)| ObservedZone {
                        region,
                        price: now.price,
                        seen,
                    })
                    .collect();
                let horizon = Horizon::solve(&seen, terms, STEPS, STEPS as f64);
                (horizon, history.first, history.training, None)
            }
            Knowledge::Believed(own, now) => {
                let prices: Vec<f64> = zones.iter().map(|(_, zone)| zone.price).collect();
                let horizon = own.horizon(&prices, terms, STEPS, STEPS as f64);
                // Counted as the process counts: its first step is 1.
                let steps = u32::try_from(own.steps().saturating_sub(1)).unwrap_or(u32::MAX);
                let span = STEP.saturating_mul(steps);
                let training = TrainingWindow { span, own: span, spells: 0 };
                (horizon, now.checked_sub(span).unwrap_or(now), training, Some(own))
            }
        };
        Forecast {
            account,
            instance_type,
            nodes,
            horizon: Arc::new(horizon),
            zones,
            step: STEP,
            steps: STEPS,
            first,
            training,
            own,
        }
    }
}

/// The observations behind the forecast that the planner uses for a job of this many nodes
/// on a spot market, as text; where the market shows nothing, what the estimate rests on.
pub fn basis(state: &State, market: &MarketKey, nodes: u32, now: Timestamp) -> Option<String> {
    match state.pools.is_unknown(market) {
        true => Some(rests_on(&state.own_log, market, now)),
        false => what_was_seen(&state.seen.forecasts, market, nodes),
    }
}

fn what_was_seen(forecasts: &[Forecast], market: &MarketKey, nodes: u32) -> Option<String> {
    let is_of = |f: &&Forecast| {
        f.account == market.account && f.instance_type == market.instance_type && f.nodes >= nodes
    };
    let forecast = forecasts.iter().filter(is_of).min_by_key(|forecast| forecast.nodes)?;
    let training = forecast.training;
    let (own, recorded) = (human(training.own), human(training.span.saturating_sub(training.own)));
    let seen = match (training.own.is_zero(), training.own < training.span) {
        (false, false) => format!("seen for {own}"),
        (false, true) => format!("seen for {own}, recorded for {recorded} before that"),
        (true, true) => format!("recorded for {recorded}"),
        (true, false) => "not seen for long enough to learn anything".to_owned(),
    };
    let machines = match forecast.nodes {
        1 => "a machine".to_owned(),
        nodes => format!("{nodes} machines at once"),
    };
    Some(format!(
        "spot {} is {seen}: {} spells with {machines} or without, in {} zones",
        market.instance_type,
        training.spells,
        forecast.zones.len()
    ))
}

fn dollars_a_step(dollars_an_hour: f64) -> f64 {
    dollars_an_hour * STEP.as_secs_f64() / 3_600.0
}

#[cfg(test)]
mod tests;
