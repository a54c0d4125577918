//! The loop: receives requests, runs the phases, commits what they decided in one
//! transaction, and only then answers and acts.
//!
//! A round works on the state in memory; nobody sees it before its commit. If the commit
//! fails, the memory is discarded and read again from the store: to everyone outside, what
//! was not committed never happened. While the store is unavailable, every call is refused
//! at once, nothing is launched or ended, and what is running continues.

mod rest;

use std::sync::Arc;
use std::time::{Duration, Instant};

use spotwise_model::time::TimeScale;
use spotwise_model::{JobId, Now, PoolSet};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::access::admin;
use crate::alarm::{Alarm, TICK};
use crate::config::ServeConfig;
use crate::duty_cycle::DutyCycle;
use crate::effects::Effects;
use crate::forecast_fitter::ForecastFitter;
use crate::handle::{Handle, Inbox, Message, Question};
use crate::lease::Lease;
use crate::planner::Planner;
use spotwise_control::core::queue::Queue;
use spotwise_control::core::{Asker, Change, State};
use spotwise_control::intake;
use spotwise_control::phase::round::{self, Received, RoundInputs, WorkingState};
use spotwise_control::phase::{forecast, plan};
use spotwise_control::{Command, Refusal, Reply};
use spotwise_market::Market;
use spotwise_store::{Loaded, Round, Store, StoreError};

/// Messages handled in one round, so that a flood cannot starve the phases.
const MESSAGES_A_ROUND: usize = 4_096;
/// Number of changes after which no further message joins a round: its commit stays well
/// within the time limits of the database.
const CHANGES_A_ROUND: usize = 10_000;
/// The longest pause between two attempts to reach an unavailable store (wall time).
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The loop and everything it owns.
pub struct Driver {
    state: State,
    round: u64,
    news: bool,
    alarm: Alarm,
    phases: DutyCycle,
    planner: Planner,
    fitter: ForecastFitter,
    parts: Parts,
}

/// What the loop works with.
pub struct Parts {
    /// A handle to the loop itself, for effects that report back.
    pub handle: Handle,
    /// The messages that arrive through it.
    pub inbox: Inbox,
    /// The durable state.
    pub store: Store,
    /// Our right to decide and to write.
    pub lease: Lease,
    /// Job numbers up to this one are taken, whatever the store says.
    pub last_job: u64,
    /// Prices and availability.
    pub market: Market,
    /// The pools that the operator wants, whenever they change.
    pub pools: watch::Receiver<PoolSet>,
    /// Whether another has led before: then the pools that it committed stay until the
    /// operator's file changes.
    pub takes_over: bool,
    /// The operator's settings.
    pub config: Arc<ServeConfig>,
    /// How market time follows wall time.
    pub scale: TimeScale,
    /// What acts on the world.
    pub effects: Effects,
    /// The admin token of the data folder.
    pub admin_token: String,
}

type PendingReplies = Vec<(oneshot::Sender<Result<Reply, Refusal>>, Result<Reply, Refusal>)>;

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to.
    Shutdown,
    /// Another scheduler leads.
    Deposed,
}

/// Why the loop ended early.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The store refuses rounds, and will keep refusing them.
    #[error("could not commit a round")]
    Commit(#[source] StoreError),
    /// The state could not be read.
    #[error("could not load the state")]
    Load(#[source] StoreError),
}

impl Driver {
    /// A loop that continues from where the store left off.
    pub async fn new(parts: Parts) -> Result<Self, DriverError> {
        let mut driver = Self {
            state: State::default(),
            round: 0,
            news: true,
            alarm: Alarm::default(),
            phases: DutyCycle::default(),
            planner: Planner::default(),
            fitter: ForecastFitter::default(),
            parts,
        };
        driver.load().await?;
        driver.compare_pools();
        Ok(driver)
    }

    /// Says so where the operator's file differs from what the leader before has committed.
    fn compare_pools(&self) {
        let committed = &self.state.pools;
        let wanted = self.parts.pools.borrow();
        let differs = committed.pools != wanted.pools || committed.quotas != wanted.quotas;
        if self.parts.takes_over && !committed.pools.is_empty() && differs {
            let version = committed.version;
            tracing::warn!(
                version,
                "the pools of this scheduler's file differ from those committed, which stay until \
                 the file changes"
            );
        }
    }

    async fn load(&mut self) -> Result<(), DriverError> {
        let loaded = self.parts.store.load().await.map_err(DriverError::Load)?;
        self.take(loaded);
        Ok(())
    }

    fn take(&mut self, loaded: Loaded) {
        for row in &loaded.quarantined {
            tracing::warn!(%row, "a stored row could not be read and was left aside");
        }
        self.round = loaded.last_round;
        self.state = loaded.into_state();
        self.parts.handle.publish_tokens(&self.state.tokens);
        self.know_admin();
        self.state.last_job = self.state.last_job.max(self.parts.last_job);
        // Nobody is silent because we were deaf.
        self.state.seen.since = Some(self.now().wall);
        self.state.seen.fits_beside = true;
        self.state.seen.plans_beside = true;
        self.state.seen.queue = Queue::unknown(JobId(self.state.last_job));
        self.news = true;
        self.alarm.ring();
        tracing::info!(
            jobs = self.state.jobs.len(),
            attempts = self.state.attempts.len(),
            "state loaded"
        );
    }

    /// The admin token of the data folder is good from the start, and committed with the
    /// first round. One that is known stays as it is: it may have been revoked.
    fn know_admin(&self) {
        let Some((asker, token)) = admin(&self.parts.admin_token) else { return };
        if self.state.tokens.contains_key(&token.id) {
            return;
        }
        let mut tokens = self.state.tokens.clone();
        Arc::make_mut(&mut tokens).insert(token.id.clone(), token.clone());
        self.parts.handle.publish_tokens(&tokens);
        let add = Box::new(Command::AddToken(Box::new(token)));
        self.parts.handle.post(Command::By(Box::new(asker), add));
    }

    fn now(&self) -> Now {
        self.parts.scale.at(crate::clock::now())
    }

    /// Runs until `shutdown`, until another scheduler leads, or until the store fails for
    /// good. Running jobs continue without the scheduler: the next one finds them.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<Ending, DriverError> {
        loop {
            let pause = self.pause();
            let first = tokio::select! {
                () = shutdown.cancelled() => return Ok(Ending::Shutdown),
                () = self.parts.lease.lost() => return Ok(Ending::Deposed),
                message = self.parts.inbox.recv() => match message {
                    Some(message) => message,
                    None => return Ok(Ending::Shutdown),
                },
                _ = self.parts.pools.changed(), if self.parts.pools.has_changed().is_ok() => {
                    // Taken in by the round; only what changes later is another one's word.
                    self.parts.takes_over = false;
                    self.alarm.ring();
                    Message::Wake
                }
                () = tokio::time::sleep(pause) => Message::Wake,
            };
            let done = if self.parts.lease.holds() {
                self.one_round(first).await
            } else {
                // Another may lead already, and know more than this memory does.
                refuse(first);
                Ok(false)
            };
            let ending = match done {
                Ok(true) => None,
                Ok(false) => self.recover(&shutdown).await?,
                Err(StoreError::NotLeader { .. }) => Some(Ending::Deposed),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(error = error.in_full(), "a round was not committed");
                    self.recover(&shutdown).await?
                }
                Err(error) => return Err(DriverError::Commit(error)),
            };
            if let Some(ending) = ending {
                return Ok(ending);
            }
        }
    }

    /// Refuses everything until the store answers and the lease holds, then
    /// begins again from what is durable.
    async fn recover(
        &mut self,
        shutdown: &CancellationToken,
    ) -> Result<Option<Ending>, DriverError> {
        let since = Instant::now();
        let lease = self.parts.lease.clone();
        let mut pause = TICK;
        loop {
            let store = self.parts.store.clone();
            let attempt = async {
                tokio::time::sleep(pause).await;
                if lease.holds() { Some(store.load().await) } else { None }
            };
            let loaded = tokio::select! {
                () = shutdown.cancelled() => return Ok(Some(Ending::Shutdown)),
                () = lease.lost() => return Ok(Some(Ending::Deposed)),
                loaded = attempt => loaded,
                () = deny(&mut self.parts.inbox) => return Ok(Some(Ending::Shutdown)),
            };
            match loaded {
                Some(Ok(loaded)) => {
                    self.take(loaded);
                    tracing::info!(away = ?since.elapsed(), "the store answers again");
                    return Ok(None);
                }
                Some(Err(error)) if !error.is_retryable() => return Err(DriverError::Load(error)),
                Some(Err(_)) | None => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    /// Returns whether the lease still held after the commit: without it nothing is done to
    /// the world.
    async fn one_round(&mut self, first: Message) -> Result<bool, StoreError> {
        let now = self.now();
        let (answers, questions, mut changes) = self.take_in(first, now);
        let looks = self.phases_due(!changes.is_empty(), !questions.is_empty(), now);
        let begun = Instant::now();
        let changed = looks && self.run_phases(&mut changes, now);
        let looked = begun.elapsed();
        if let Err(error) = self.commit(&changes).await {
            let text = error.to_string();
            for (reply, answer) in answers {
                // What a question or a refusal learnt from uncommitted state is
                // not told either.
                let _ = reply.send(answer.and(Err(Refusal::Unavailable(text.clone()))));
            }
            return Err(error);
        }
        self.parts.handle.publish_tokens(&self.state.tokens);
        for change in &changes {
            if let Change::Event(event) = change {
                self.parts.handle.publish(event);
            }
        }
        for (reply, answer) in answers {
            // The asker may have gone.
            let _ = reply.send(answer);
        }
        if !self.parts.lease.holds() {
            return Ok(false);
        }
        let again = Instant::now();
        if looks {
            // Before what is settled is forgotten: an attempt may have ended and been
            // settled in this very round, and still have processes to clear up.
            self.parts.effects.perform(&self.state, now, &self.parts.handle);
            self.state.forget_settled();
        }
        for question in questions {
            question(&self.state, now);
        }
        if looks {
            self.start_fitting(now);
            self.start_planning(now);
            self.set_alarm(changed, now);
            self.phases.done(Instant::now(), looked + again.elapsed());
        }
        Ok(true)
    }

    /// Handles what waits in the inbox: commands become changes, questions are kept until
    /// the round is durable.
    fn take_in(
        &mut self,
        first: Message,
        now: Now,
    ) -> (PendingReplies, Vec<Question>, Vec<Change>) {
        let mut working = WorkingState { state: &mut self.state, changes: Vec::new() };
        // Committed with the round, so that a standby knows the same ones.
        if self.parts.pools.has_changed().unwrap_or(false) {
            self.parts.takes_over = false;
        }
        let wanted = self.parts.pools.borrow_and_update().clone();
        let known = !working.state.pools.pools.is_empty();
        if !(self.parts.takes_over && known) {
            let config = &self.parts.config.control;
            let wanted = Command::SetPools(Box::new(wanted));
            let wanted = Command::By(Box::new(Asker::operators_file()), Box::new(wanted));
            if let Ok((made, _)) = intake::answer(working.state, wanted, config, now) {
                working.take(made);
            }
        }
        let mut answers = PendingReplies::new();
        let mut questions = Vec::new();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(message) = next {
            match message {
                Message::Command(command, reply) => {
                    let answer =
                        intake::answer(working.state, command, &self.parts.config.control, now);
                    let answer = answer.map(|(made, reply)| {
                        working.take(made);
                        reply
                    });
                    answers.push((reply, answer));
                }
                Message::Question(question) => questions.push(question),
                Message::Wake => {}
            }
            taken += 1;
            let full = taken >= MESSAGES_A_ROUND || working.changes.len() >= CHANGES_A_ROUND;
            next = if full { None } else { self.parts.inbox.try_recv() };
        }
        let changes = working.changes;
        self.news |= !changes.is_empty();
        (answers, questions, changes)
    }

    /// Runs the phases. True if they have changed something.
    fn run_phases(&mut self, changes: &mut Vec<Change>, now: Now) -> bool {
        self.state.seen.counts.looks += 1;
        let plan = self.planner.finished().map(|(plan, left)| {
            self.state.seen.last_plan = plan::method_words(&plan);
            self.state.seen.queue = left;
            self.state.seen.counts.plans += 1;
            plan
        });
        if let Some(fitted) = self.fitter.finished() {
            forecast::take(&mut self.state.seen.forecasts, fitted, now.market);
        }
        let made = changes.len();
        let Parts { market, config, .. } = &self.parts;
        let prices = Some(round::ask_prices(&self.state, market, now));
        let refused = self.state.prices.refused;
        let mut working = WorkingState { state: &mut self.state, changes: std::mem::take(changes) };
        let inputs = RoundInputs { market, config: &config.control };
        let moved = tracing::debug_span!("round", round = self.round + 1)
            .in_scope(|| round::run(&mut working, Received { plan, prices }, inputs, now));
        *changes = working.changes;
        let refused = self.state.prices.refused - refused;
        if refused > 0 {
            tracing::warn!(refused, "prices that nobody can mean: the last good ones hold");
        }
        let changed = moved || changes.iter().skip(made).any(Change::is_news);
        self.news |= changed;
        changed
    }

    async fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.round += 1;
        let round = Round { epoch: self.parts.lease.epoch(), id: self.round, changes };
        self.parts.store.commit(&round).await
    }
}

/// Refuses everything received until every handle is closed.
async fn deny(inbox: &mut Inbox) {
    while let Some(message) = inbox.recv().await {
        refuse(message);
    }
}

/// Nothing has changed, and the caller may ask again. A dropped question tells its sender
/// so.
fn refuse(message: Message) {
    if let Message::Command(_, reply) = message {
        let why = "its database does not answer, and running jobs go on".to_owned();
        // The asker may have gone.
        let _ = reply.send(Err(Refusal::Unavailable(why)));
    }
}
