use spotwise_model::attempt::Exit;
use spotwise_model::time::after;
use spotwise_model::{CapacityType, Outcome};

use super::*;
use crate::fixture::{at, attempt, machine, state_of};

fn second(second: u64) -> Now {
    let at = after(at(0), Duration::from_secs(second));
    Now { market: at, wall: at }
}

fn launching(certainty: Certainty) -> AttemptState {
    AttemptState::Launching { placed: None, since: second(0), certainty }
}

/// A gang of two in this state.
fn world(state: AttemptState) -> (State, AttemptId) {
    let both = [machine(1, "a", CapacityType::Spot), machine(2, "a", CapacityType::Spot)];
    let gang = attempt(1, &[&both[0], &both[1]], 8, state);
    (state_of(vec![gang.clone().into()]), gang.id)
}

/// The seconds at which something is requested, and how much of it.
fn asked(
    state: &State,
    asked: &mut OutstandingCalls,
    seconds: impl Iterator<Item = u64>,
) -> Vec<(u64, usize)> {
    let look = |tick| (tick, asked.next(state, second(tick)).len());
    seconds.map(look).filter(|(_, effects)| *effects > 0).collect()
}

#[test]
fn a_launch_is_asked_for_once_and_by_every_member() {
    let (state, id) = world(launching(Certainty::Known));
    let mut memory = OutstandingCalls::default();
    let both = [0, 1].map(|rank| Effect::StartWorker(WorkerId { attempt: id, rank }));
    assert_eq!(memory.next(&state, second(0)), both);
    assert_eq!(asked(&state, &mut memory, 0..1_000), [], "its answer is known");
}

#[test]
fn an_ambiguous_launch_is_asked_again_by_the_same_name() {
    let (mut state, id) = world(launching(Certainty::Unknown));
    let mut memory = OutstandingCalls::default();
    assert_eq!(asked(&state, &mut memory, 0..16), [(0, 2), (5, 2), (10, 2), (15, 2)]);
    // Who has spoken is there.
    state.attempts.get_mut(&id).unwrap().nodes[0].registered = Some(second(16));
    let one = Effect::StartWorker(WorkerId { attempt: id, rank: 1 });
    assert_eq!(memory.next(&state, second(20)), [one]);
    state.attempts.get_mut(&id).unwrap().state =
        AttemptState::Running { placed: None, launched: second(0), since: second(21) };
    assert_eq!(asked(&state, &mut memory, 21..100), [], "it runs");
}

/// Seed 1437: its leader died between two launches, the worker of one died too, and the next
/// leader started another one of that rank, which outlived its attempt.
#[test]
fn a_member_that_is_gone_before_it_spoke_is_not_started_again() {
    for certainty in [Certainty::Known, Certainty::Unknown] {
        let (mut state, id) = world(launching(certainty));
        state.attempts.get_mut(&id).unwrap().nodes[0].exited = Some((second(0), Exit::Code(75)));
        let mut memory = OutstandingCalls::default();
        let other = Effect::StartWorker(WorkerId { attempt: id, rank: 1 });
        assert_eq!(memory.next(&state, second(0)), [other], "{certainty:?}");
    }
}

/// The pool knows a name permanently, so it does not matter how long the scheduler was away
/// between the call and its answer: 25 hours are longer than a client token of ECS lasts.
#[test]
fn launch_token_expired() {
    let (mut state, id) = world(launching(Certainty::Known));
    let first = OutstandingCalls::default().next(&state, second(0));
    let day = 25 * 3_600;
    let mut restarted = OutstandingCalls::default();
    assert_eq!(restarted.next(&state, second(day)), first, "the same names, no others");
    assert_eq!(restarted.next(&state, second(day + 1)), [], "and once");
    for node in &mut state.attempts.get_mut(&id).unwrap().nodes {
        node.registered = Some(second(1));
    }
    assert_eq!(
        OutstandingCalls::default().next(&state, second(day)),
        [],
        "both have spoken meanwhile"
    );
}

#[test]
fn what_is_over_is_killed_with_ever_longer_pauses() {
    let over = launching(Certainty::Known).end(second(0), Outcome::Lost).unwrap();
    let (mut state, id) = world(over);
    let mut memory = OutstandingCalls::default();
    assert_eq!(memory.next(&state, second(0)), [Effect::Kill(id)]);
    let times: Vec<u64> =
        asked(&state, &mut memory, 0..60_000).into_iter().map(|(tick, _)| tick).collect();
    let pauses: Vec<u64> =
        [0].iter().chain(&times).zip(&times).map(|(from, to)| to - from).collect();
    assert_eq!(pauses[..4], [20, 40, 80, 160], "twice as long each time");
    assert_eq!(pauses.iter().max(), Some(&5_120), "and no longer than that");
    assert!(pauses.is_sorted());

    // What has ended by itself leaves nothing, and what is forgotten is asked
    // for no more.
    for node in &mut state.attempts.get_mut(&id).unwrap().nodes {
        node.exited = Some((second(0), Exit::Code(0)));
    }
    assert_eq!(OutstandingCalls::default().next(&state, second(0)), []);
    state.attempts.retain(|_| false);
    assert_eq!(memory.next(&state, second(90_000)), []);
    assert!(memory.kills.is_empty() && memory.launches.is_empty());
}

/// Thirty machines of a pool in a cloud, asked for at once.
fn thirty_requests() -> State {
    let pool = crate::fixture::cloud_pool("cloud");
    let asked = |id| {
        let mut machine = machine(id, "a", CapacityType::Spot);
        machine.offer.pool = pool.name.clone();
        machine.state = InstanceState::Requested { at: second(0), certainty: Certainty::Known };
        crate::core::Change::from(machine)
    };
    let mut state = state_of((1..=30).map(asked).collect());
    state.pools.pools.insert(pool.name.clone(), pool);
    state
}

#[test]
fn a_provider_gets_no_more_calls_than_its_bucket_has() {
    let state = thirty_requests();
    let mut memory = OutstandingCalls::default();
    let expected = [(0, 20), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2)];
    assert_eq!(asked(&state, &mut memory, 0..50), expected);
}

/// What was given back goes all the same, and costs nothing more.
#[test]
fn no_machine_is_asked_for_while_buying_is_frozen() {
    let mut state = thirty_requests();
    let freeze = spotwise_model::freeze::Freeze {
        by: "fay".to_owned(),
        since: second(0).wall,
        reason: String::new(),
    };
    state.frozen = Some(freeze);
    let given_back = state.instances.values_mut().next().unwrap();
    given_back.provider = Some(spotwise_model::id::ProviderId::new("i-1"));
    given_back.state = InstanceState::Terminating {
        since: None,
        at: second(0),
        cause: spotwise_model::instance::GivenBackFor::Unused,
    };
    let mut memory = OutstandingCalls::default();
    let effects = memory.next(&state, second(0));
    assert!(matches!(effects.as_slice(), [Effect::TerminateMachine(_)]), "{effects:?}");
    state.frozen = None;
    // What the bucket holds.
    assert_eq!(asked(&state, &mut memory, 1..2), [(1, 20)]);
}

#[test]
fn a_provider_that_has_asked_for_fewer_calls_is_left_alone_for_a_while() {
    let mut state = thirty_requests();
    state.seen.throttled.note(PoolName::new("cloud"), second(0).wall);
    let mut memory = OutstandingCalls::default();
    assert_eq!(asked(&state, &mut memory, 0..3), [(2, 20)]);
}
