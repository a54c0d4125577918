use spotwise_model::plan::PolicyCost;

use super::*;
use spotwise_control::core::Change;
use spotwise_control::fixture::{at, attempt, job, machine, now, state_of};

fn micros(amount: i64) -> Money {
    Money::from_micros(amount)
}

/// Two critical jobs on demand since 0 h, expected to be done at 9 h, which would
/// have been $0.90 and $0.45 cheaper on spot; a dev job that pays for another pool.
fn state() -> State {
    let dear = machine(1, "a", CapacityType::OnDemand);
    let spot = machine(2, "b", CapacityType::Spot);
    let ran = || AttemptState::Running { placed: None, launched: now(0), since: now(1) };
    let mut made: Vec<Change> =
        vec![job(1, "critical").into(), job(2, "critical").into(), job(3, "dev").into()];
    made.extend([Change::from(dear.clone()), spot.clone().into()]);
    for (id, machine, band, pools) in
        [(1, &dear, 900_000, 0), (2, &dear, 450_000, 0), (3, &spot, 0, 90_000)]
    {
        let mut attempt = attempt(id, &[machine], 4, ran());
        attempt.why.policy_cost = PolicyCost { band: micros(band), pools: micros(pools) };
        made.push(attempt.into());
    }
    state_of(made)
}

#[test]
fn a_band_costs_what_live_jobs_pay_more_in_an_hour_times_a_week() {
    let found = bands(&state(), &Policy::default(), at(4));
    let [dev, critical] = &found[..] else { panic!("{found:?}") };
    assert_eq!((critical.class.as_str(), critical.dearer_jobs), ("critical", 2));
    // $1.35 in nine hours: 15 cents an hour.
    assert_eq!(critical.ceiling_micros_per_week, 25_200_000);
    assert_eq!((critical.floor_micros_per_week, critical.pools_micros_per_week), (0, 0));
    assert_eq!(critical.spot_share, Some(0.0));
    assert_eq!(
        critical.costs,
        ["the spot ceiling on critical costs $25.20 a week: 2 live jobs pay $0.15 an hour more \
          than without it, at the prices of their placement"]
    );
    assert_eq!(dev.pools_micros_per_week, 1_680_000);
    assert!(dev.costs[0].starts_with("the wish for 3 pools for dev costs $1.68 a week"), "{dev:?}");
}

#[test]
fn what_costs_nothing_is_not_talked_about_and_what_ended_costs_nothing() {
    let mut state = state();
    let live: Vec<_> = state.attempts.values().cloned().collect();
    for mut attempt in live {
        attempt.state = attempt.state.end(now(2), spotwise_model::Outcome::Succeeded).unwrap();
        state.apply(&mut Change::Attempt(Box::new(attempt)));
    }
    for band in bands(&state, &Policy::default(), at(4)) {
        assert_eq!((band.dearer_jobs, band.ceiling_micros_per_week), (0, 0));
        assert!(band.costs.is_empty(), "{band:?}");
    }
}

#[test]
fn an_attempt_says_which_wish_it_pays_for() {
    let state = state();
    let said = |id: u64, class| {
        let attempt = state.attempts.values().find(|a| a.id.job.0 == id).unwrap();
        why_dearer(class, attempt)
    };
    assert_eq!(
        said(1, Class::Critical).unwrap(),
        "$0.90 of it is for the spot ceiling on critical"
    );
    assert_eq!(said(3, Class::Dev).unwrap(), "$0.09 of it is for the wish for more pools for dev");
    let mut free = state.attempts.values().next().unwrap().clone();
    free.why.policy_cost = PolicyCost::default();
    assert_eq!(why_dearer(Class::Critical, &free), None);
}
