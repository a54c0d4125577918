//! What follows a commit: machines and workers that are asked for, kills, and checking on
//! what is there. Each is idempotent by attempt or by token, so that repeating it after a
//! restart is safe.

mod machines;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use spotwise_api::trust::Fingerprint;
use spotwise_capacity::{Backend, StartError, WorkerOrder};
use spotwise_model::id::PoolName;
use spotwise_model::time::{after, between};
use spotwise_model::{AttemptId, Now};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::capacity::Backends;
use crate::handle::Handle;
use crate::lease::Lease;
use crate::reuse::{Starter, WorkerReuse};
use crate::token::WorkerTokens;
use spotwise_control::core::State;
use spotwise_control::phase::reconcile::{Effect, OutstandingCalls};
use spotwise_control::{Command, WorkerId};

/// How often pools are asked which workers are running (wall time).
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often we look for processes of ours without a live attempt (wall time).
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// Where workers find a scheduler.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// This one first, then the others, with commas between them.
    pub servers: String,
    /// Whose certificate they show, where systems do not know it.
    pub authority: Option<Fingerprint>,
}

/// Acts on pools, and remembers what it has asked of them.
pub struct Effects {
    backends: Backends,
    tokens: WorkerTokens,
    addresses: Addresses,
    lease: Lease,
    reuse: Arc<WorkerReuse>,
    outstanding: OutstandingCalls,
    polled: Option<Timestamp>,
    reaped: Option<Timestamp>,
    listings: machines::Listings,
    listening: BTreeSet<PoolName>,
    tasks: JoinSet<()>,
}

impl Effects {
    /// `addresses` is where workers reach us; without the `lease` nothing is ended.
    pub fn new(
        backends: Backends,
        tokens: WorkerTokens,
        addresses: Addresses,
        lease: Lease,
        reuse: Arc<WorkerReuse>,
    ) -> Self {
        Self {
            backends,
            tokens,
            addresses,
            lease,
            reuse,
            outstanding: OutstandingCalls::default(),
            polled: None,
            reaped: None,
            listings: machines::Listings::default(),
            listening: BTreeSet::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Brings the pools in line with the committed state.
    pub fn perform(&mut self, state: &State, now: Now, handle: &Handle) {
        while self.tasks.try_join_next().is_some() {}
        self.reuse.note(state, Instant::now());
        for effect in self.outstanding.next(state, now) {
            match effect {
                Effect::LaunchMachine(machine) => self.launch_machine(state, machine, handle),
                Effect::TerminateMachine(machine) => self.terminate_machine(state, machine, handle),
                Effect::StartWorker(worker) => self.start_worker(state, worker, now.wall, handle),
                Effect::Kill(attempt) => self.kill(state, attempt),
            }
        }
        self.list_machines(state, now, handle);
        self.listen(state, handle);
        if due(self.polled, POLL_INTERVAL, now) {
            self.polled = Some(now.wall);
            self.poll(state, handle);
        }
        if due(self.reaped, REAP_INTERVAL, now) {
            self.reaped = Some(now.wall);
            self.reap(state);
        }
    }

    /// When the pools should be checked again, if nothing changes (wall time).
    pub fn due(&self, state: &State) -> Option<Timestamp> {
        let busy = state.attempts.values().any(|attempt| attempt.state.is_live());
        let look = self.polled.filter(|_| busy).map(|at| after(at, POLL_INTERVAL));
        let reap = self.reaped.map(|at| after(at, REAP_INTERVAL));
        let list = self.listings.due(state);
        look.into_iter().chain(reap).chain(list).chain(self.outstanding.due(state)).min()
    }

    /// The back end of the pool that an attempt runs in.
    fn backend_of(&mut self, state: &State, attempt: AttemptId) -> Option<Arc<dyn Backend>> {
        let pool = state.pools.get(&state.attempts.get(&attempt)?.offer.pool)?;
        self.backends.of(pool, &state.pools)
    }

    fn start_worker(&mut self, state: &State, worker: WorkerId, now: Timestamp, handle: &Handle) {
        let Some(backend) = self.backend_of(state, worker.attempt) else { return };
        let machine = state.attempts.get(&worker.attempt).and_then(|attempt| {
            let id = attempt.instances.get(worker.rank as usize)?;
            state.instances.get(id)?.provider.clone()
        });
        let order = WorkerOrder {
            attempt: worker.attempt,
            rank: worker.rank,
            machine,
            token: self.tokens.bootstrap(worker, now),
            server: self.addresses.servers.clone(),
            authority: self.addresses.authority.map(|authority| authority.to_string()),
        };
        let starter = self.reuse.starter(state, worker.attempt);
        let (handle, reuse) = (handle.clone(), self.reuse.clone());
        let start = async move {
            let idle = match starter {
                Starter::New => None,
                Starter::Idle(idle) => Some(idle),
                Starter::Expected(asks, within) => {
                    tokio::time::timeout(within, asks).await.ok().and_then(Result::ok)
                }
            };
            if let Some(idle) = idle
                && backend.hand_over(idle.attempt, &order)
            {
                tracing::debug!(from = %idle.attempt, "its worker goes on");
                return reuse.go_on(idle, order.attempt);
            }
            if let Err(error) = backend.start_worker(order).await {
                report(&handle, worker, &error).await;
            }
        };
        self.tasks.spawn(start.instrument(attempt_span(worker.attempt)));
    }

    fn kill(&mut self, state: &State, attempt: AttemptId) {
        let Some(backend) = self.backend_of(state, attempt) else { return };
        let kill = async move { backend.kill(attempt).await };
        self.tasks.spawn(kill.instrument(attempt_span(attempt)));
    }

    /// Tells the loop about workers that died without reporting.
    fn poll(&mut self, state: &State, handle: &Handle) {
        let live: Vec<_> = state.attempts.values().filter(|a| a.state.is_live()).collect();
        let mut by_pool: BTreeMap<&PoolName, BTreeSet<AttemptId>> = BTreeMap::new();
        for attempt in live {
            by_pool.entry(&attempt.offer.pool).or_default().insert(attempt.id);
        }
        for (name, live) in by_pool {
            let Some(pool) = state.pools.get(name) else { continue };
            let Some(backend) = self.backends.of(pool, &state.pools) else { continue };
            let handle = handle.clone();
            self.tasks.spawn(async move {
                for found in backend.list_workers().await {
                    if !found.alive && live.contains(&found.attempt) {
                        let worker = WorkerId { attempt: found.attempt, rank: found.rank };
                        // Refused when the attempt has ended meanwhile: that is fine.
                        let _ = handle.command(Command::WorkerGone { worker }).await;
                    }
                }
            });
        }
    }

    fn reap(&mut self, state: &State) {
        let live: BTreeSet<AttemptId> =
            state.attempts.values().filter(|a| a.state.is_live()).map(|a| a.id).collect();
        for pool in state.pools.pools.values() {
            let Some(backend) = self.backends.of(pool, &state.pools) else { continue };
            let live = live.clone();
            self.tasks.spawn(async move {
                let reaped = backend.reap_strays(live).await;
                if reaped > 0 {
                    tracing::warn!(reaped, "ended processes of attempts that are over");
                }
            });
        }
    }
}

fn due(last: Option<Timestamp>, every: Duration, now: Now) -> bool {
    last.is_none_or(|last| between(last, now.wall) >= every)
}

async fn report(handle: &Handle, worker: WorkerId, error: &StartError) {
    tracing::warn!(attempt.id = %worker.attempt, rank = worker.rank, %error, "launch failed");
    let command = if error.unknown {
        Command::LaunchUnknown { worker }
    } else {
        Command::LaunchFailed { worker, message: error.to_string(), retryable: error.retryable }
    };
    // Refused when the attempt has ended meanwhile: that is fine.
    let _ = handle.command(command).await;
}

/// The span for what is logged about an attempt.
fn attempt_span(attempt: AttemptId) -> tracing::Span {
    tracing::info_span!("attempt", job.id = %attempt.job, attempt.id = %attempt)
}
