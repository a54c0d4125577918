//! What the leading scheduler keeps in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::access::Token;
use spotwise_model::attempt::Progress;
use spotwise_model::freeze::Freeze;
use spotwise_model::id::PoolName;
use spotwise_model::inventory::Inventory;
use spotwise_model::memory::MemoryUse;
use spotwise_model::plan::Reservation;
use spotwise_model::{
    Attempt, AttemptId, AttemptState, Ending, Instance, InstanceId, InstanceState, Job, JobId,
    JobSpec, JobState, LedgerEntry, Money, Offer, Pool, PoolSet, WaitReason,
};
use spotwise_solver::Forecast;

use super::arrivals::Arrivals;
use super::attempts::Attempts;
use super::audit::AuditHead;
use super::availability_history::AvailabilityHistory;
use super::beliefs::Beliefs;
use super::change::{Change, SubmissionRecord};
use super::hours::ClassHours;
use super::own_log::OwnLog;
use super::prices::PriceBook;
use super::queue::Queue;
use super::refusals::{Refusals, Throttled};

/// Live jobs and everything of theirs that is not settled. What has ended leaves memory and
/// is read from the store when requested.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Jobs that have not ended, or whose last charges are still to come.
    pub jobs: BTreeMap<JobId, Job>,
    /// Their attempts that are not settled.
    pub attempts: Attempts,
    /// Machines that are not settled.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// How parents that live jobs still name ended.
    pub ended_parents: BTreeMap<JobId, Ending>,
    /// The last number assigned to a job.
    pub last_job: u64,
    /// The last number assigned to an instance.
    pub last_instance: u64,
    /// The last number assigned to an event.
    pub last_event: u64,
    /// The sum of all settled charges.
    pub settled_total: Money,
    /// What has been observed of the spot markets: in memory before the store has it.
    pub availability: AvailabilityHistory,
    /// What machines cost, and have cost: in memory before the store has it.
    pub prices: PriceBook,
    /// What our own launches and machines have shown of them: follows from the instances.
    pub own_log: OwnLog,
    /// Every token that was ever made, by the part that is no secret.
    pub tokens: Arc<BTreeMap<String, Token>>,
    /// The end of the audit log.
    pub audit: AuditHead,
    /// The pools, as committed.
    pub pools: PoolSet,
    /// Whether all buying is stopped, and by whom.
    pub frozen: Option<Freeze>,
    /// What only memory holds: gone with a restart, and rebuilt from observation.
    pub seen: Seen,
}

/// The outside world as last observed. Not stored.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Last report of each worker (wall time).
    pub heartbeats: BTreeMap<(AttemptId, u32), Timestamp>,
    /// How many notes of each worker have become events.
    pub notes: BTreeMap<(AttemptId, u32), u32>,
    /// The workers whose place somebody else has asked for.
    pub impostors: BTreeSet<(AttemptId, u32)>,
    /// Progress beyond what is stored.
    pub progress: BTreeMap<AttemptId, (Timestamp, Progress)>,
    /// What commands have used, by worker: stored when their attempt ends.
    pub memory: BTreeMap<(AttemptId, u32), MemoryUse>,
    /// When this memory began (wall time): the silence of a worker during the scheduler's
    /// absence counts from here.
    pub since: Option<Timestamp>,
    /// Why each waiting job waits, with the figures of the last round.
    pub waits: BTreeMap<JobId, WaitReason>,
    /// Room that the last plan reserved for jobs that go before others.
    pub reservations: Vec<Reservation>,
    /// Everything on the market.
    pub offers: Vec<Offer>,
    /// What is believed of the spot markets that show nothing of what they have.
    pub beliefs: Beliefs,
    /// What is expected of the spot markets, by pool, machine type and size of gang.
    pub forecasts: Vec<Forecast>,
    /// Forecasts requested for specs that have no job yet.
    pub forecast_requests: Vec<ForecastRequest>,
    /// Whether they are fitted outside the rounds.
    pub fits_beside: bool,
    /// What the last plan left for the rounds before the next one.
    pub queue: Queue,
    /// Whether plans are made outside the rounds, so that the rounds fill what is freed in
    /// the meantime.
    pub plans_beside: bool,
    /// What has been done since this memory began.
    pub counts: Counts,
    /// What the classes of jobs have been charged for recently.
    pub class_hours: ClassHours,
    /// What each pool has listed last.
    pub inventories: BTreeMap<PoolName, Inventory>,
    /// Markets whose provider has refused machines lately.
    pub refusals: Refusals,
    /// Pools whose provider has asked for fewer calls (wall time).
    pub throttled: Throttled,
    /// How often work comes, by pool and machine type.
    pub arrivals: Arrivals,
    /// How the last plan was found, as text.
    pub last_plan: String,
    /// Recently accepted idempotency keys.
    pub recent_keys: RecentKeys,
}

/// How often something was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rounds that ran the phases.
    pub looks: u64,
    /// Plans that were applied.
    pub plans: u64,
    /// Jobs that were placed between plans.
    pub filled: u64,
}

/// Somebody wants to know what a job would cost: forecasts are kept for it as for a waiting
/// job.
#[derive(Clone, Debug)]
pub struct ForecastRequest {
    /// What it asks for.
    pub spec: Arc<JobSpec>,
    /// Until when (wall time).
    pub until: Timestamp,
}

/// The idempotency keys of the latest submissions. The store is asked for a key before a
/// command joins the queue; this covers the time until its turn comes.
#[derive(Clone, Debug, Default)]
pub struct RecentKeys {
    records: BTreeMap<String, SubmissionRecord>,
    order: VecDeque<String>,
}

/// More than the queue of commands holds.
const RECENT_KEYS: usize = 16_384;

impl RecentKeys {
    /// What a key stands for, if it was used recently.
    pub fn get(&self, key: &str) -> Option<&SubmissionRecord> {
        self.records.get(key)
    }

    fn insert(&mut self, record: SubmissionRecord) {
        self.order.push_back(record.key.clone());
        self.records.insert(record.key.clone(), record);
        if self.order.len() > RECENT_KEYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
    }
}

/// How far progress reaches, where fractions are known and where only steps are.
fn reach(progress: &Progress) -> (u32, Option<u64>) {
    (progress.done_ppm, progress.step)
}

impl State {
    /// Applies a change. Cannot fail. An event gets its number here, and an
    /// entry of the audit log its hash.
    pub fn apply(&mut self, change: &mut Change) {
        match change {
            Change::Job(job) => {
                self.last_job = self.last_job.max(job.id.0);
                self.jobs.insert(job.id, (**job).clone());
            }
            Change::Attempt(attempt) => self.attempts.insert((**attempt).clone()),
            Change::Instance(instance) => {
                self.last_instance = self.last_instance.max(instance.id.0);
                self.own_log.note(instance, self.last_instance);
                self.instances.insert(instance.id, (**instance).clone());
            }
            Change::Ledger(entries) => {
                self.settled_total += entries.iter().map(|entry| entry.amount).sum();
                self.count_hours(entries);
            }
            Change::Submission(record) => self.seen.recent_keys.insert(record.clone()),
            Change::Event(event) => {
                self.last_event += 1;
                event.number = self.last_event;
            }
            Change::Availability(update) => self.availability.take(update),
            Change::Prices(update) => self.prices.apply(update),
            Change::Token(token) => {
                Arc::make_mut(&mut self.tokens).insert(token.id.clone(), (**token).clone());
            }
            Change::Audit(entry) => self.audit.seal(entry),
            Change::Pools(pools) => self.pools = (**pools).clone(),
            Change::Freeze(frozen) => self.frozen.clone_from(frozen),
        }
    }

    fn count_hours(&mut self, entries: &[LedgerEntry]) {
        for entry in entries {
            let job = entry.job().and_then(|job| self.jobs.get(&job));
            let machine = self.instances.get(&entry.instance);
            if let (Some(job), Some(machine)) = (job, machine) {
                self.seen.class_hours.add(job.spec.class, entry, machine.on_demand);
            }
        }
    }

    /// When the oldest machine that is not settled was launched.
    pub fn oldest_launch(&self) -> Option<Timestamp> {
        self.instances.values().filter_map(Instance::since).min()
    }

    /// The pool of a machine; `None` for one that nobody knows any more.
    pub fn pool_of(&self, instance: &Instance) -> Option<&Pool> {
        self.pools.get(&instance.offer.pool)
    }

    /// Drops what has ended and is settled. Called between rounds.
    pub fn forget_settled(&mut self) {
        self.attempts.retain(|a| !matches!(a.state, AttemptState::Settled { .. }));
        self.instances.retain(|_, i| !matches!(i.state, InstanceState::Gone { settled: true, .. }));
        let busy: BTreeSet<JobId> = self.attempts.keys().map(|id| id.job).collect();
        let over: Vec<(JobId, Ending)> = self
            .jobs
            .values()
            .filter(|job| !busy.contains(&job.id))
            .filter_map(|job| Some((job.id, job.state.ending()?)))
            .collect();
        for (id, ending) in over {
            self.jobs.remove(&id);
            self.ended_parents.insert(id, ending);
        }
        let named: BTreeSet<JobId> = self
            .jobs
            .values()
            .filter(|j| !j.state.is_terminal())
            .flat_map(|j| j.after.iter().copied())
            .collect();
        self.ended_parents.retain(|id, _| named.contains(id));
        let attempts = &self.attempts;
        let live = |id: &AttemptId| attempts.get(id).is_some_and(|a| a.state.is_live());
        self.seen.heartbeats.retain(|(id, _), _| live(id));
        self.seen.notes.retain(|(id, _), _| live(id));
        self.seen.impostors.retain(|(id, _)| live(id));
        self.seen.memory.retain(|(id, _), _| live(id));
        self.seen.progress.retain(|id, _| live(id));
        let jobs = &self.jobs;
        let waiting =
            |id: &JobId| jobs.get(id).is_some_and(|j| matches!(j.state, JobState::Waiting { .. }));
        self.seen.waits.retain(|id, _| waiting(id));
        self.seen.queue.tidy(jobs);
    }

    /// The live attempt of a job, if it has one.
    pub fn live_attempt(&self, job: JobId) -> Option<&Attempt> {
        self.attempts_of(job).rev().find(|a| a.state.is_live())
    }

    /// The unsettled attempts of a job, oldest first.
    pub fn attempts_of(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Attempt> {
        let first = AttemptId { job, number: 0 };
        let last = AttemptId { job, number: u32::MAX };
        self.attempts.range(first..=last).map(|(_, attempt)| attempt)
    }

    /// How an earlier job ended: `None` if it has not.
    pub fn parent_ending(&self, job: JobId) -> Option<Ending> {
        match self.jobs.get(&job) {
            Some(job) => job.state.ending(),
            None => self.ended_parents.get(&job).copied(),
        }
    }

    /// The unsettled attempts on an instance.
    pub fn attempts_on(&self, instance: InstanceId) -> impl Iterator<Item = &Attempt> {
        self.attempts.on(instance)
    }

    /// The newest progress of a live attempt, stored or not.
    pub fn progress_of(&self, attempt: &Attempt) -> Progress {
        match self.seen.progress.get(&attempt.id) {
            Some((_, seen)) if reach(seen) > reach(&attempt.progress) => *seen,
            _ => attempt.progress,
        }
    }

    /// The same attempt with what its commands have used, stored or not.
    pub fn with_memory(&self, attempt: &Attempt) -> Attempt {
        let mut attempt = attempt.clone();
        for (rank, node) in (0u32..).zip(&mut attempt.nodes) {
            let seen = self.seen.memory.get(&(attempt.id, rank)).copied();
            node.memory = match (node.memory, seen) {
                (Some(stored), Some(seen)) => Some(stored.max(seen)),
                (stored, seen) => stored.or(seen),
            };
        }
        attempt
    }

    /// Money set aside for a job's live attempt.
    pub fn held_for(&self, job: JobId) -> Money {
        self.attempts_of(job)
            .filter(|a| !matches!(a.state, AttemptState::Settled { .. }))
            .map(|a| a.hold)
            .sum()
    }
}
