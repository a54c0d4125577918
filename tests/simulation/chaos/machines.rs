//! Calls to the account: machines asked for, ended and listed, and what befalls them.

mod judge;

use jiff::Timestamp;
use rand::RngExt;
use spotwise_control::{Command, MachineRefusal};
use spotwise_model::InstanceId;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_simulated_cloud::{
    CloudError, CloudEvent, Delivery, ErrorClass, Happening, LaunchRequest,
};

use super::account::{INSTALL, POOLS, is_cloud};
use super::events::{Caller, Event};
use super::node::Leader;
use super::sim::Sim;
use super::time::{self, MINUTE, Ms, SECOND};
pub(crate) use judge::cloud_fault;

/// How often a pool is listed: where machines move, where there are some, and where none is.
/// Less often than the product, as a month passes in seconds here.
const LISTED_BUSY: Ms = 15 * SECOND;
const LISTED_QUIET: Ms = 10 * MINUTE;
impl Sim {
    /// Lets the account's clock run to now, and passes on what happened.
    pub(crate) fn account_ticks(&mut self) {
        let now = time::at(self.start, self.now);
        let Some(account) = &mut self.account else { return };
        if account.ticks_at.is_some_and(|at| at <= self.now) {
            account.ticks_at = None;
        }
        let events = account.cloud.advance(now);
        for event in events {
            self.befalls(event);
        }
        self.follow_account();
    }

    /// Puts the account's next event on the heap.
    fn follow_account(&mut self) {
        let Some(account) = &mut self.account else { return };
        let Some(next) = account.cloud.next_event() else { return };
        let moment = time::moment(self.start, next);
        let at = (moment + Ms::from(time::at(self.start, moment) < next)).max(self.now + 1);
        if account.ticks_at.is_none_or(|standing| at < standing) {
            account.ticks_at = Some(at);
            self.at(at, Event::AccountTicks);
        }
    }

    fn befalls(&mut self, event: CloudEvent) {
        let CloudEvent { machine, mark, what, .. } = event;
        let Some(mark) = mark.filter(|mark| mark.install == INSTALL) else { return };
        match what {
            Happening::Noticed { reclaim_at } => {
                self.log(|| format!("{machine} is noticed"));
                let until = spotwise_model::Now { market: whole(reclaim_at), wall: reclaim_at };
                for node in 0..self.nodes.len() {
                    let (pool, provider) = (mark.pool.clone(), machine.clone());
                    let noticed = Command::MachineNoticed { pool, provider, until };
                    self.send(node, Caller::Pool, noticed);
                }
            }
            Happening::Stopped(stop) => {
                self.log(|| format!("{machine} stops: {:?}", stop.cause));
                let on: Vec<_> = self
                    .cloud
                    .workers
                    .iter()
                    .filter(|(_, worker)| worker.exists() && worker.host.as_ref() == Some(&machine))
                    .map(|(pid, _)| *pid)
                    .collect();
                for pid in on {
                    self.die(pid);
                }
            }
            Happening::RebalanceRecommended
            | Happening::Booted
            | Happening::Registered
            | Happening::Terminated => {}
        }
    }

    /// The machine in the account that a worker is to be started on; `None` where its pool is
    /// one of slots. `Err` if it does not run.
    pub(crate) fn host_of(
        &self,
        worker: spotwise_control::WorkerId,
    ) -> Result<Option<ProviderId>, &'static str> {
        let attempt = self.store.tables.attempts.get(&worker.attempt).ok_or("no such attempt")?;
        let Some(account) = self.account.as_ref().filter(|_| is_cloud(&attempt.offer)) else {
            return Ok(None);
        };
        let id = attempt.instances.get(worker.rank as usize).ok_or("no such rank")?;
        let provider = self.store.tables.instances.get(id).and_then(|it| it.provider.clone());
        let provider = provider.ok_or("its machine has no name")?;
        match account.cloud.machine(&provider) {
            Some(machine) if machine.registered.is_some() && machine.stopped.is_none() => {
                Ok(Some(provider))
            }
            _ => Err("its machine does not run"),
        }
    }

    /// A request for a machine goes out.
    pub(crate) fn ask_for_machine(&mut self, node: usize, machine: InstanceId, leader: &Leader) {
        let Some(instance) = leader.state.instances.get(&machine) else { return };
        let Some(token) = instance.token.clone() else { return };
        let request = LaunchRequest {
            token,
            install: INSTALL.to_owned(),
            pool: instance.offer.pool.clone(),
            instance: machine,
            market: instance.offer.market.as_bought(),
        };
        let incarnation = self.nodes[node].incarnation;
        let span = self.rng.random_range(5..300);
        self.later(span, Event::LaunchMachine(node, incarnation, Box::new(request)));
    }

    /// It arrives, and its answer sets out.
    pub(crate) fn launch_machine(&mut self, node: usize, incarnation: u64, asked: &LaunchRequest) {
        let now = time::at(self.start, self.now);
        let Some(account) = &mut self.account else { return };
        let first = *account.asked_by.entry(asked.token.clone()).or_insert((node, incarnation));
        let call = account.cloud.launch(asked, now);
        if first != (node, incarnation) {
            self.fired.note("cloud_launch_by_two_leaders");
        }
        self.log(|| format!("{} is asked for: {:?}", asked.instance, call.outcome));
        let machine = asked.instance;
        let timeout = time::at(self.start, self.now + MINUTE);
        let (at, command) = match (call.delivery, call.outcome) {
            (Delivery::Answered { at }, Ok(launched)) if at <= timeout => {
                let (provider, launched) = (launched.machine, launched.launched);
                (at, Command::MachineLaunched { machine, provider, launched })
            }
            (Delivery::Answered { at }, Err(error)) if at <= timeout => {
                (at, after_refusal(asked, &error))
            }
            _ => (timeout, Command::MachineUnknown { machine }),
        };
        let at = time::moment(self.start, at);
        self.at(at, Event::Told(node, incarnation, command));
        self.follow_account();
    }

    /// An order to end a machine: as the product does, only by a leader whose lease holds at
    /// that moment.
    pub(crate) fn terminate_machine(&mut self, node: usize, incarnation: u64, id: InstanceId) {
        let place = &self.nodes[node];
        let holds = place.leader.as_ref().is_some_and(|l| l.until.is_none_or(|u| self.now < u));
        if !place.up || place.paused || place.incarnation != incarnation || !holds {
            self.fired.note("termination_by_nobody_withheld");
            return;
        }
        let provider = place
            .leader
            .as_ref()
            .and_then(|leader| leader.state.instances.get(&id)?.provider.clone());
        let now = time::at(self.start, self.now);
        let (Some(provider), Some(account)) = (provider, &mut self.account) else { return };
        let call = account.cloud.terminate(INSTALL, &provider, now);
        self.log(|| format!("{provider} is to be ended: {:?}", call.outcome));
        if let (Delivery::Answered { at }, Err(CloudError::RequestLimitExceeded)) =
            (call.delivery, &call.outcome)
            && let Some(pool) = self.pool_of_machine(id)
        {
            let at = time::moment(self.start, at);
            self.at(at, Event::Told(node, incarnation, Command::PoolThrottled { pool }));
        }
        self.account_ticks();
    }

    fn pool_of_machine(&self, id: InstanceId) -> Option<PoolName> {
        self.store.tables.instances.get(&id).map(|it| it.offer.pool.clone())
    }

    /// Lists the pools whose turn it is.
    pub(crate) fn list_pools(&mut self, node: usize, leader: &Leader) {
        if self.account.is_none() {
            return;
        }
        let incarnation = self.nodes[node].incarnation;
        for name in POOLS.map(PoolName::new) {
            let due = self.listing_due(&name, leader);
            if due <= self.now {
                if let Some(account) = &mut self.account {
                    account.listed.insert(name.clone(), self.now);
                }
                let span = self.rng.random_range(1..200);
                self.later(span, Event::ListPool(node, incarnation, name));
            }
        }
    }

    /// When the next pool has to be listed.
    pub(crate) fn next_listing(&self, leader: &Leader) -> Option<Ms> {
        self.account.as_ref()?;
        POOLS.map(PoolName::new).iter().map(|name| self.listing_due(name, leader)).min()
    }

    fn listing_due(&self, name: &PoolName, leader: &Leader) -> Ms {
        let moves = leader
            .state
            .instances
            .values()
            .any(|machine| machine.offer.pool == *name && machine.is_moving());
        // A new leader lists at once, and what lacks a page is listed again.
        let inventory = leader.state.seen.inventories.get(name);
        let is_known = inventory.is_some_and(|inventory| inventory.complete);
        let every = if moves || !is_known { LISTED_BUSY } else { LISTED_QUIET };
        let last = self.account.as_ref().and_then(|account| account.listed.get(name));
        last.map_or(0, |last| last + every)
    }

    /// All pages of a pool's listing, or as many as come.
    pub(crate) fn list_pool(&mut self, node: usize, incarnation: u64, pool: &PoolName) {
        let now = time::at(self.start, self.now);
        let Some(account) = &mut self.account else { return };
        let (arrives, listing) = account.cloud.inventory(INSTALL, pool, now);
        let pool = pool.clone();
        let command = match listing {
            Ok(inventory) => Some(Command::PoolListed { pool, inventory: Box::new(inventory) }),
            Err(error) if error.class() == ErrorClass::Throttled => {
                Some(Command::PoolThrottled { pool })
            }
            Err(_) => None,
        };
        if !matches!(command, Some(Command::PoolListed { .. })) {
            account.unreasoned.clear();
        }
        let at = time::moment(self.start, arrives);
        if let Some(command) = command {
            self.at(at, Event::Told(node, incarnation, command));
        }
        self.follow_account();
        self.check_reasons();
    }

    /// The store is an older one: what is there now is half known.
    pub(crate) fn account_is_half_known(&mut self) {
        if let Some(account) = &mut self.account {
            let there = account.cloud.machines().iter().map(|machine| machine.id.clone());
            account.half_known = there.collect();
        }
    }

    /// Whether nothing of ours is left in the account.
    pub(crate) fn account_is_empty(&self) -> bool {
        self.account.as_ref().is_none_or(|account| {
            let ours = account.cloud.machines().iter().filter(|machine| {
                machine.mark.as_ref().is_some_and(|mark| mark.install == INSTALL)
            });
            ours.into_iter().all(|machine| machine.stopped.is_some())
        })
    }
}

fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn after_refusal(asked: &LaunchRequest, error: &CloudError) -> Command {
    let machine = asked.instance;
    let refused = |refusal| {
        let message = format!("{}: {error}", error.code());
        Command::MachineRefused { machine, refusal, message }
    };
    match error.class() {
        ErrorClass::Capacity => refused(MachineRefusal::Capacity),
        ErrorClass::Quota => refused(MachineRefusal::Quota),
        ErrorClass::Unsupported => refused(MachineRefusal::Other),
        ErrorClass::Throttled => Command::PoolThrottled { pool: asked.pool.clone() },
        ErrorClass::Credentials
        | ErrorClass::Unreachable
        | ErrorClass::Mismatch
        | ErrorClass::NotFound => Command::MachineUnknown { machine },
    }
}
