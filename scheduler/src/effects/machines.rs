//! Machines: asked for, ended, listed, and what their providers announce.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_capacity::{Backend, MachineError, MachineErrorClass, MachineOrder};
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::time::{after, between};
use spotwise_model::{Instance, InstanceId, Now};

use super::Effects;
use crate::handle::Handle;
use spotwise_control::core::State;
use spotwise_control::{Command, MachineRefusal};

/// How often a pool is listed whose machines come or go (wall time).
const LISTED_BUSY: Duration = Duration::from_secs(1);
/// How often one is listed whose machines are there, or whose last listing lacks a page (wall
/// time).
const LISTED_QUIET: Duration = Duration::from_secs(10);
/// How often one is listed that has none: the reaper's period for machines (wall time).
const LISTED_EMPTY: Duration = Duration::from_secs(60);

/// When each pool was listed last (wall time).
#[derive(Debug, Default)]
pub(super) struct Listings(BTreeMap<PoolName, Timestamp>);

impl Listings {
    /// When the next pool should be listed.
    pub(super) fn due(&self, state: &State) -> Option<Timestamp> {
        let slow = state.pools.pools.values().filter(|pool| !pool.features.instant);
        let next = slow.filter_map(|pool| {
            let last = self.0.get(&pool.name)?;
            Some(after(*last, interval(state, &pool.name)))
        });
        next.min()
    }
}

fn interval(state: &State, pool: &PoolName) -> Duration {
    let machines = || state.instances.values().filter(|machine| machine.offer.pool == *pool);
    let lacks_a_page = state.seen.inventories.get(pool).is_some_and(|listed| !listed.complete);
    match (machines().any(Instance::is_moving), machines().next().is_some() || lacks_a_page) {
        (true, _) => LISTED_BUSY,
        (false, true) => LISTED_QUIET,
        (false, false) => LISTED_EMPTY,
    }
}

impl Effects {
    fn machine<'s>(
        &mut self,
        state: &'s State,
        machine: InstanceId,
    ) -> Option<(&'s Instance, Arc<dyn Backend>)> {
        let instance = state.instances.get(&machine)?;
        let pool = state.pool_of(instance)?;
        Some((instance, self.backends.of(pool, &state.pools)?))
    }

    pub(super) fn launch_machine(&mut self, state: &State, id: InstanceId, handle: &Handle) {
        let Some((instance, backend)) = self.machine(state, id) else { return };
        let Some(token) = instance.token.clone() else { return };
        let order = MachineOrder {
            pool: instance.offer.pool.clone(),
            machine: id,
            token,
            market: instance.offer.market.as_bought(),
        };
        let (handle, pool) = (handle.clone(), instance.offer.pool.clone());
        self.tasks.spawn(async move {
            let command = match backend.launch_machine(order).await {
                Ok(it) => Command::MachineLaunched {
                    machine: id,
                    provider: it.provider,
                    launched: it.launched,
                },
                Err(error) => {
                    tracing::warn!(machine = %id, %error, "a machine was not launched");
                    after_failed_launch(id, pool, error)
                }
            };
            // Lost with the store's answer: the same token is asked for again.
            let _ = handle.command(command).await;
        });
    }

    /// The one call that no token fences: a leader that has just lost its lease may ask for
    /// the end of a machine that its successor needs. So the lease is looked at immediately
    /// before, and what the provider says now must still be the machine that was meant.
    pub(super) fn terminate_machine(&mut self, state: &State, id: InstanceId, handle: &Handle) {
        let Some((instance, backend)) = self.machine(state, id) else { return };
        let Some(provider) = instance.provider.clone() else { return };
        let (lease, handle) = (self.lease.clone(), handle.clone());
        let (pool, token) = (instance.offer.pool.clone(), instance.token.clone());
        self.tasks.spawn(async move {
            let ended = async {
                let listed = backend.list_machines().await?;
                let is_it = listed
                    .machines
                    .get(&provider)
                    .is_none_or(|seen| token.as_ref().is_none_or(|token| *token == seen.token));
                if is_it && lease.holds() {
                    backend.terminate_machine(provider).await?;
                }
                Ok::<(), MachineError>(())
            };
            if let Err(error) = ended.await {
                tracing::warn!(machine = %id, %error, "a machine was not ended yet");
                if error.class == MachineErrorClass::Throttled {
                    let _ = handle.command(Command::PoolThrottled { pool }).await;
                }
            }
        });
    }

    /// Lists the pools whose turn it is.
    pub(super) fn list_machines(&mut self, state: &State, now: Now, handle: &Handle) {
        for pool in state.pools.pools.values().filter(|pool| !pool.features.instant) {
            let every = interval(state, &pool.name);
            let last = self.listings.0.get(&pool.name);
            if last.is_some_and(|last| between(*last, now.wall) < every) {
                continue;
            }
            self.listings.0.insert(pool.name.clone(), now.wall);
            let Some(backend) = self.backends.of(pool, &state.pools) else { continue };
            let (handle, name) = (handle.clone(), pool.name.clone());
            self.tasks.spawn(async move {
                let command = match backend.list_machines().await {
                    Ok(inventory) => {
                        Command::PoolListed { pool: name, inventory: Box::new(inventory) }
                    }
                    Err(error) if error.class == MachineErrorClass::Throttled => {
                        Command::PoolThrottled { pool: name }
                    }
                    Err(error) => {
                        tracing::warn!(pool = %name, %error, "a pool was not listed");
                        return;
                    }
                };
                let _ = handle.command(command).await;
            });
        }
    }

    /// Passes on what providers announce, from every pool once.
    pub(super) fn listen(&mut self, state: &State, handle: &Handle) {
        for pool in state.pools.pools.values().filter(|pool| !pool.features.instant) {
            if !self.listening.insert(pool.name.clone()) {
                continue;
            }
            let Some(backend) = self.backends.of(pool, &state.pools) else { continue };
            let (handle, name) = (handle.clone(), pool.name.clone());
            self.tasks.spawn(async move {
                loop {
                    let notice = backend.next_notice().await;
                    let (provider, until): (ProviderId, Now) = (notice.machine, notice.until);
                    let command = Command::MachineNoticed { pool: name.clone(), provider, until };
                    let _ = handle.command(command).await;
                }
            });
        }
    }
}

fn after_failed_launch(machine: InstanceId, pool: PoolName, error: MachineError) -> Command {
    let refused = |refusal| Command::MachineRefused { machine, refusal, message: error.message };
    match error.class {
        MachineErrorClass::Capacity => refused(MachineRefusal::Capacity),
        MachineErrorClass::Quota => refused(MachineRefusal::Quota),
        MachineErrorClass::Refused => refused(MachineRefusal::Other),
        MachineErrorClass::Throttled => Command::PoolThrottled { pool },
        // Asked for again, by the same token.
        MachineErrorClass::Unknown | MachineErrorClass::Unavailable => {
            Command::MachineUnknown { machine }
        }
    }
}
