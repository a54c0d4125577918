//! What follows a commit: launches, kills, and checking on what is running. Each is
//! idempotent by attempt, so that repeating it after a restart is safe.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time::{after, between};
use spotwise_model::{AttemptId, Now};
use spotwise_solver::PoolLimit;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::capacity::{Capacity, Launch, LaunchError};
use crate::handle::Handle;
use crate::token::WorkerTokens;
use spotwise_control::core::State;
use spotwise_control::phase::reconcile::{Effect, OutstandingCalls};
use spotwise_control::{Command, WorkerId};

/// How often the pool is asked what is running (wall time).
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often we look for processes of ours without a live attempt (wall time).
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// Acts on a pool, and remembers what it has asked of it.
pub struct Effects {
    capacity: Arc<Capacity>,
    tokens: WorkerTokens,
    server: String,
    install: String,
    outstanding: OutstandingCalls,
    polled: Option<Timestamp>,
    reaped: Option<Timestamp>,
    tasks: JoinSet<()>,
}

impl Effects {
    /// `server` is where workers reach us; `install` marks what is ours.
    pub fn new(
        capacity: Arc<Capacity>,
        tokens: WorkerTokens,
        server: String,
        install: String,
    ) -> Self {
        Self {
            capacity,
            tokens,
            server,
            install,
            outstanding: OutstandingCalls::default(),
            polled: None,
            reaped: None,
            tasks: JoinSet::new(),
        }
    }

    /// What the pool has in all.
    pub fn total(&self) -> PoolLimit {
        self.capacity.total()
    }

    /// Brings the pool in line with the committed state.
    pub fn perform(&mut self, state: &State, now: Now, handle: &Handle) {
        while self.tasks.try_join_next().is_some() {}
        for effect in self.outstanding.next(state, now) {
            match effect {
                Effect::Launch(worker) => self.launch(worker, handle),
                Effect::Kill(attempt) => self.kill(attempt),
            }
        }
        if due(self.polled, POLL_INTERVAL, now) {
            self.polled = Some(now.wall);
            self.poll(state, handle);
        }
        if due(self.reaped, REAP_INTERVAL, now) {
            self.reaped = Some(now.wall);
            self.reap(state);
        }
    }

    /// When the pool should be checked again, if nothing changes (wall time).
    pub fn due(&self, state: &State) -> Option<Timestamp> {
        let busy = state.attempts.values().any(|attempt| attempt.state.is_live());
        let look = self.polled.filter(|_| busy).map(|at| after(at, POLL_INTERVAL));
        let reap = self.reaped.map(|at| after(at, REAP_INTERVAL));
        look.into_iter().chain(reap).chain(self.outstanding.due(state)).min()
    }

    fn launch(&mut self, worker: WorkerId, handle: &Handle) {
        let order = Launch {
            attempt: worker.attempt,
            rank: worker.rank,
            token: self.tokens.token(worker),
            server: self.server.clone(),
        };
        let (capacity, handle) = (self.capacity.clone(), handle.clone());
        let launch = async move {
            if let Err(error) = capacity.launch(&order).await {
                report(&handle, worker, &error).await;
            }
        };
        self.tasks.spawn(launch.instrument(attempt_span(worker.attempt)));
    }

    fn kill(&mut self, attempt: AttemptId) {
        let capacity = self.capacity.clone();
        let kill = async move { capacity.kill(attempt).await };
        self.tasks.spawn(kill.instrument(attempt_span(attempt)));
    }

    /// Tells the loop about workers that died without reporting.
    fn poll(&mut self, state: &State, handle: &Handle) {
        let live: BTreeSet<AttemptId> =
            state.attempts.values().filter(|a| a.state.is_live()).map(|a| a.id).collect();
        if live.is_empty() {
            return;
        }
        let (capacity, handle) = (self.capacity.clone(), handle.clone());
        self.tasks.spawn(async move {
            for found in capacity.list().await {
                if !found.alive && live.contains(&found.attempt) {
                    let worker = WorkerId { attempt: found.attempt, rank: found.rank };
                    // Refused when the attempt has ended meanwhile: that is fine.
                    let _ = handle.command(Command::WorkerGone { worker }).await;
                }
            }
        });
    }

    fn reap(&mut self, state: &State) {
        let live: BTreeSet<AttemptId> =
            state.attempts.values().filter(|a| a.state.is_live()).map(|a| a.id).collect();
        let (capacity, install) = (self.capacity.clone(), self.install.clone());
        self.tasks.spawn(async move {
            let reaped = capacity.reap_strays(&install, move |id| live.contains(&id)).await;
            if reaped > 0 {
                tracing::warn!(reaped, "ended processes of attempts that are over");
            }
        });
    }
}

fn due(last: Option<Timestamp>, every: Duration, now: Now) -> bool {
    last.is_none_or(|last| between(last, now.wall) >= every)
}

async fn report(handle: &Handle, worker: WorkerId, error: &LaunchError) {
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
