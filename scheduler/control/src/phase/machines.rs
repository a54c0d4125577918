//! The life of machines: what pools have listed is compared with what was asked for.
//!
//! Only pools whose machines take their time are looked at. That a machine is gone is only
//! ever observed: listed as such, or missing from a complete listing that began late enough
//! to have it. A machine that is late is given back, and never forgotten: it is ended under
//! its provider's name whenever that is known. One that carries our mark and that nobody
//! asked for is taken into the books and ended.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::ProviderId;
use spotwise_model::instance::{DrainCause, EndedBy, GivenBackFor};
use spotwise_model::inventory::{Inventory, MachinePhase, SeenMachine};
use spotwise_model::time::after;
use spotwise_model::{Instance, InstanceId, InstanceState, Now, OfferKey, Pool, Price};

use super::settle::LONGEST_LISTING;
use crate::core::due::Due;
use crate::core::{Change, PriceBook, State};
use spotwise_market::Market;

/// No call is under way for longer than this (market time): what was asked before and is not
/// in a listing that began so much later does not exist.
const LONGEST_CALL: Duration = Duration::from_secs(120);

/// Follows machines from request to end.
pub fn machines(state: &State, market: &Market, now: Now) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut last = state.last_instance;
    for (name, pool) in state.pools.pools.iter().filter(|(_, pool)| !pool.features.instant) {
        let nothing = Inventory::unknown();
        let inventory = state.seen.inventories.get(name).unwrap_or(&nothing);
        let mut unmatched: BTreeMap<&str, (&ProviderId, &SeenMachine)> =
            inventory.machines.iter().map(|(id, seen)| (seen.token.as_str(), (id, seen))).collect();
        for instance in state.instances.values().filter(|it| it.offer.pool == *name) {
            let seen = instance.token.as_deref().and_then(|token| unmatched.remove(token));
            let after = follow(instance, pool, (inventory, seen), now);
            if after != *instance {
                changes.push(after.into());
            }
        }
        // What an older listing shows may have ended and been forgotten since.
        if now.market > after(inventory.begun, LONGEST_LISTING) {
            continue;
        }
        for (id, seen) in unmatched.into_values() {
            if seen.ended.is_none() && seen.phase != MachinePhase::Terminated {
                last += 1;
                let heard = (&state.prices, market);
                changes.push(orphan(InstanceId(last), pool, (id, seen), heard, now).into());
            }
        }
    }
    changes
}

/// A machine as it is after what was listed, and after what is overdue.
fn follow(
    instance: &Instance,
    pool: &Pool,
    (inventory, seen): (&Inventory, Option<(&ProviderId, &SeenMachine)>),
    now: Now,
) -> Instance {
    let mut machine = instance.clone();
    if machine.ended() {
        return machine;
    }
    match seen {
        Some((id, seen)) => machine = listed(machine, id, seen),
        None if is_absent(&machine, pool, inventory) => {
            let at = inventory.begun.min(now.market);
            machine = step(machine, |machine| machine.end(at, EndedBy::Us));
        }
        None => {}
    }
    if pool.leaving {
        machine = step(machine, |it| it.drain(now.market, DrainCause::PoolLeaves));
    }
    if late_at(&machine, pool).is_some_and(|at| now.market >= at) {
        machine = step(machine, |machine| machine.give_back(now, GivenBackFor::Late));
    }
    machine
}

/// The same machine where a step is not allowed.
fn step<E>(machine: Instance, next: impl FnOnce(Instance) -> Result<Instance, E>) -> Instance {
    next(machine.clone()).unwrap_or(machine)
}

fn listed(mut machine: Instance, id: &ProviderId, seen: &SeenMachine) -> Instance {
    if machine.provider.is_none() {
        machine = step(machine, |machine| machine.launched(id.clone(), seen.launched));
    }
    match (seen.ended, seen.phase) {
        // Nothing runs on it and nothing is billed, though it may be a while in going.
        (Some((at, by)), _) => step(machine, |it| it.end(at, by)),
        (None, MachinePhase::Terminated) => step(machine, |it| it.end(seen.launched, EndedBy::Us)),
        (None, MachinePhase::Registered) => step(machine, Instance::register),
        (None, MachinePhase::Booting | MachinePhase::Terminating) => machine,
    }
}

/// Whether a listing that does not have a machine says that there is none.
fn is_absent(machine: &Instance, pool: &Pool, inventory: &Inventory) -> bool {
    let asked = match machine.state {
        // It is asked for again until it is late.
        InstanceState::Requested { .. } => return false,
        InstanceState::Terminating { since: None, at, .. } => after(at.market, LONGEST_CALL),
        _ => match machine.since() {
            Some(since) => since,
            None => return false,
        },
    };
    inventory.complete && inventory.begun > after(asked, pool.times.consistency)
}

/// When a machine that has not come is late: it is given back then.
pub fn late_at(machine: &Instance, pool: &Pool) -> Option<Timestamp> {
    match machine.state {
        InstanceState::Requested { at, .. } => Some(after(at.market, pool.times.launch_timeout)),
        InstanceState::Booting { since, .. } => Some(after(since, pool.times.registration_timeout)),
        _ => None,
    }
}

/// A machine with our mark that no row of ours asked for: in the books from its launch, and
/// on its way out.
fn orphan(
    id: InstanceId,
    pool: &Pool,
    (provider, seen): (&ProviderId, &SeenMachine),
    (prices, market): (&PriceBook, &Market),
    now: Now,
) -> Instance {
    let key = seen.market.as_bought();
    let quote = market.quote(&key.zone, &key.instance_type, key.capacity_type, seen.launched);
    let heard = prices.of(&key, seen.launched);
    let price = heard.or(quote.as_ref().map(|quote| quote.price)).unwrap_or(Price::ZERO);
    Instance {
        id,
        offer: OfferKey { pool: pool.name.clone(), market: seen.market.clone() },
        shape: quote.as_ref().map(|quote| quote.shape.clone()).unwrap_or_default(),
        launch_price: price,
        on_demand: quote.map_or(price, |quote| quote.on_demand),
        state: InstanceState::Terminating {
            since: Some(seen.launched),
            at: now,
            cause: GivenBackFor::Orphan,
        },
        coverage: Vec::new(),
        provider: Some(provider.clone()),
        token: Some(seen.token.clone()),
    }
}

/// When a machine that does not come is late, and a refused market is asked again.
pub fn due(state: &State, due: &mut Due) {
    for machine in state.instances.values() {
        due.market(state.pool_of(machine).and_then(|pool| late_at(machine, pool)));
    }
    due.market(state.seen.refusals.ends());
}

#[cfg(test)]
#[path = "machines_tests.rs"]
mod tests;
