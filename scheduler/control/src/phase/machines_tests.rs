use spotwise_model::attempt::Certainty;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::inventory::SeenMachine;
use spotwise_model::{AttemptState, CapacityType};

use super::*;
use crate::fixture::spot::market;
use crate::fixture::{at, attempt, cloud_pool, machine, state_of};
use crate::phase::observe::observe;

fn minutes(minutes: u64) -> Now {
    let at = after(at(0), Duration::from_secs(minutes * 60));
    Now { market: at, wall: at }
}

/// A machine of the cloud, asked for at minute 0.
fn requested(id: u64) -> Instance {
    let mut machine = machine(id, "a", CapacityType::Spot);
    machine.offer.pool = PoolName::new("cloud");
    machine.token = Some(format!("i{id}-token"));
    machine.state = InstanceState::Requested { at: minutes(0), certainty: Certainty::Known };
    machine
}

fn seen(machine: &Instance, phase: MachinePhase) -> (ProviderId, SeenMachine) {
    let listed = SeenMachine {
        instance: machine.id,
        token: machine.token.clone().unwrap(),
        market: machine.offer.market.clone(),
        phase,
        launched: minutes(1).market,
        ended: (phase == MachinePhase::Terminated).then(|| (minutes(30).market, EndedBy::Provider)),
    };
    (ProviderId::new(format!("m-{}", machine.id)), listed)
}

/// The state of these machines, after a listing that began at a minute.
fn listed(
    machines: &[Instance],
    begun: u64,
    complete: bool,
    listing: impl IntoIterator<Item = (ProviderId, SeenMachine)>,
) -> State {
    let mut state = state_of(machines.iter().cloned().map(Change::from).collect());
    let pool = cloud_pool("cloud");
    state.pools.pools.insert(pool.name.clone(), pool.clone());
    let inventory = Inventory {
        begun: minutes(begun).market,
        completed: minutes(begun).market,
        complete,
        machines: listing.into_iter().collect(),
    };
    state.seen.inventories.insert(pool.name, inventory);
    state
}

/// The machines as they are after a look at a minute.
fn look(state: &State, minute: u64) -> Vec<Instance> {
    let mut state = state.clone();
    let prices = market(&[("a", vec![(0, 5)])]);
    for mut change in machines(&state, &prices, minutes(minute)) {
        state.apply(&mut change);
    }
    state.instances.into_values().collect()
}

fn names(machines: &[Instance]) -> Vec<&'static str> {
    machines.iter().map(|machine| machine.state.name()).collect()
}

#[test]
fn a_listing_carries_a_machine_through_its_life() {
    let one = requested(1);
    let booting =
        look(&listed(std::slice::from_ref(&one), 2, true, [seen(&one, MachinePhase::Booting)]), 2);
    assert_eq!((names(&booting), booting[0].since()), (vec!["booting"], Some(minutes(1).market)));
    let state = listed(&booting, 3, true, [seen(&one, MachinePhase::Registered)]);
    let there = look(&state, 3);
    assert_eq!(names(&there), ["registered"]);
    let gone = look(&listed(&there, 31, true, [seen(&one, MachinePhase::Terminated)]), 31);
    let InstanceState::Gone { since, given_back, at, by, .. } = gone[0].state else { panic!() };
    assert_eq!((since, given_back), (Some(minutes(1).market), None));
    assert_eq!((at, by), (minutes(30).market, EndedBy::Provider), "by its provider's time");
}

#[test]
fn what_runs_no_more_is_gone_and_no_orphan_though_it_is_a_while_in_going() {
    let one = requested(1);
    let (id, listed_at_first) = seen(&one, MachinePhase::Registered);
    let state =
        listed(std::slice::from_ref(&one), 2, true, [(id.clone(), listed_at_first.clone())]);
    let there = look(&state, 2);
    let ended = Some((minutes(30).market, EndedBy::Us));
    let going = SeenMachine { phase: MachinePhase::Terminating, ended, ..listed_at_first };
    let gone = look(&listed(&there, 31, true, [(id.clone(), going.clone())]), 31);
    assert_eq!(names(&gone), ["gone"]);
    assert!(look(&listed(&[], 50, true, [(id, going)]), 50).is_empty(), "settled and forgotten");
}

#[test]
fn absence_counts_only_in_a_complete_listing_that_began_late_enough() {
    let booting = || {
        let listing = [seen(&requested(1), MachinePhase::Booting)];
        look(&listed(&[requested(1)], 2, true, listing), 2)
    };
    assert_eq!(
        names(&look(&listed(&booting(), 9, false, []), 9)),
        ["booting"],
        "a page is missing"
    );
    assert_eq!(names(&look(&listed(&booting(), 1, true, []), 9)), ["booting"], "it began before");
    let lags = look(&listed(&booting(), 2, true, []), 9);
    assert_eq!(names(&lags), ["booting"], "it may not show yet what there is");
    assert_eq!(names(&look(&listed(&booting(), 9, true, []), 9)), ["gone"]);
    let asked = look(&listed(&[requested(1)], 4, true, []), 4);
    assert_eq!(names(&asked), ["requested"], "its call may be on its way");
}

#[test]
fn the_machines_of_a_pool_that_goes_get_no_new_work() {
    let there = Instance {
        state: InstanceState::Registered { since: minutes(1).market },
        provider: Some(ProviderId::new("m-i1")),
        ..requested(1)
    };
    let listing = [seen(&there, MachinePhase::Registered)];
    let mut state = listed(&[there], 2, true, listing);
    assert_eq!(names(&look(&state, 2)), ["registered"]);
    state.pools.pools.values_mut().for_each(|pool| pool.leaving = true);
    assert_eq!(names(&look(&state, 2)), ["draining"]);
}

#[test]
fn a_late_machine_is_given_back_and_ended_when_it_comes_after_all() {
    let given_up = look(&listed(&[requested(1)], 4, true, []), 5);
    assert_eq!(names(&given_up), ["terminating"]);
    let still = look(&listed(&given_up, 7, true, []), 7);
    assert_eq!(names(&still), ["terminating"], "a call may still be under way");
    assert_eq!(names(&look(&listed(&given_up, 9, true, []), 9)), ["gone"]);
    let listing = [seen(&requested(1), MachinePhase::Booting)];
    let came = look(&listed(&given_up, 9, true, listing), 9);
    assert_eq!(names(&came), ["terminating"]);
    assert_eq!(came[0].provider, Some(ProviderId::new("m-i1")), "it can be ended now");
    let listing = [seen(&requested(2), MachinePhase::Booting)];
    let never = look(&listed(&[requested(2)], 17, true, listing), 17);
    assert_eq!(names(&never), ["terminating"], "it never registered");
}

#[test]
fn what_carries_our_mark_and_nobody_asked_for_is_booked_and_ended() {
    let other = requested(9);
    let state = listed(&[], 2, true, [seen(&other, MachinePhase::Registered)]);
    let adopted = look(&state, 2);
    assert_eq!(names(&adopted), ["terminating"]);
    assert_eq!(adopted[0].since(), Some(minutes(1).market), "billed from its launch");
    let again = listed(&adopted, 3, true, [seen(&other, MachinePhase::Terminating)]);
    assert_eq!(look(&again, 3).len(), 1, "once");
    assert!(look(&listed(&[], 2, true, [seen(&other, MachinePhase::Terminated)]), 2).is_empty());
}

#[test]
fn what_an_old_listing_shows_is_no_orphan() {
    let state = listed(&[], 2, true, [seen(&requested(9), MachinePhase::Registered)]);
    assert_eq!(look(&state, 4).len(), 1);
    assert!(look(&state, 5).is_empty(), "it may have ended and been settled since");
}

#[test]
fn a_gang_is_released_as_a_whole_when_a_machine_does_not_come() {
    let mut both = [requested(1), requested(2)];
    both[0].state = InstanceState::Registered { since: minutes(1).market };
    both[1] = both[1].clone().end(minutes(3).market, EndedBy::Us).unwrap();
    let mut job = crate::fixture::job(1, "training");
    let planned = attempt(1, &[&both[0], &both[1]], 8, AttemptState::Planned { at: minutes(0) });
    job.state = job.state.activate(minutes(0).market, planned.id).unwrap();
    let mut state = listed(&both, 4, false, []);
    state.apply(&mut job.into());
    state.apply(&mut planned.into());
    for mut change in observe(&state, &crate::config::Config::default(), minutes(4)) {
        state.apply(&mut change);
    }
    let job = state.jobs.values().next().unwrap();
    assert_eq!(job.state.name(), "waiting");
    assert!(job.not_before.is_none(), "it goes on looking at once");
    assert!(state.instances[&both[0].id].accepts_work(), "the other one is free for others");
}
