use spotwise_control::core::State;
use spotwise_control::fixture::{at, attempt, cloud_pool, local_pool, machine, now, state_of};
use spotwise_control::view::machines::outlook;
use spotwise_model::attempt::Certainty;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::instance::{DrainCause, GivenBackFor};
use spotwise_model::inventory::{Inventory, SeenMachine};
use spotwise_model::time::after;
use spotwise_model::{AttemptState, CapacityType, PoolSet};

use super::*;

fn cloud_machine() -> Instance {
    let mut machine = machine(5, "a", CapacityType::Spot);
    machine.offer.pool = PoolName::new("cloud");
    machine.token = Some("x-i5".to_owned());
    machine.provider = Some(ProviderId::new("m-1"));
    machine
}

fn state_with(machine: &Instance) -> State {
    let mut state = state_of(vec![machine.clone().into()]);
    state.pools = PoolSet::of([local_pool(), cloud_pool("cloud")]);
    state
}

/// Headline and details, two minutes after the hour.
fn said(state: &State, machine: &Instance) -> (String, String) {
    let at = after(at(0), Duration::from_secs(120));
    let now = Now { market: at, wall: at };
    let outlook = outlook(state, machine, now);
    let figures = MachineFigures { price: machine.launch_price, ..MachineFigures::default() };
    let lines = details(machine, &figures, &outlook, now);
    (headline(machine, &outlook, at), lines.join("\n"))
}

#[test]
fn an_idle_machine_says_why_it_is_given_back_with_the_figures() {
    let machine = cloud_machine();
    let mut state = state_with(&machine);
    state.pools = PoolSet::of([{
        let mut pool = cloud_pool("cloud");
        pool.times.keep = Duration::from_secs(1_800);
        pool
    }]);
    let (head, lines) = said(&state, &machine);
    assert_eq!(head, "idle for 2m, and is given back");
    assert!(
        lines.contains(
            "given back: keeping it costs more than it saves; keeping it is expected to save \
             $0.00/h and costs $0.30/h (0.0 jobs an hour come for its type; another one takes 2m; \
             no waiting job fits on it)"
        ),
        "{lines}"
    );
    let slot = spotwise_control::fixture::machine(6, "a", CapacityType::Spot);
    let (head, lines) = said(&state_with(&slot), &slot);
    assert_eq!(head, "idle, and is given back");
    assert!(lines.contains("a slot of a machine that runs anyway"), "{lines}");
}

#[test]
fn a_machine_that_runs_names_what_is_on_it_and_what_its_provider_said() {
    let machine = cloud_machine();
    let mut state = state_with(&machine);
    let running = AttemptState::Running { placed: Some(now(0)), launched: now(0), since: now(0) };
    state.attempts.insert(attempt(7, &[&machine], 2, running));
    let seen = SeenMachine {
        instance: machine.id,
        token: "x-i5".to_owned(),
        market: machine.offer.market.clone(),
        phase: MachinePhase::Registered,
        launched: at(0),
        ended: None,
    };
    let mut inventory = Inventory { completed: at(0), ..Inventory::unknown() };
    inventory.machines.insert(ProviderId::new("m-1"), seen);
    state.seen.inventories.insert(PoolName::new("cloud"), inventory);
    let (head, lines) = said(&state, &machine);
    assert_eq!(head, "runs j7.1");
    assert!(lines.contains("on it: j7.1; it is kept while anything is on it"), "{lines}");
    assert!(
        lines.contains("its provider's last listing, 2m old, has it as m-1, registered"),
        "{lines}"
    );
    let drained_by_us = machine.drain(at(0), DrainCause::Operator).unwrap();
    let outlook = outlook(&state, &drained_by_us, now(0));
    assert_eq!(
        drained(&drained_by_us, &outlook),
        "gets no new work, and is given back when j7.1 has ended"
    );
}

#[test]
fn what_is_asked_for_and_what_is_given_back_say_what_they_wait_for() {
    let requested = InstanceState::Requested { at: now(0), certainty: Certainty::Unknown };
    let asked = Instance { state: requested, provider: None, ..cloud_machine() };
    let mut state = state_with(&asked);
    let market = asked.offer.market.clone();
    state.seen.refusals.no_capacity(market, "none left".to_owned(), at(0));
    let (head, lines) = said(&state, &asked);
    assert_eq!(head, "asked for 2m ago");
    for part in [
        "$0.30/h once it is there; it has cost nothing",
        "the answer was lost, and it is asked for again by the same name; given up at 2023-11-14T22:05:00Z",
        "its market refused a machine: none left; not asked until 2023-11-14T22:03:00Z",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let back = cloud_machine().give_back(now(0), GivenBackFor::Unused).unwrap();
    let (head, lines) = said(&state_with(&back), &back);
    assert_eq!(head, "is given back: nobody used it, and nobody was expected in time");
    assert!(lines.contains("its end was asked for 2m ago; that is expected to take 1m"), "{lines}");
}

#[test]
fn who_pays_is_named_the_largest_part_first() {
    let machine = cloud_machine();
    let owner = AttemptId { job: spotwise_model::JobId(7), number: 1 };
    let shares = [(None, Money::from_micros(20_000)), (Some(owner), Money::from_micros(380_000))];
    let figures = MachineFigures {
        price: machine.launch_price,
        shares: shares.into(),
        ..MachineFigures::default()
    };
    assert_eq!(
        cost(&machine, &figures),
        "spot m in a of pool cloud: $0.30/h, $0.40 so far: $0.38 by j7.1, $0.02 by nobody (idle)"
    );
}
