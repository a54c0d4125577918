//! A simulated account that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use spotwise_capacity::{MachineOrder, Notice, WorkerOrder};
use spotwise_market::Market;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::inventory::Inventory;
use spotwise_model::time::{TimeScale, between};
use spotwise_model::{AttemptId, Now};
use spotwise_simulated_cloud::{
    Call, CloudError, CloudEvent, CloudSpec, Happening, LaunchRequest, Launched, SimulatedCloud,
};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;

use super::super::Local;
use super::bill;
use super::journal::{Entry, Journal, What};
use super::market::SoldByCloud;

/// How the account's time, which is market time, follows ours.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct CloudClock {
    pub(in super::super) scale: TimeScale,
}

impl CloudClock {
    /// The account's time, to the millisecond: the market's own moves in whole seconds.
    fn now(&self) -> Timestamp {
        let wall = crate::clock::now();
        let passed = between(self.scale.wall_start, wall).saturating_mul(self.scale.speed);
        spotwise_model::time::after(self.scale.market_start, passed)
    }

    /// A span of market time in wall time.
    pub(super) fn wall(&self, market: Duration) -> Duration {
        market / self.scale.speed.max(1)
    }

    pub(super) async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(self.wall(between(self.now(), at))).await;
    }
}

/// The account, its clock, and who runs on its machines.
#[derive(Debug)]
pub(in super::super) struct CloudAccount {
    clock: CloudClock,
    install: String,
    /// Where the account's own bill is kept.
    bill: PathBuf,
    inner: Mutex<Inner>,
    /// Something may happen earlier than was thought.
    changed: Notify,
    pump: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug)]
struct Inner {
    cloud: SimulatedCloud,
    journal: Journal,
    listeners: BTreeMap<PoolName, UnboundedSender<Notice>>,
    placed: BTreeMap<ProviderId, BTreeSet<(AttemptId, u32)>>,
    killed: BTreeSet<AttemptId>,
}

impl CloudAccount {
    /// The account as its journal tells it, running from now on.
    pub(in super::super) fn open(
        spec: CloudSpec,
        seed: u64,
        market: Market,
        clock: CloudClock,
        (install, journal): (&str, &Path),
        local: Arc<Local>,
    ) -> io::Result<Arc<Self>> {
        if let Some(folder) = journal.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let bill = journal.with_extension("bill.json");
        let (journal, entries) = Journal::open(journal)?;
        let start = entries.first().map_or_else(|| clock.now(), |entry| entry.at);
        let cloud = SimulatedCloud::new(spec, Arc::new(SoldByCloud(market)), seed, start);
        let mut inner = Inner {
            cloud,
            journal,
            listeners: BTreeMap::new(),
            placed: BTreeMap::new(),
            killed: BTreeSet::new(),
        };
        for entry in entries {
            inner.again(install, entry);
        }
        let account = Arc::new(Self {
            clock,
            install: install.to_owned(),
            bill,
            inner: Mutex::new(inner),
            changed: Notify::new(),
            pump: Mutex::new(None),
        });
        let pump = tokio::spawn(pump(Arc::downgrade(&account), local));
        *lock(&account.pump) = Some(AbortOnDropHandle::new(pump));
        Ok(account)
    }

    pub(in super::super) const fn clock(&self) -> CloudClock {
        self.clock
    }

    /// What is announced of a pool's machines, from now on.
    pub(super) fn listen(&self, pool: &PoolName) -> UnboundedReceiver<Notice> {
        let (sender, receiver) = unbounded_channel();
        lock(&self.inner).listeners.insert(pool.clone(), sender);
        receiver
    }

    pub(super) fn launch(&self, order: MachineOrder) -> Call<Result<Launched, CloudError>> {
        let what = What::Launch {
            token: order.token,
            pool: order.pool,
            instance: order.machine,
            market: order.market,
        };
        self.call(what, |cloud, install, what, at| {
            let What::Launch { token, pool, instance, market } = what else { unreachable!() };
            cloud.launch(&request(install, token, pool, *instance, market), at)
        })
    }

    pub(super) fn terminate(&self, machine: &ProviderId) -> Call<Result<(), CloudError>> {
        let machine = machine.clone();
        self.call(What::Terminate { machine: machine.clone() }, |cloud, install, _, at| {
            cloud.terminate(install, &machine, at)
        })
    }

    /// All pages of a pool, and when the last of them comes.
    pub(super) fn list(&self, pool: &PoolName) -> (Timestamp, Result<Inventory, CloudError>) {
        self.call(What::List { pool: pool.clone() }, |cloud, install, _, at| {
            cloud.inventory(install, pool, at)
        })
    }

    /// Writes a call down and makes it.
    fn call<T>(
        &self,
        what: What,
        make: impl FnOnce(&mut SimulatedCloud, &str, &What, Timestamp) -> T,
    ) -> T {
        let mut inner = lock(&self.inner);
        // Never before what happened last: the journal is in the order of its times.
        let at = self.clock.now().max(inner.cloud.now());
        let entry = Entry { at, what };
        inner.journal.write(&entry);
        let outcome = make(&mut inner.cloud, &self.install, &entry.what, at);
        drop(inner);
        self.changed.notify_one();
        outcome
    }

    /// A worker is to run on a machine: it ends with it.
    pub(super) fn place(&self, order: &WorkerOrder, machine: &ProviderId) {
        let (attempt, rank) = (order.attempt, order.rank);
        let mut inner = lock(&self.inner);
        let new = inner.placed.entry(machine.clone()).or_default().insert((attempt, rank));
        if new {
            let at = self.clock.now().max(inner.cloud.now());
            let what = What::Place { attempt, rank, machine: machine.clone() };
            inner.journal.write(&Entry { at, what });
        }
    }

    pub(super) fn note_kill(&self, attempt: AttemptId) {
        lock(&self.inner).killed.insert(attempt);
    }

    pub(super) fn was_killed(&self, attempt: AttemptId) -> bool {
        lock(&self.inner).killed.contains(&attempt)
    }

    /// Whether a machine runs.
    pub(super) fn runs(&self, machine: &ProviderId) -> bool {
        let inner = lock(&self.inner);
        inner.cloud.machine(machine).is_some_and(|machine| machine.stopped.is_none())
    }

    /// Lets the account's clock run to now. What has ended since, and when it goes on.
    fn advance(&self) -> (Vec<(AttemptId, u32)>, Option<Timestamp>) {
        let mut inner = lock(&self.inner);
        let now = self.clock.now().max(inner.cloud.now());
        let events = inner.cloud.advance(now);
        let mut over = Vec::new();
        let mut stopped = false;
        for event in events {
            stopped |= matches!(event.what, Happening::Stopped(_));
            over.extend(inner.take(event, &self.install, self.clock.scale));
        }
        if stopped {
            bill::write(&self.bill, &inner.cloud.meter(now));
        }
        (over, inner.cloud.next_event())
    }
}

impl Inner {
    /// Makes a call of before again.
    fn again(&mut self, install: &str, Entry { at, what }: Entry) {
        match what {
            What::Launch { token, pool, instance, market } => {
                let asked = request(install, &token, &pool, instance, &market);
                drop(self.cloud.launch(&asked, at));
            }
            What::Terminate { machine } => drop(self.cloud.terminate(install, &machine, at)),
            What::List { pool } => drop(self.cloud.inventory(install, &pool, at)),
            What::Place { attempt, rank, machine } => {
                self.placed.entry(machine).or_default().insert((attempt, rank));
            }
        }
    }

    /// What follows from an event: a notice is passed on, and workers end with their machine.
    fn take(
        &mut self,
        event: CloudEvent,
        install: &str,
        scale: TimeScale,
    ) -> BTreeSet<(AttemptId, u32)> {
        let Some(mark) = event.mark.filter(|mark| mark.install == install) else {
            return BTreeSet::new();
        };
        match event.what {
            Happening::Noticed { reclaim_at } => {
                let until = Now { market: reclaim_at, wall: scale.wall_of(reclaim_at) };
                if let Some(listener) = self.listeners.get(&mark.pool) {
                    // Its pool may be gone.
                    let _ = listener.send(Notice { machine: event.machine, until });
                }
                BTreeSet::new()
            }
            Happening::Stopped(_) => self.placed.remove(&event.machine).unwrap_or_default(),
            Happening::Booted
            | Happening::Registered
            | Happening::RebalanceRecommended
            | Happening::Terminated => BTreeSet::new(),
        }
    }
}

fn request(
    install: &str,
    token: &str,
    pool: &PoolName,
    instance: spotwise_model::InstanceId,
    market: &spotwise_model::MarketKey,
) -> LaunchRequest {
    LaunchRequest {
        token: token.to_owned(),
        install: install.to_owned(),
        pool: pool.clone(),
        instance,
        market: market.clone(),
    }
}

/// Lets time pass for as long as anybody has the account.
async fn pump(account: std::sync::Weak<CloudAccount>, local: Arc<Local>) {
    while let Some(running) = account.upgrade() {
        let (over, next) = running.advance();
        for (attempt, rank) in over {
            local.kill_worker(attempt, rank).await;
        }
        let rest = next.map_or(LONGEST_REST, |at| {
            running.clock.wall(between(running.clock.now(), at)).min(LONGEST_REST)
        });
        tokio::select! {
            () = tokio::time::sleep(rest.max(LEAST_REST)) => {}
            () = running.changed.notified() => {}
        }
    }
}

/// The account is looked at so often at least, and at most (wall time).
const LONGEST_REST: Duration = Duration::from_secs(1);
const LEAST_REST: Duration = Duration::from_millis(5);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
