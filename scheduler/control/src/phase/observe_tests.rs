use spotwise_model::Job;
use spotwise_model::attempt::Exit;

use super::*;
use crate::fixture::{at, attempt, job, machine, state_of};
use crate::phase::attempt_end::EXIT_REQUEUE;

fn second(second: u64) -> Now {
    let at = after(at(0), Duration::from_secs(second));
    Now { market: at, wall: at }
}

/// It has been running since second 0, its worker last reported at 99, and it is told to
/// stop at 100.
fn ordered(reason: StopReason, reclaim_wall: Option<Timestamp>) -> State {
    let bought = machine(1, "a", CapacityType::Spot);
    let runs = AttemptState::Running { placed: None, launched: second(0), since: second(0) };
    let mut live = attempt(1, &[&bought], 8, runs);
    live.stop = Some(StopOrder { reason, at: second(100), reclaim_wall });
    let owner: Job = job(1, "training");
    let mut state = state_of(vec![owner.into(), bought.into(), live.clone().into()]);
    state.seen.heartbeats.insert((live.id, 0), second(99).wall);
    state
}

/// The first second at which it counts as ended, and how.
fn ends(state: &State, config: &Config) -> (u64, Outcome) {
    let found = (100..2_000).find_map(|tick| {
        let changes = observe(state, config, second(tick));
        let ended = changes.into_iter().find_map(|change| match change {
            Change::Attempt(attempt) => attempt.state.outcome().cloned(),
            _ => None,
        });
        ended.map(|outcome| (tick, outcome))
    });
    found.expect("it ends")
}

/// A worker that does not receive the order works until its lease, which began with the
/// last answer, has expired: nothing may follow before.
#[test]
fn an_attempt_that_another_follows_is_over_only_when_its_lease_is() {
    let config = Config::default();
    assert!(config.lease > config.default_grace + STOP_TIMEOUT, "else nothing is tested");
    let lease = 100 + (config.lease + LEASE_MARGIN).as_secs();
    for reason in [StopReason::Moved, StopReason::GangBroken, StopReason::Interrupted] {
        let (at, outcome) = ends(&ordered(reason, None), &config);
        assert!(at >= lease, "{reason:?}: {at} s, the lease is over at {lease} s");
        let named = if reason == StopReason::Interrupted {
            Outcome::Interrupted
        } else {
            Outcome::Stopped { reason }
        };
        assert_eq!(outcome, named);
    }
}

#[test]
fn nothing_follows_a_cancelled_attempt_and_it_is_not_waited_for_so_long() {
    let config = Config::default();
    let own = 100 + (config.default_grace + STOP_TIMEOUT).as_secs();
    for reason in [StopReason::Cancelled, StopReason::TimedOut] {
        assert_eq!(ends(&ordered(reason, None), &config), (own, Outcome::Stopped { reason }));
    }
    let budget = 100 + (config.default_grace + BUDGET_STOP_MARGIN).as_secs();
    let reason = StopReason::Budget;
    assert_eq!(ends(&ordered(reason, None), &config), (budget, Outcome::Stopped { reason }));
    // A provider's end is the end, whatever a lease says.
    let state = ordered(StopReason::Interrupted, Some(second(220).wall));
    assert_eq!(ends(&state, &config).0, 220 + LEASE_MARGIN.as_secs());
}

#[test]
fn silence_is_no_end_before_lease_and_grace_are_over() {
    let config = Config::default();
    let mut state = ordered(StopReason::Moved, None);
    state.attempts.values_mut().for_each(|attempt| attempt.stop = None);
    state.seen.since = Some(second(0).wall);
    let patience = (config.lease + config.default_grace + LEASE_MARGIN).as_secs();
    assert_eq!(ends(&state, &config), (99 + patience + 1, Outcome::Lost));
    // A scheduler that was away itself counts from when it came back.
    state.seen.since = Some(second(150).wall);
    assert_eq!(ends(&state, &config).0, 150 + patience + 1);
}

/// The order of seed 1517: a budget that ends before a notice does.
#[test]
fn an_attempt_on_notice_that_is_stopped_for_its_budget_ends_before_its_machine() {
    let config = Config::default();
    let budget = 100 + (config.default_grace + BUDGET_STOP_MARGIN).as_secs();
    let reason = StopReason::Budget;
    let state = ordered(reason, Some(second(220).wall));
    assert_eq!(ends(&state, &config), (budget, Outcome::Stopped { reason }));
    let state = ordered(reason, Some(second(103).wall));
    assert_eq!(ends(&state, &config).0, 103 + LEASE_MARGIN.as_secs(), "nor after it");
}

/// Seed 2231: one member was dead and its pool did not show it; the whole attempt was taken
/// for lost while the others were running.
#[test]
fn the_rest_of_a_gang_is_stopped_when_one_member_is_silent() {
    let config = Config::default();
    let machines = [machine(1, "a", CapacityType::Spot), machine(2, "a", CapacityType::Spot)];
    let runs = AttemptState::Running { placed: None, launched: second(0), since: second(0) };
    let mut live = attempt(1, &[&machines[0], &machines[1]], 8, runs);
    live.nodes.iter_mut().for_each(|node| node.started = Some(second(0)));
    let [one, two] = machines.clone();
    let owner: Job = job(1, "training");
    let mut state = state_of(vec![owner.into(), one.into(), two.into(), live.clone().into()]);
    state.seen.since = Some(second(0).wall);
    let patience = (config.lease + config.default_grace + LEASE_MARGIN).as_secs();
    let late = second(patience + 1);
    state.seen.heartbeats.insert((live.id, 1), late.wall);
    let changes = observe(&state, &config, late);
    assert_eq!(changes.len(), 3, "its exit, the order, and a line: {changes:?}");
    for mut change in changes {
        state.apply(&mut change);
    }
    let broken = &state.attempts[&live.id];
    assert!(broken.state.is_live(), "the other runs");
    assert_eq!(broken.nodes[0].exited, Some((late, Exit::Code(EXIT_REQUEUE))));
    assert_eq!(broken.nodes[1].exited, None);
    assert_eq!(broken.stop.map(|order| order.reason), Some(StopReason::GangBroken));
    assert_eq!(observe(&state, &config, late), [], "once");
    // Where nobody speaks the whole is lost.
    state.apply(&mut live.into());
    state.seen.heartbeats.clear();
    assert_eq!(ends(&state, &config), (patience + 1, Outcome::Lost));
}
