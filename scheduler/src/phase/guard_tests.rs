use std::sync::Arc;

use proptest::prelude::*;
use spotwise_model::policy::Policy;
use spotwise_model::time::after;
use spotwise_model::{AttemptState, CapacityType};

use super::*;
use crate::market::{Listing, Market, Row};
use crate::phase::settle::accrued;
use crate::phase::shares::tests::{at, attempt, job, machine, state_of};

/// One attempt of a job with this budget on one machine of this price, both from
/// the same second on.
fn world(budget: i64, micros_per_hour: i64) -> (State, Market) {
    let mut bought = machine(1, "a", CapacityType::Spot);
    bought.launch_price = Price::from_micros_per_hour(micros_per_hour);
    let listing = Listing {
        zone: bought.offer.zone.clone(),
        instance_type: bought.offer.instance_type.clone(),
        shape: bought.shape.clone(),
        on_demand: Price::from_micros_per_hour(2 * micros_per_hour),
        rows: vec![Row { at: at(0), available: 9, price: Some(bought.launch_price) }],
    };
    let begin = Now { market: at(0), wall: at(0) };
    let runs = AttemptState::Running { launched: begin, since: begin };
    let live = attempt(1, &[&bought], 8, runs);
    let mut owner = job(1, "training");
    Arc::make_mut(&mut owner.spec).budget = Some(Money::from_micros(budget));
    let state = state_of(vec![owner.into(), live.into(), bought.into()]);
    (state, Market::new(vec![listing], None).unwrap())
}

/// So many wall seconds after the begin; market time runs `speed` times as fast.
fn later(seconds: u64, speed: u32) -> Now {
    let wall = Duration::from_secs(seconds);
    Now { market: after(at(0), wall.saturating_mul(speed)), wall: after(at(0), wall) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rounds come once a second. The stop takes its whole grace and its margin,
    /// and still the budget is not exceeded; nor is it left unused.
    #[test]
    fn a_stop_for_the_budget_is_over_before_the_budget_is(
        micros_per_hour in 1_000i64..40_000_000,
        seconds in 70i64..2_000,
        part in 0i64..1_000,
        fast in any::<bool>(),
    ) {
        let config = Config {
            speed: if fast { 60 } else { 1 },
            ..Config::new("/data".into(), "spotwise".into())
        };
        let speed = i64::from(config.speed);
        // Enough for so many wall seconds and a part of one more.
        let budget = (seconds * 1_000 + part) * speed * micros_per_hour / 3_600_000;
        let (state, market) = world(budget, micros_per_hour);
        let policy = Policy::default();
        let cost = |second: u64| accrued(&state, &market, &policy, later(second, config.speed));
        let ordered = (0u64..2_100).find(|second| {
            let now = later(*second, config.speed);
            !guard(&state, &cost(*second), &config, now).is_empty()
        });
        let ordered = ordered.expect("it is stopped in the end");
        // As late as the next round would see it.
        let over = ordered + (config.default_grace + BUDGET_STOP_MARGIN).as_secs();
        let paid: Money = cost(over).into_values().sum();
        prop_assert!(paid.micros() <= budget, "{paid:?} of {budget}, ordered at {ordered}");
        let (least, took) = (seconds.cast_unsigned(), over + 2);
        prop_assert!(took >= least, "it has {least} s and is stopped after {over}");
    }
}

#[test]
fn what_is_not_bounded_is_not_stopped() {
    let (mut state, market) = world(1, 40_000_000);
    let config = Config::new("/data".into(), "spotwise".into());
    let now = later(9_000, 1);
    let costs = accrued(&state, &market, &Policy::default(), now);
    assert_eq!(guard(&state, &costs, &config, now).len(), 2, "the order and a line about it");
    let owner = state.jobs.values_mut().next().unwrap();
    Arc::make_mut(&mut owner.spec).budget = None;
    assert!(!is_bounded(owner));
    assert!(guard(&state, &costs, &config, now).is_empty());
}
