use spotwise_model::attempt::{AttemptState, Certainty};
use spotwise_model::id::ProviderId;
use spotwise_model::instance::{DrainCause, GivenBackFor};
use spotwise_model::inventory::{Inventory, MachinePhase};
use spotwise_model::time::after;
use spotwise_model::{CapacityType, PoolSet};

use super::*;
use crate::fixture::{at, attempt, cloud_pool, job, local_pool, machine, now, state_of};

fn cloud_machine(id: u64) -> Instance {
    let mut machine = machine(id, "a", CapacityType::Spot);
    machine.offer.pool = PoolName::new("cloud");
    machine.token = Some(format!("i{id}-token"));
    machine.provider = Some(ProviderId::new(format!("m-{id}")));
    machine
}

fn state_with(machines: &[Instance]) -> State {
    let mut state = state_of(machines.iter().cloned().map(Into::into).collect());
    state.pools = PoolSet::of([local_pool(), cloud_pool("cloud")]);
    state
}

fn running() -> AttemptState {
    AttemptState::Running { placed: Some(now(0)), launched: now(0), since: now(0) }
}

fn requested(id: u64) -> Instance {
    let state = InstanceState::Requested { at: now(0), certainty: Certainty::Unknown };
    Instance { state, provider: None, ..cloud_machine(id) }
}

#[test]
fn a_pool_has_what_is_open_and_costs_what_is_billed() {
    let used = cloud_machine(1);
    let mut state = state_with(&[used.clone(), requested(2)]);
    state.attempts.insert(attempt(7, &[&used], 2, running()));
    let uses = pool_uses(&state);
    let cloud = &uses[&PoolName::new("cloud")];
    assert_eq!(cloud.machines, BTreeMap::from([("registered", 1), ("requested", 1)]));
    assert_eq!((cloud.jobs, cloud.price), (1, used.launch_price), "nobody bills a request");
    assert_eq!(uses.len(), 1, "nothing is on the other");
    assert_eq!(by_state(&state), cloud.machines);
}

#[test]
fn a_provider_that_lists_nothing_for_long_does_not_answer() {
    let mut state = state_with(&[]);
    let (local, cloud) = (local_pool(), cloud_pool("cloud"));
    assert_eq!(contact(&state, &local, 1, now(1)), Contact::Slots);
    assert_eq!(contact(&state, &cloud, 1, now(1)), Contact::Never);
    let listed = Inventory { completed: at(0), ..Inventory::unknown() };
    state.seen.inventories.insert(cloud.name.clone(), listed);
    assert_eq!(contact(&state, &cloud, 1, now(1)), Contact::Silent { listed: at(0) });
    assert!(contact(&state, &cloud, 60, now(1)).is_reachable(), "an hour passes in a minute");
    state.seen.throttled.note(cloud.name.clone(), at(1));
    let until = Some(after(at(1), Duration::from_secs(2)));
    assert_eq!(
        contact(&state, &cloud, 60, now(1)),
        Contact::Answers { listed: at(0), throttled: until }
    );
}

#[test]
fn a_machine_says_what_it_waits_for() {
    let cloud = cloud_pool("cloud");
    let waits = |machine: &Instance| awaited(machine, Some(&cloud));
    let given_up =
        |of: Timestamp, after_seconds| Some(after(of, Duration::from_secs(after_seconds)));
    let asked = requested(1);
    assert_eq!(
        waits(&asked),
        Some(Awaited::Answer { asked: now(0), lost: true, given_up: given_up(at(0), 300) })
    );
    let booting = asked.launched(ProviderId::new("m-1"), at(1)).unwrap();
    assert_eq!(waits(&booting), Some(Awaited::Registration { given_up: given_up(at(1), 900) }));
    let there = booting.register().unwrap();
    assert_eq!(waits(&there), None);
    let drained = there.drain(at(2), DrainCause::Operator).unwrap();
    assert_eq!(waits(&drained), Some(Awaited::LastWork));
    let back = drained.give_back(now(3), GivenBackFor::Drained).unwrap();
    let expected = Duration::from_secs(60);
    assert_eq!(waits(&back), Some(Awaited::Termination { decided: now(3), expected, known: true }));
}

#[test]
fn an_idle_machine_is_judged_and_a_slot_or_a_busy_one_is_not() {
    let (mut idle, mut used) = (cloud_machine(1), cloud_machine(2));
    idle.shape.memory_mib = 65_536;
    used.offer.market.zone = spotwise_model::id::Zone::new("b");
    let slot = machine(3, "a", CapacityType::Spot);
    let mut state = state_with(&[idle.clone(), used.clone(), slot.clone()]);
    let waiting = job(9, "training");
    state.jobs.insert(waiting.id, waiting);
    state.attempts.insert(attempt(7, &[&used], 2, running()));
    let (hopes, choice) = outlook(&state, &idle, now(0)).hopes.expect("it is idle");
    assert_eq!((hopes.waiting, hopes.alike), (1, 1));
    assert_eq!(choice.costs_per_hour, 0.3);
    let busy = outlook(&state, &used, now(0));
    assert_eq!((busy.attempts.len(), busy.hopes), (1, None));
    let slot = outlook(&state, &slot, now(0));
    assert!(slot.slot && slot.hopes.is_none());
}

#[test]
fn what_the_provider_said_last_is_of_this_machine() {
    let machine = cloud_machine(1);
    let mut state = state_with(std::slice::from_ref(&machine));
    assert_eq!(outlook(&state, &machine, now(0)).said.listing, None);
    let seen = SeenMachine {
        instance: machine.id,
        token: "i1-token".to_owned(),
        market: machine.offer.market.clone(),
        phase: MachinePhase::Registered,
        launched: at(0),
        ended: None,
    };
    let mut inventory = Inventory { completed: at(1), ..Inventory::unknown() };
    inventory.machines.insert(ProviderId::new("m-1"), seen.clone());
    state.seen.inventories.insert(PoolName::new("cloud"), inventory);
    assert_eq!(outlook(&state, &machine, now(1)).said.listing, Some((at(1), Some(seen))));
    assert_eq!(outlook(&state, &requested(2), now(1)).said.listing, Some((at(1), None)));
    let market = machine.offer.market.clone();
    state.seen.refusals.no_capacity(market, "no capacity".to_owned(), at(1));
    let (said, until) = outlook(&state, &machine, now(1)).said.refusal.unwrap();
    assert_eq!((said.as_str(), until.is_some()), ("no capacity", true));
}
