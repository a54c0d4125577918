#![expect(clippy::disallowed_methods, reason = "only differences count")]

use super::*;

const GRACE: Duration = Duration::from_secs(10);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn notice(seconds: u64) -> Order {
    Order::Notice { reclaim_in: secs(seconds), action: "terminate".to_owned() }
}

#[test]
fn a_stop_terminates_then_kills_at_the_end_of_the_grace() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    assert_eq!(it.order(Order::Stop { within: Some(secs(60)) }, t), [Action::Terminate]);
    assert_eq!(it.next(), Some(t + GRACE), "the grace is shorter than the order's limit");
    assert_eq!(it.order(Order::Stop { within: Some(secs(60)) }, t + secs(1)), []);
    assert_eq!(it.next(), Some(t + GRACE), "a repeat moves nothing");
    assert_eq!(it.order(Order::Stop { within: Some(secs(2)) }, t + secs(1)), []);
    assert_eq!(it.wake(t + secs(2)), []);
    assert_eq!(it.wake(t + secs(3)), [Action::Kill]);
    assert_eq!(it.wake(t + secs(4)), []);
    assert!(it.may_save());
}

#[test]
fn a_stop_without_time_kills_at_once() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    let actions = it.order(Order::Stop { within: Some(Duration::ZERO) }, t);
    assert_eq!(actions, [Action::Terminate, Action::Kill]);
}

#[test]
fn a_notice_leaves_room_for_grace_and_save() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, true);
    let actions = it.order(notice(120), t);
    assert!(matches!(actions.as_slice(), [Action::WriteNotice { .. }, Action::Warn]));
    assert_eq!(it.next(), Some(t + secs(108)));
    assert_eq!(it.order(notice(119), t + secs(1)), [], "written once");
    assert_eq!(it.wake(t + secs(108)), [Action::Terminate]);
    assert_eq!(it.next(), Some(t + secs(118)));
    assert!(it.may_save());
}

#[test]
fn a_late_notice_terminates_at_once_and_kills_before_the_reclaim() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    let actions = it.order(notice(5), t);
    assert!(matches!(actions.as_slice(), [Action::WriteNotice { .. }, Action::Terminate]));
    assert_eq!(it.next(), Some(t + secs(4)));
}

#[test]
fn a_notice_shortens_a_grace_that_runs() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    it.order(Order::Stop { within: None }, t);
    assert_eq!(it.order(notice(4), t), []);
    assert_eq!(it.next(), Some(t + secs(3)));
}

#[test]
fn a_lost_lease_stops_in_time_and_saves_nothing() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    assert_eq!(it.order(Order::LeaseLost, t), [Action::Terminate]);
    assert_eq!(it.next(), Some(t + LEASE_GRACE));
    assert!(!it.may_save());
}

#[test]
fn money_that_is_over_stops_in_the_grace_and_may_be_saved() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    assert_eq!(it.order(Order::Money { until: t + secs(60) }, t), []);
    assert_eq!(it.order(Order::Money { until: t + secs(90) }, t + secs(50)), []);
    assert_eq!(it.wake(t + secs(60)), [], "it was told a later time");
    assert_eq!(it.next(), Some(t + secs(90)));
    assert_eq!(it.order(Order::Money { until: t + secs(80) }, t + secs(60)), []);
    assert!(!it.out_of_money());
    assert_eq!(it.wake(t + secs(80)), [Action::Terminate]);
    assert!(it.out_of_money() && it.may_save());
    assert_eq!(it.order(Order::Money { until: t + secs(900) }, t + secs(81)), [], "too late");
    assert_eq!(it.next(), Some(t + secs(90)));
    assert_eq!(it.wake(t + secs(90)), [Action::Kill]);
}

#[test]
fn money_ends_before_the_reclaim_and_before_a_slow_stop() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    it.order(notice(120), t);
    it.order(Order::Money { until: t + secs(20) }, t);
    assert_eq!(it.wake(t + secs(20)), [Action::Terminate]);
    assert_eq!(it.next(), Some(t + secs(30)));
    let mut it = Supervisor::new(GRACE, false);
    it.order(Order::Stop { within: None }, t);
    assert_eq!(it.order(Order::Money { until: t - secs(5) }, t), []);
    assert_eq!(it.next(), Some(t + secs(5)), "counted from when the money was over");
}

#[test]
fn a_command_that_has_ended_needs_no_money() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    it.exited();
    assert_eq!(it.order(Order::Money { until: t }, t), []);
    assert!(!it.out_of_money() && it.next().is_none());
    assert_eq!(it.last_save(), Some(t + GRACE + BUDGET_SAVE));
}

/// A second order, sooner than the notice: `a_notice…` the other way round.
#[test]
fn a_stop_during_a_notice_comes_first() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    it.order(notice(120), t);
    let stop = Order::Stop { within: Some(GRACE) };
    assert_eq!(it.order(stop, t + secs(3)), [Action::Terminate]);
    assert_eq!(it.next(), Some(t + secs(13)));
    assert_eq!(it.order(notice(110), t + secs(10)), [], "the notice is repeated");
    assert_eq!(it.next(), Some(t + secs(13)));
}

#[test]
fn superseded_kills_from_every_phase_but_not_the_dead() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    it.order(Order::Stop { within: None }, t);
    assert_eq!(it.order(Order::Superseded, t), [Action::Kill]);
    assert!(!it.may_save());
    let mut over = Supervisor::new(GRACE, false);
    over.exited();
    assert_eq!(over.order(Order::Superseded, t), []);
    assert_eq!(over.order(notice(1), t), []);
    assert_eq!(over.next(), None);
}

#[test]
fn before_the_start_a_notice_waits_and_the_rest_ends_the_attempt() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    assert_eq!(it.order_before_start(notice(120), t), None);
    assert_eq!(it.order_before_start(Order::Money { until: t + secs(5) }, t), None);
    assert_eq!(it.wake_before_start(t + secs(4)), None);
    assert_eq!(it.wake_before_start(t + secs(5)), Some(Order::Stop { within: None }));
    assert_eq!(it.order_before_start(Order::LeaseLost, t), Some(Order::LeaseLost));
}

#[test]
fn after_the_end_only_the_lease_and_a_newer_attempt_forbid_to_save() {
    let t = Instant::now();
    let mut it = Supervisor::new(GRACE, false);
    it.exited();
    assert!(
        !it.order_after_end(notice(1), t) && !it.order_after_end(Order::Stop { within: None }, t)
    );
    assert!(!it.order_after_end(Order::Money { until: t }, t));
    assert_eq!(it.last_save(), Some(t + GRACE + BUDGET_SAVE));
    assert!(it.order_after_end(Order::LeaseLost, t) && it.order_after_end(Order::Superseded, t));
}
