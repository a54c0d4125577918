//! Known answers, and what holds whatever is seen.

use proptest::prelude::*;

use super::belief::long_run;
use super::log::{End, Launch, OwnMachine, OwnMarket, estimate};
use super::rates::Count;
use super::words::RestsOn;
use super::*;
use crate::spot::horizon::Classes;

const STEP: f64 = 600.0;

/// An estimator that has seen this of its zones, step by step.
fn saw(regions: Vec<usize>, steps: &[&[(usize, Sight)]]) -> Estimator {
    let mut own = Estimator::new(regions, STEP, StatedPrior::Recorded);
    for step in steps {
        own.pass();
        step.iter().for_each(|(zone, sight)| own.see(*zone, *sight));
    }
    own
}

fn held(steps: usize) -> Vec<&'static [(usize, Sight)]> {
    vec![&[(0, Sight::Held)]; steps]
}

#[test]
fn a_factor_is_the_mean_of_a_gamma() {
    let count = Count { ends: 4.0, expected: 1.0 };
    // Gamma(2, 2) after 4 ends where 1 was expected: (2 + 4) / (2 + 1).
    assert_eq!(count.drawn_to(1.0, 2.0), 2.0);
    let none = Count::default().drawn_to(0.7, 3.0);
    assert!((none - 0.7).abs() < 1e-12, "without data, the prior: {none}");
}

#[test]
fn the_long_run_is_what_steps_lead_to() {
    let classes = Classes::new(1, STEP);
    let ends: Vec<f64> = (0..classes.all()).map(|class| 0.3 / (class + 1) as f64).collect();
    let rest = long_run(&classes, &ends);
    assert!((rest.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    for (one, later) in rest.iter().zip(classes.later(&rest, &ends)) {
        assert!((one - later).abs() < 1e-12);
    }
    let mut chances = vec![0.0; classes.all()];
    chances[0] = 1.0;
    (0..20_000).for_each(|_| chances = classes.later(&chances, &ends));
    assert!(rest.iter().zip(&chances).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn what_was_granted_is_there_and_what_was_refused_is_not() {
    let own = saw(vec![0, 0], &[&[(0, Sight::Held), (1, Sight::Refused)]]);
    assert!((own.chance_up(0) - 1.0).abs() < 1e-12);
    assert_eq!(own.chance_up(1), 0.0);
    assert_eq!(own.chance_up(7), 0.0, "a zone that is not");
}

#[test]
fn a_refusal_fades_to_the_long_run() {
    let mut own = saw(vec![0], &[&[(0, Sight::Refused)]]);
    let rest = Estimator::new(vec![0], STEP, StatedPrior::Recorded).chance_up(0);
    let mut last = own.chance_up(0);
    for _ in 0..60 {
        own.pass();
        assert!(own.chance_up(0) >= last, "it only rises");
        last = own.chance_up(0);
    }
    assert!(last > 0.5 * rest, "{last} of {rest}");
    (0..20_000).for_each(|_| own.pass());
    assert!((own.chance_up(0) - rest).abs() < 0.01);
}

#[test]
fn an_interruption_raises_the_hazard_of_neighbours_most() {
    let steps: &[&[(usize, Sight)]] =
        &[&[(0, Sight::Held)], &[(0, Sight::Taken)], &[(0, Sight::Held)], &[(0, Sight::Taken)]];
    let own = saw(vec![0, 0, 1], steps);
    let hazard = |zone| own.hazard_per_hour(zone, true, 1);
    let prior = saw(vec![0, 0, 1], &[]).hazard_per_hour(0, true, 1);
    assert!(hazard(0) > hazard(1) && hazard(1) > hazard(2) && hazard(2) > prior);
}

#[test]
fn the_hazard_of_what_is_there_is_that_of_its_age() {
    let begun: &[&[(usize, Sight)]] = &[&[(0, Sight::Refused)], &[(0, Sight::Held)]];
    let (young, old) = (saw(vec![0], begun), saw(vec![0], &held(300)));
    assert!((young.hazard_if_up(0) - young.hazard_per_hour(0, true, 1)).abs() < 1e-9);
    assert!((old.hazard_if_up(0) - old.hazard_per_hour(0, true, 300)).abs() < 1e-3);
    let gone = saw(vec![0], &[&[(0, Sight::Refused)]]);
    assert_eq!(gone.hazard_if_up(0), gone.hazard_per_hour(0, true, 1), "of the next spell");
    assert_eq!(gone.hazard_if_up(7), 0.0, "a zone that is not");
}

#[test]
fn what_was_seen_is_forgotten() {
    let steps: &[&[(usize, Sight)]] = &[&[(0, Sight::Held)], &[(0, Sight::Taken)]];
    let mut own = saw(vec![0], steps);
    own.pass();
    let prior = saw(vec![0], &[]).hazard_per_hour(0, true, 1);
    let fresh = own.hazard_per_hour(0, true, 1);
    (0..144 * 3).for_each(|_| own.pass());
    let old = own.hazard_per_hour(0, true, 1);
    assert!(prior < old && old < fresh, "{prior} {old} {fresh}");
    (0..144 * 60).for_each(|_| own.pass());
    assert!((own.hazard_per_hour(0, true, 1) / prior - 1.0).abs() < 1e-3);
}

#[test]
fn a_prior_has_the_mean_that_it_states() {
    let classes = Classes::new(1, STEP);
    for hours in [0.5, 3.0, 40.0, 1_000.0] {
        let ends = StatedPrior::MeanHours { up: hours, down: 2.0 }.ends(&classes, STEP);
        let rest = long_run(&classes, &ends);
        let share: f64 = rest[..classes.up()].iter().sum();
        assert!((share / (hours / (hours + 2.0)) - 1.0).abs() < 0.01, "{hours}: {share}");
    }
    let monthly = StatedPrior::Advisor { from: 5, to: Some(10) }.mean_hours().unwrap();
    // 7.5 % in 730.5 hours.
    assert!((monthly - 9_370.0).abs() < 5.0, "{monthly}");
    assert_eq!(StatedPrior::bucket(5.0), StatedPrior::bucket(7.9));
    assert!(4.0 < StatedPrior::bucket(5.0) && StatedPrior::bucket(5.0) < 8.0);
}

fn market() -> OwnMarket {
    let launch = |at, granted| Launch { at, granted };
    OwnMarket {
        region: 0,
        launches: vec![launch(0.1, false), launch(1.1, true), launch(9.2, false)],
        machines: vec![
            OwnMachine { from: 1.1, end: End::Taken(8.1) },
            OwnMachine { from: 2.0, end: End::GivenBack(7.0) },
        ],
    }
}

#[test]
fn a_log_is_what_its_steps_show() {
    let hours = 3_600.0;
    let own = estimate(&[market(), OwnMarket::default()], hours, StatedPrior::Recorded, 10.0);
    let seen: Vec<Sight> = (0..own.steps()).map(|step| own.sight(step, 0)).collect();
    let (held, none) = (Sight::Held, Sight::Nothing);
    let mut expected = vec![Sight::Refused, held, held, held, held, held, held, held];
    expected.extend([Sight::Taken, Sight::Refused]);
    assert_eq!(seen, expected);
    assert!((0..own.steps()).all(|step| own.sight(step, 1) == none));
    let early = estimate(&[market()], hours, StatedPrior::Recorded, -1.0);
    assert_eq!(early.steps(), 0);
}

#[test]
fn words_say_what_it_rests_on() {
    let prior = StatedPrior::Advisor { from: 5, to: Some(10) };
    let words = |now| RestsOn::of(&market(), prior, now).to_string();
    assert_eq!(
        words(10.0),
        "12 machine-hours seen here, 1 interruption; last launch refused 48 min ago; prior 5-10 % a month"
    );
    assert_eq!(words(0.0), "nothing seen here; prior 5-10 % a month");
}

fn sights() -> impl Strategy<Value = Vec<Vec<(usize, Sight)>>> {
    let sight = prop_oneof![
        3 => Just(Sight::Nothing), 5 => Just(Sight::Held), 1 => Just(Sight::Taken),
        2 => Just(Sight::Refused)
    ];
    let step = proptest::collection::vec(sight, 3)
        .prop_map(|zones| zones.into_iter().enumerate().collect::<Vec<_>>());
    proptest::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_factor_lies_between_prior_and_data(
        ends in 0.0..50.0_f64, expected in 0.01..50.0_f64, prior in 0.01..20.0_f64,
        weight in 0.1..10.0_f64,
    ) {
        let factor = Count { ends, expected }.drawn_to(prior, weight);
        let data = ends / expected;
        prop_assert!(factor >= data.min(prior) - 1e-9 && factor <= data.max(prior) + 1e-9);
        let more = Count { ends: ends + 1.0, expected }.drawn_to(prior, weight);
        let longer = Count { ends, expected: expected + 1.0 }.drawn_to(prior, weight);
        prop_assert!(longer <= factor && factor <= more);
    }

    #[test]
    fn longer_without_an_interruption_is_safer(steps in 1usize..200, more in 1usize..50) {
        let (short, long) = (saw(vec![0], &held(steps)), saw(vec![0], &held(steps + more)));
        for age in [1, 5, 30, 100] {
            let (before, after) = (short.hazard_per_hour(0, true, age), long.hazard_per_hour(0, true, age));
            prop_assert!(after <= before * 1.000_001, "age {age}: {before} then {after}");
        }
    }

    #[test]
    fn beliefs_are_chances_whatever_is_seen(steps in sights()) {
        let steps: Vec<&[(usize, Sight)]> = steps.iter().map(Vec::as_slice).collect();
        let own = saw(vec![0, 0, 1], &steps);
        for zone in own.zones(&[0.1, 0.2, 0.3]) {
            prop_assert!((zone.chances.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(zone.chances.iter().chain(&zone.ends).all(|p| (0.0..=1.0).contains(p)));
        }
        for group in [vec![0], vec![0, 1], vec![0, 1, 2]] {
            prop_assert!(own.group(&group).iter().all(|p| *p > 0.0 && *p < 1.0));
        }
    }
}
