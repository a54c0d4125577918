//! What providers say of machines, and what operators ask of them.

use spotwise_model::freeze::Freeze;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::instance::{DrainCause, EndedBy, GivenBackFor};
use spotwise_model::inventory::Inventory;
use spotwise_model::{Instance, InstanceId, InstanceState, Now, PoolSet};

use jiff::Timestamp;

use super::CommandResult;
use crate::command::MachineRefusal;
use crate::core::{Change, State};
use crate::phase::observe;
use crate::view::limits;
use crate::{Refusal, Reply};

pub(super) fn launched(
    state: &mut State,
    machine: InstanceId,
    provider: ProviderId,
    launched: Timestamp,
) -> CommandResult {
    let Some(instance) = state.instances.get(&machine).cloned() else { return nothing() };
    state.seen.refusals.granted(&instance.offer.market);
    // Known already, from a listing: nothing is new.
    changed(instance.launched(provider, launched))
}

pub(super) fn refused(
    state: &mut State,
    machine: InstanceId,
    refusal: MachineRefusal,
    message: String,
    now: Now,
) -> CommandResult {
    let Some(instance) = state.instances.get(&machine).cloned() else { return nothing() };
    // Late news of one that has come after all, or that is known to have ended.
    if instance.since().is_some() || instance.ended() {
        return nothing();
    }
    let market = instance.offer.market.clone();
    let ends = instance.clone().end(now.market, EndedBy::Us);
    // That says nothing of what the market has ([`Instance::refused_at`]).
    let given_up =
        || instance.clone().give_back(now, GivenBackFor::Late)?.end(now.market, EndedBy::Us);
    match refusal {
        MachineRefusal::Quota => {
            let quotas: Vec<_> =
                state.pools.quotas.iter().filter(|quota| quota.counts(&market)).cloned().collect();
            for quota in quotas {
                let mine = spotwise_model::pool::vcpus(&instance.shape);
                let ours = limits::quota_used(state, &quota).saturating_sub(mine);
                state.seen.refusals.quota_full(quota.key(), ours, now.market);
            }
            changed(given_up())
        }
        MachineRefusal::Capacity => {
            state.seen.refusals.no_capacity(market, message, now.market);
            changed(ends)
        }
        MachineRefusal::Other => {
            state.seen.refusals.no_capacity(market, message, now.market);
            changed(given_up())
        }
    }
}

pub(super) fn unknown(state: &State, machine: InstanceId) -> CommandResult {
    let Some(instance) = state.instances.get(&machine).cloned() else { return nothing() };
    changed(instance.lose_answer())
}

pub(super) fn throttled(state: &mut State, pool: PoolName, now: Now) -> CommandResult {
    state.seen.throttled.note(pool, now.wall);
    nothing()
}

/// A listing replaces an earlier one, whole; one that began before it says nothing new.
pub(super) fn listed(state: &mut State, pool: PoolName, inventory: Inventory) -> CommandResult {
    let known = state.seen.inventories.entry(pool).or_insert_with(Inventory::unknown);
    if inventory.begun >= known.begun {
        *known = inventory;
    }
    nothing()
}

pub(super) fn noticed(
    state: &State,
    pool: &PoolName,
    provider: &ProviderId,
    until: Now,
    now: Now,
) -> CommandResult {
    let is_it = |machine: &&Instance| {
        machine.offer.pool == *pool && machine.provider.as_ref() == Some(provider)
    };
    match state.instances.values().find(is_it) {
        Some(machine) => Ok((observe::notice(state, machine, until, now), Reply::Noted)),
        None => nothing(),
    }
}

/// One that gets no new work already is left as it is: draining twice is draining once.
pub(super) fn drain(state: &State, machine: InstanceId, now: Now) -> CommandResult {
    let Some(instance) = state.instances.get(&machine) else {
        return Err(Refusal::NotFound(format!("machine {machine}")));
    };
    let refuse =
        |code, why: &str| Err(Refusal::Conflict { code, message: format!("{machine} {why}") });
    if instance.ended() {
        return refuse("machine_gone", "is gone; there is nothing left to drain");
    }
    if state.pool_of(instance).is_some_and(|pool| pool.features.instant) {
        let why = "is a slot of a machine that runs anyway: it is given back the moment nothing \
                   is on it; cancel its jobs to empty it";
        return refuse("pool_of_slots", why);
    }
    match instance.state {
        InstanceState::Draining { .. }
        | InstanceState::Noticed { .. }
        | InstanceState::Terminating { .. } => nothing(),
        _ => match instance.clone().drain(now.market, DrainCause::Operator) {
            Ok(drained) => Ok((vec![drained.into()], Reply::Noted)),
            Err(_) => {
                let why = "has been asked for and is not there yet; drain it when it boots";
                refuse("machine_not_there", why)
            }
        },
    }
}

/// Stopping twice keeps the first order.
pub(super) fn set_freeze(state: &State, wanted: Option<Freeze>) -> (Vec<Change>, Reply) {
    let changes = match (&state.frozen, wanted) {
        (Some(_), Some(_)) | (None, None) => Vec::new(),
        (_, wanted) => vec![Change::Freeze(wanted)],
    };
    (changes, Reply::Noted)
}

/// Takes over what the operator's file says, as a new version.
pub(super) fn set_pools(state: &State, wanted: &PoolSet) -> CommandResult {
    let in_use = |name: &PoolName| {
        state.instances.values().any(|machine| machine.offer.pool == *name)
            || state.attempts.values().any(|attempt| attempt.offer.pool == *name)
    };
    let change = state.pools.next(wanted, in_use).map(|pools| Change::Pools(Box::new(pools)));
    Ok((change.into_iter().collect(), Reply::Noted))
}

fn nothing() -> CommandResult {
    Ok((Vec::new(), Reply::Noted))
}

/// A step that its life does not allow says nothing new.
fn changed<E>(step: Result<Instance, E>) -> CommandResult {
    let changes = step.ok().map(|machine| machine.into());
    Ok((changes.into_iter().collect(), Reply::Noted))
}

#[cfg(test)]
mod tests {
    use spotwise_model::CapacityType;
    use spotwise_model::attempt::Certainty;
    use spotwise_model::instance::GivenBackFor;

    use super::*;
    use crate::fixture::{at, cloud_pool, local_pool, machine, now, state_of};

    fn state() -> State {
        let mut slot = machine(1, "a", CapacityType::Spot);
        slot.offer.pool = PoolName::new("local");
        let there = Instance {
            offer: spotwise_model::OfferKey { pool: PoolName::new("cloud"), ..slot.offer.clone() },
            id: InstanceId(2),
            ..slot.clone()
        };
        let certainty = Certainty::Known;
        let asked = InstanceState::Requested { at: now(0), certainty };
        let asked = Instance { id: InstanceId(3), state: asked, ..there.clone() };
        let gone = there.clone().end(at(1), EndedBy::Us).unwrap();
        let gone = Instance { id: InstanceId(4), ..gone };
        let mut state = state_of([slot, there, asked, gone].map(Change::from).into());
        state.pools = PoolSet::of([local_pool(), cloud_pool("cloud")]);
        state
    }

    #[test]
    fn a_machine_is_drained_once_and_stays_on_its_way() {
        let mut state = state();
        let (mut changes, reply) = drain(&state, InstanceId(2), now(2)).unwrap();
        assert_eq!((changes.len(), reply), (1, Reply::Noted));
        changes.iter_mut().for_each(|change| state.apply(change));
        let drained = state.instances[&InstanceId(2)].clone();
        assert_eq!(drained.state.name(), "draining");
        assert_eq!(drain(&state, InstanceId(2), now(3)), Ok((Vec::new(), Reply::Noted)));
        let back = drained.give_back(now(3), GivenBackFor::Drained).unwrap();
        state.apply(&mut back.into());
        assert_eq!(drain(&state, InstanceId(2), now(4)), Ok((Vec::new(), Reply::Noted)));
    }

    /// A full quota, or a call that is wrong, says nothing of what a market has.
    #[test]
    fn a_refusal_for_want_of_capacity_alone_is_the_markets() {
        for (refusal, said) in [
            (MachineRefusal::Capacity, Some(at(2))),
            (MachineRefusal::Quota, None),
            (MachineRefusal::Other, None),
        ] {
            let mut state = state();
            let (mut changes, _) =
                refused(&mut state, InstanceId(3), refusal, String::new(), now(2)).unwrap();
            changes.iter_mut().for_each(|change| state.apply(change));
            let machine = &state.instances[&InstanceId(3)];
            assert_eq!((machine.ended(), machine.refused_at()), (true, said), "{refusal:?}");
            let launches = state.own_log.market(&machine.offer.market, 0).launches;
            let refused = launches.iter().filter(|launch| !launch.granted).count();
            assert_eq!(refused, usize::from(said.is_some()), "{refusal:?}");
        }
    }

    /// Its answer was lost, it came, and only then the refusal of an earlier try arrives.
    #[test]
    fn a_late_refusal_ends_nothing_that_came() {
        for refusal in [MachineRefusal::Capacity, MachineRefusal::Quota, MachineRefusal::Other] {
            for id in [2, 4] {
                let late = refused(&mut state(), InstanceId(id), refusal, String::new(), now(2));
                assert_eq!(late, Ok((Vec::new(), Reply::Noted)), "{id}");
            }
        }
    }

    #[test]
    fn a_listing_that_began_earlier_says_nothing_new() {
        let mut state = state();
        let pool = PoolName::new("cloud");
        for begun in [2, 1] {
            let inventory = Inventory { begun: at(begun), ..Inventory::unknown() };
            listed(&mut state, pool.clone(), inventory).unwrap();
        }
        assert_eq!(state.seen.inventories[&pool].begun, at(2));
    }

    #[test]
    fn what_cannot_be_drained_is_told_apart() {
        let state = state();
        let code = |id| match drain(&state, InstanceId(id), now(2)) {
            Err(Refusal::Conflict { code, .. }) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [code(1), code(3), code(4)],
            ["pool_of_slots", "machine_not_there", "machine_gone"]
        );
        let unknown = drain(&state, InstanceId(9), now(2)).unwrap_err();
        assert_eq!(unknown, Refusal::NotFound("machine i9".to_owned()));
    }
}
