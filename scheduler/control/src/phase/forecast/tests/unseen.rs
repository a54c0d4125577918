//! Markets that show nothing of what they have.

use spotwise_model::instance::EndedBy;
use spotwise_model::pool::SupplyShown;
use spotwise_model::{Instance, InstanceId, InstanceState, PoolSet};

use super::*;
use crate::fixture::{cloud_pool, machine};

fn hidden(zone: &str) -> MarketKey {
    MarketKey { account: Account::new("4711"), ..key(zone) }
}

/// A scheduler that has seen these machines live from one minute to another, and has a job
/// and a gang in its queue. Such rounds fit what is due.
fn state(lives: &[(i64, Option<i64>)]) -> State {
    let mut pool = cloud_pool("cloud");
    pool.account = Account::new("4711");
    pool.supply = SupplyShown::Unknown;
    pool.times.boot = Duration::from_secs(600);
    let mut state = State { pools: PoolSet::of([pool]), ..State::default() };
    for (id, (from, to)) in (1..).zip(lives) {
        let mut life = machine(id, "x", CapacityType::Spot);
        life.offer.pool = spotwise_model::id::PoolName::new("cloud");
        life.offer.market = hidden("us-east-1a");
        let there = InstanceState::Registered { since: minute(*from) };
        let life = Instance { id: InstanceId(id), state: there, ..life };
        let life = match to {
            Some(to) => life.end(minute(*to), EndedBy::Provider).unwrap().settle().unwrap(),
            None => life,
        };
        state.apply(&mut life.into());
    }
    queue(&mut state, &[1, 4]);
    state
}

fn look(state: &mut State, market: &Market, now: i64) {
    let now = Now { market: minute(now), wall: minute(now) };
    let prices = Some(round::ask_prices(state, market, now));
    let mut working = WorkingState { state, changes: Vec::new() };
    let inputs = RoundInputs { market, config: &Config::default() };
    round::run(&mut working, Received { plan: None, prices }, inputs, now);
}

fn forecasts_of(state: &State) -> String {
    format!("{:?}", state.seen.forecasts)
}

#[test]
fn what_the_market_has_changes_no_forecast() {
    let lives = [(30, Some(200)), (230, None)];
    let seen = |rows: Vec<(i64, u32)>| {
        let market = market(&[("us-east-1a", rows.clone()), ("us-east-1b", rows)]);
        let mut state = state(&lives);
        for now in (400..480).step_by(20) {
            look(&mut state, &market, now);
        }
        assert_eq!(state.seen.forecasts.len(), 2);
        assert!(state.seen.forecasts.iter().all(|forecast| forecast.own.is_some()));
        assert_eq!(state.availability.rows().count(), 0, "nothing is learnt of it");
        forecasts_of(&state)
    };
    let none = seen(vec![(0, 0)]);
    assert_eq!(none, seen(vec![(0, 40)]));
    assert_eq!(none, seen(lively()));
}

#[test]
fn what_our_machines_have_seen_does() {
    let market = market(&[("us-east-1a", lively()), ("us-east-1b", lively())]);
    let of = |lives: &[(i64, Option<i64>)]| {
        let mut state = state(lives);
        look(&mut state, &market, 400);
        forecasts_of(&state)
    };
    assert_ne!(of(&[(30, Some(200))]), of(&[(30, None)]));
    assert_ne!(of(&[]), of(&[(30, None)]));
}

#[test]
fn beliefs_are_of_now_and_hazards_of_the_last_fit() {
    let market = market(&[("us-east-1a", lively()), ("us-east-1b", lively())]);
    let mut state = state(&[(30, None)]);
    look(&mut state, &market, 400);
    let before = state.seen.forecasts.clone();
    let life = state.instances[&InstanceId(1)].clone().end(minute(410), EndedBy::Provider);
    state.apply(&mut life.unwrap().into());
    look(&mut state, &market, 411);
    let after = &state.seen.forecasts;
    assert!(Arc::ptr_eq(&before[0].horizon, &after[0].horizon), "not fitted anew");
    let up = |forecast: &Forecast| forecast.own.as_ref().unwrap().chance_up(0);
    assert!(up(&before[0]) > 0.5 && up(&after[0]) < 0.001);
    look(&mut state, &market, 411 + 7 * 60);
    assert!(!Arc::ptr_eq(&before[0].horizon, &state.seen.forecasts[0].horizon), "it was old");
}

#[test]
fn the_basis_is_said_in_words() {
    let market = market(&[("us-east-1a", lively()), ("us-east-1b", lively())]);
    let mut state = state(&[(30, Some(200))]);
    look(&mut state, &market, 400);
    let words = |key: MarketKey| basis(&state, &key, 1, minute(400)).unwrap_or_default();
    let begin = "nobody says how much spot p3.2xlarge in us-east-1a there is: 2.8 machine-hours";
    assert!(words(hidden("us-east-1a")).starts_with(begin), "{}", words(hidden("us-east-1a")));
    assert!(words(hidden("us-east-1b")).contains("nothing seen here; prior as recorded"));
    assert_eq!(words(key("us-east-1a")), "", "nobody buys there");
}
