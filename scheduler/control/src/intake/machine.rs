//! What providers say of machines, and what operators ask of them.

use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::instance::{DrainCause, EndedBy};
use spotwise_model::inventory::Inventory;
use spotwise_model::{Instance, InstanceId, InstanceState, Now, PoolSet};

use jiff::Timestamp;

use super::{CommandResult, invalid};
use crate::command::MachineRefusal;
use crate::core::State;
use crate::phase::observe;
use crate::view::limits;
use crate::{Refusal, Reply};

type Noted = CommandResult;

pub(super) fn launched(
    state: &mut State,
    machine: InstanceId,
    provider: ProviderId,
    launched: Timestamp,
) -> Noted {
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
) -> Noted {
    let Some(instance) = state.instances.get(&machine).cloned() else { return nothing() };
    // Late news of one that has come after all, or that is known to have ended.
    if instance.since().is_some() || instance.ended() {
        return nothing();
    }
    let market = instance.offer.market.clone();
    match refusal {
        MachineRefusal::Quota => {
            let quotas: Vec<_> =
                state.pools.quotas.iter().filter(|quota| quota.counts(&market)).cloned().collect();
            for quota in quotas {
                let mine = spotwise_model::pool::vcpus(&instance.shape);
                let ours = limits::quota_used(state, &quota).saturating_sub(mine);
                state.seen.refusals.quota_full(quota.key(), ours, now.market);
            }
        }
        MachineRefusal::Capacity | MachineRefusal::Other => {
            state.seen.refusals.no_capacity(market, message, now.market);
        }
    }
    changed(instance.end(now.market, EndedBy::Us))
}

pub(super) fn unknown(state: &State, machine: InstanceId) -> Noted {
    let Some(instance) = state.instances.get(&machine).cloned() else { return nothing() };
    changed(instance.lose_answer())
}

pub(super) fn throttled(state: &mut State, pool: PoolName, now: Now) -> Noted {
    state.seen.throttled.note(pool, now.wall);
    nothing()
}

/// A listing replaces an earlier one, whole; one that began before it says nothing new.
pub(super) fn listed(state: &mut State, pool: PoolName, inventory: Inventory) -> Noted {
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
) -> Noted {
    let is_it = |machine: &&Instance| {
        machine.offer.pool == *pool && machine.provider.as_ref() == Some(provider)
    };
    match state.instances.values().find(is_it) {
        Some(machine) => Ok((observe::notice(state, machine, until, now), Reply::Noted)),
        None => nothing(),
    }
}

pub(super) fn drain(state: &State, machine: InstanceId, now: Now) -> CommandResult {
    let Some(instance) = state.instances.get(&machine) else {
        let message = format!("there is no machine {machine}; `spotwise machines` lists them");
        return Err(invalid("unknown_machine", "machine", message));
    };
    match instance.state {
        InstanceState::Draining { .. } => nothing(),
        _ => match instance.clone().drain(now.market, DrainCause::Operator) {
            Ok(drained) => Ok((vec![drained.into()], Reply::Noted)),
            Err(error) => Err(invalid("not_drainable", "machine", error.to_string())),
        },
    }
}

/// Takes over what the operator's file says, as a new version.
pub(super) fn set_pools(state: &State, wanted: &PoolSet) -> Result<Option<PoolSet>, Refusal> {
    let in_use = |name: &PoolName| {
        state.instances.values().any(|machine| machine.offer.pool == *name)
            || state.attempts.values().any(|attempt| attempt.offer.pool == *name)
    };
    Ok(state.pools.next(wanted, in_use))
}

fn nothing() -> Noted {
    Ok((Vec::new(), Reply::Noted))
}

/// A step that its life does not allow says nothing new.
fn changed<E>(step: Result<Instance, E>) -> Noted {
    let changes = step.ok().map(|machine| machine.into());
    Ok((changes.into_iter().collect(), Reply::Noted))
}
