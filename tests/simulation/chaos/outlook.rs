//! What schedulers expect of the spot markets. Fitting it takes a hundred times
//! longer than everything else in a simulated month, and it bears on choices
//! only, never on what must hold: all worlds share one fit, kept fresh.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use spotwise_control::Config;
use spotwise_control::core::State;
use spotwise_control::core::state::ForecastRequest;
use spotwise_control::phase::round::{self, Received, RoundInputs, WorkingState};
use spotwise_model::spec::{Format, parse};
use spotwise_model::time::between;
use spotwise_model::{Now, PoolSet};
use spotwise_solver::Forecast;

use super::faults::Kinds;
use super::scenario::Scenario;
use super::simulated_market::SimulatedMarket;
use super::time::{self, DAY};

struct Outlook {
    forecasts: Vec<Forecast>,
    /// From the first step to the fit.
    memory: Duration,
}

/// The common outlook, as if it were fitted at `now`.
pub(crate) fn at(now: Timestamp, config: &Config, pools: &PoolSet) -> Vec<Forecast> {
    // Worlds with an account buy on other markets than those without, and some see nothing of them.
    static OUTLOOKS: [OnceLock<Outlook>; 3] = [const { OnceLock::new() }; 3];
    let hidden = pools.is_any_unknown();
    let outlook = &OUTLOOKS[usize::from(pools.pools.len() > 1) + usize::from(hidden)];
    let outlook = outlook.get_or_init(|| fit(config, pools));
    let first = now.checked_sub(outlook.memory).unwrap_or(now);
    let of_size =
        |nodes| outlook.forecasts.iter().map(move |f| Forecast { first, nodes, ..f.clone() });
    GANGS.into_iter().flat_map(of_size).collect()
}

/// What the worlds' jobs ask for at once.
const GANGS: [u32; 3] = [1, 2, 3];

/// What every machine type can run.
const ASKED: &str = "name: a\ncommand: [a]\nresources: {cpus: 1, memory: 1GB}\ncheckpoint: {}\n";

fn fit(config: &Config, pools: &PoolSet) -> Outlook {
    let start: Timestamp = "2026-01-05T00:00:00Z".parse().expect("a fixed time");
    let scenario = Scenario { seed: 2, days: 5, submissions: 0, kinds: Kinds::new(), nodes: 1 };
    assert!(scenario.is_sliced(), "all machine types are in it");
    let place =
        SimulatedMarket::invented(&mut ChaCha8Rng::seed_from_u64(1), start, &scenario, 5 * DAY);
    let mut state = State { pools: pools.clone(), ..State::default() };
    let spec = parse(ASKED.as_bytes(), Format::Yaml).expect("it is one").jobs.remove(0).into();
    state.seen.forecast_requests = vec![ForecastRequest { spec, until: Timestamp::MAX }];
    let at = time::at(start, 4 * DAY);
    let now = Now { market: at, wall: at };
    let prices = Some(round::ask_prices(&state, &place.market, now));
    let mut working = WorkingState { state: &mut state, changes: Vec::new() };
    let inputs = RoundInputs { market: &place.market, config };
    round::run(&mut working, Received { plan: None, prices }, inputs, now);
    let forecasts = state.seen.forecasts;
    let memory = forecasts.first().map_or(Duration::ZERO, |f| between(f.first, at));
    Outlook { forecasts, memory }
}
