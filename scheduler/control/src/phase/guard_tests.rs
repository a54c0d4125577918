use std::sync::Arc;

use proptest::prelude::*;
use spotwise_model::policy::Policy;
use spotwise_model::time::after;
use spotwise_model::{AttemptState, CapacityType};

use super::*;
use crate::fixture::{at, attempt, hear, job, machine, state_of};
use crate::view::accrued::accrued;
use spotwise_market::{Market, MarketSeries, Row};

/// One attempt of a job with this budget on one machine of this price, both from
/// the same second on.
fn world(budget: i64, micros_per_hour: i64) -> State {
    let mut bought = machine(1, "a", CapacityType::Spot);
    bought.launch_price = Price::from_micros_per_hour(micros_per_hour);
    let series = MarketSeries {
        zone: bought.offer.market.zone.clone(),
        instance_type: bought.offer.market.instance_type.clone(),
        shape: bought.shape.clone(),
        on_demand: Price::from_micros_per_hour(2 * micros_per_hour),
        rows: vec![Row { at: at(0), available: 9, price: Some(bought.launch_price) }],
    };
    let begin = Now { market: at(0), wall: at(0) };
    let runs = AttemptState::Running { placed: None, launched: begin, since: begin };
    let live = attempt(1, &[&bought], 8, runs);
    let mut owner = job(1, "training");
    Arc::make_mut(&mut owner.spec).budget = Some(Money::from_micros(budget));
    let mut state = state_of(vec![owner.into(), live.into(), bought.into()]);
    hear(&mut state, &Market::new(vec![series], None).unwrap());
    state
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
            ..Config::default()
        };
        let speed = i64::from(config.speed);
        // Enough for so many wall seconds and a part of one more.
        let budget = (seconds * 1_000 + part) * speed * micros_per_hour / 3_600_000;
        let state = world(budget, micros_per_hour);
        let policy = Policy::default();
        let cost = |second: u64| accrued(&state, &policy, later(second, config.speed));
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
fn a_fuse_knows_that_a_commitment_ends() {
    let config = Config::default();
    // Ten dollars: a dollar an hour for two hours, two dollars from then on.
    let mut state = world(10_000_000, 1_000_000);
    let mut seated = state.instances[&spotwise_model::InstanceId(1)].clone();
    seated.on_demand = Price::from_micros_per_hour(2_000_000);
    seated.offer.market.capacity_type = CapacityType::OnDemand;
    let seated = seated.with_coverage(spotwise_model::CoveredSpan {
        commitment: "research-a".to_owned(),
        price: Price::from_micros_per_hour(1_000_000),
        from: at(0),
        until: at(2),
    });
    state.apply(&mut seated.into());
    let policy = Policy::default();
    let now = later(60, 1);
    let costs = accrued(&state, &policy, now);
    let changes = cutoffs(&state, &costs, &config, now);
    let Some(Change::Attempt(told)) = changes.first() else { panic!("{changes:?}") };
    let over = told.cutoff.unwrap().gone_by.market;
    let six = at(6) - Duration::from_secs(60)..=at(6);
    assert!(six.contains(&over), "six hours, not ten: {over}");
    let mut paid = state.clone();
    let mut last = paid.attempts[&told.id].clone();
    last.state =
        last.state.end(Now { market: over, wall: over }, spotwise_model::Outcome::Lost).unwrap();
    paid.apply(&mut last.into());
    let at_the_end = accrued(&paid, &policy, Now { market: over, wall: over });
    let all: Money = at_the_end.into_values().sum();
    assert!(all <= Money::from_micros(10_000_000), "{all:?}");
}

#[test]
fn what_is_not_bounded_is_not_stopped() {
    let mut state = world(1, 40_000_000);
    let config = Config::default();
    let now = later(9_000, 1);
    let costs = accrued(&state, &Policy::default(), now);
    assert_eq!(guard(&state, &costs, &config, now).len(), 2, "the order and a line about it");
    let owner = state.jobs.values_mut().next().unwrap();
    Arc::make_mut(&mut owner.spec).budget = None;
    assert!(!is_bounded(owner));
    assert!(guard(&state, &costs, &config, now).is_empty());
}

/// The machine is taken back at second 4,120; its attempt was told at 4,000. A
/// machine that is younger than an hour then would be free.
fn on_notice(state: &mut State, bought_at: u64, speed: u32) {
    let told = later(4_000, speed);
    let bought = later(bought_at, speed).market;
    let reclaim = later(4_120, speed);
    for machine in state.instances.values_mut() {
        machine.state =
            InstanceState::Noticed { since: bought, at: told.market, reclaim_at: reclaim.market };
    }
    let order =
        StopOrder { reason: StopReason::Interrupted, at: told, reclaim_wall: Some(reclaim.wall) };
    let noticed = state.attempts.values().next().unwrap().clone().order_stop(order);
    state.apply(&mut noticed.into());
}

fn ordered(changes: Vec<Change>) -> Option<StopOrder> {
    changes.into_iter().find_map(|change| match change {
        Change::Attempt(attempt) => attempt.stop,
        _ => None,
    })
}

/// One micro-dollar a second, and money for 4,060 seconds: a minute less than the
/// notice leaves.
#[test]
fn a_machine_on_notice_is_stopped_when_the_budget_ends_before_it() {
    let mut state = world(4_060, 3_600);
    on_notice(&mut state, 0, 1);
    let config = Config::default();
    let look = |second| {
        let now = later(second, 1);
        let costs = accrued(&state, &Policy::default(), now);
        ordered(guard(&state, &costs, &config, now))
    };
    let begin = 4_060 - (config.default_grace + BUDGET_STOP_MARGIN + NEXT_LOOK).as_secs();
    assert_eq!(look(begin - 1), None, "there is money left");
    let order = look(begin).expect("it is stopped");
    assert_eq!(order.reason, StopReason::Budget);
    assert_eq!(order.at, later(begin, 1));
    assert_eq!(order.reclaim_wall, Some(later(4_120, 1).wall), "its machine goes all the same");
}

#[test]
fn a_machine_that_its_provider_gives_for_free_is_not_stopped() {
    let mut state = world(1, 3_600);
    on_notice(&mut state, 1_000, 1);
    let config = Config::default();
    let now = later(4_010, 1);
    let costs = accrued(&state, &Policy::default(), now);
    assert!(costs.values().any(|cost| *cost > Money::from_micros(1)), "else nothing is tested");
    assert_eq!(guard(&state, &costs, &config, now), []);
    let told = cutoff_of(cutoffs(&state, &costs, &config, now)).unwrap();
    assert!(told.stop_at > later(4_120, 1).wall, "nor by its own worker");
}

#[test]
fn a_timeout_and_a_cancellation_are_not_overtaken_by_a_budget() {
    for reason in [StopReason::TimedOut, StopReason::Cancelled, StopReason::Budget] {
        let mut state = world(1, 3_600);
        let order = StopOrder { reason, at: later(5, 1), reclaim_wall: None };
        let stopped = state.attempts.values().next().unwrap().clone().order_stop(order);
        state.apply(&mut stopped.into());
        let config = Config::default();
        let costs = accrued(&state, &Policy::default(), later(9, 1));
        assert_eq!(guard(&state, &costs, &config, later(9, 1)), [], "{reason:?}");
    }
}

fn cutoff_of(changes: Vec<Change>) -> Option<BudgetCutoff> {
    changes.into_iter().find_map(|change| match change {
        Change::Attempt(attempt) => attempt.cutoff,
        _ => None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The last word that a worker hears is at `heard`; then nobody leads. What it
    /// costs up to its own end is within the budget, and not a second is given
    /// away but the one of rounding.
    #[test]
    fn a_worker_that_is_told_nothing_more_ends_before_its_budget_does(
        micros_per_hour in 360_000i64..40_000_000,
        seconds in 70i64..2_000,
        heard in 0u64..2_000,
        fast in any::<bool>(),
    ) {
        let config = Config {
            speed: if fast { 60 } else { 1 },
            ..Config::default()
        };
        let speed = u64::from(config.speed);
        let heard = heard.min(seconds.cast_unsigned());
        let budget = seconds * i64::from(config.speed) * micros_per_hour / 3_600;
        let state = world(budget, micros_per_hour);
        let cost = |now: Now| accrued(&state, &Policy::default(), now);
        let now = later(heard, config.speed);
        let told = cutoff_of(cutoffs(&state, &cost(now), &config, now)).expect("it has a budget");
        let own = config.default_grace + BUDGET_STOP_MARGIN;
        prop_assert_eq!(told.gone_by.wall, after(told.stop_at, own));
        if told.stop_at > now.wall {
            let paid: Money = cost(told.gone_by).into_values().sum();
            prop_assert!(paid.micros() <= budget, "{paid:?} of {budget}");
            let beyond = after(told.gone_by.market, Duration::from_secs(2 * speed));
            let more = Now { market: beyond, ..now };
            let paid: Money = cost(more).into_values().sum();
            prop_assert!(paid.micros() > budget, "{paid:?} of {budget}: there was more");
        }
    }
}

#[test]
fn workers_hear_at_once_of_less_and_in_time_of_more() {
    let cutoff = |second| {
        let stop_at = later(second, 1).wall;
        BudgetCutoff { stop_at, gone_by: Now { wall: stop_at, market: stop_at } }
    };
    let news = |standing, next, now| is_news(cutoff(standing), cutoff(next), later(now, 1));
    assert!(news(1_000, 999, 0));
    assert!(!news(1_000, 1_000, 0));
    assert!(!news(1_000, 1_400, 0), "it can wait");
    assert!(news(1_000, 1_400, 300) && news(1_000, 1_600, 0));
    assert!(!news(1_000, 1_001, 999), "not with every round");
    assert!(!news(1_000, 5_000, 1_000), "what has stopped does not go on");
}

#[test]
fn what_has_no_budget_has_no_fuse() {
    let mut state = world(1_000_000, 3_600);
    let config = Config::default();
    let owner = state.jobs.values_mut().next().unwrap();
    Arc::make_mut(&mut owner.spec).budget = None;
    let costs = accrued(&state, &Policy::default(), later(9, 1));
    assert_eq!(cutoffs(&state, &costs, &config, later(9, 1)), []);
}
