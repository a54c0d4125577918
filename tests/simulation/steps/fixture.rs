//! A small world that is led by the hand: one scheduler, a store, a pool that
//! does what it is told, and steps that a test takes one by one. It can take
//! every step twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use spotwise_control::Config;
use spotwise_control::command::Submit;
use spotwise_control::core::{Change, State};
use spotwise_control::intake;
use spotwise_control::phase::plan::plan_input;
use spotwise_control::phase::reconcile::{Effect, OutstandingCalls};
use spotwise_control::phase::round::{self, Received, RoundInputs, WorkingState};
use spotwise_control::{Command, Refusal, Reply, WorkerId};
use spotwise_market::{Catalog, Market, MarketSeries, Row};
use spotwise_model::attempt::{Exit, Told};
use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::pool::{HostLimits, PoolKind};
use spotwise_model::spec::{Format, parse};
use spotwise_model::time::after;
use spotwise_model::{
    AttemptId, AttemptState, InstanceState, Job, JobId, JobState, Money, Now, Plan, Pool, PoolSet,
    Price, WaitReason,
};
use spotwise_store::Epoch;

use crate::chaos::store::Store;

/// The fixture, and everything that lasts.
pub(crate) struct Fixture {
    pub(crate) state: State,
    pub(crate) store: Store,
    pub(crate) now: Timestamp,
    pub(crate) config: Config,
    /// Workers that the pool was asked for and that were neither killed nor said
    /// how they ended.
    pub(crate) pool: BTreeSet<WorkerId>,
    /// Says everything twice, and does everything twice.
    pub(crate) twice: bool,
    market: Market,
    outstanding: OutstandingCalls,
    epoch: Epoch,
    round: u64,
}

/// Spot is there for the first fifty minutes and after the second hour.
fn market(start: Timestamp, machines: u32) -> Market {
    let catalog = Catalog::built_in();
    let name = InstanceType::new("p3.2xlarge");
    let machine = catalog.machine_type(&name).expect("it is in the catalogue");
    let row = |minute: u64, available| Row {
        at: after(start, Duration::from_secs(minute * 60)),
        available,
        price: Some(Price::from_micros_per_hour(900_000)),
    };
    let series = MarketSeries {
        zone: Zone::new("us-east-1a"),
        instance_type: name,
        shape: machine.shape.clone(),
        on_demand: machine.on_demand,
        rows: vec![row(0, machines), row(50, 0), row(120, machines)],
    };
    Market::new(vec![series], None).expect("it has rows")
}

impl Fixture {
    pub(crate) fn new(twice: bool) -> Self {
        Self::with_machines(twice, 4)
    }

    /// With so many spot machines.
    pub(crate) fn with_machines(twice: bool, machines: u32) -> Self {
        let start: Timestamp = "2026-03-02T00:00:00Z".parse().expect("a fixed time");
        let mut store = Store::default();
        let epoch = store.lead();
        let host = HostLimits { cpu_milli: 1_000_000, memory_mib: 10_000_000, gpus: None };
        let config = Config { max_live_jobs: 1_000, ..Config::default() };
        let changeover = config.policy.changeover;
        let pool = Pool::of_host(PoolName::new("local"), PoolKind::Local, host, changeover);
        let pools = PoolSet::of([pool]);
        store.tables.pools = pools.clone();
        let mut state = State { pools, ..State::default() };
        state.seen.since = Some(start);
        Self {
            state,
            store,
            now: start,
            config,
            pool: BTreeSet::new(),
            twice,
            market: market(start, machines),
            outstanding: OutstandingCalls::default(),
            epoch,
            round: 0,
        }
    }

    pub(crate) fn clock(&self) -> Now {
        Now { market: self.now, wall: self.now }
    }

    /// What somebody says. Said twice, it is answered twice, and the second time
    /// nothing changes.
    pub(crate) fn say(&mut self, word: impl Fn() -> Command) -> Result<Reply, Refusal> {
        let answer = self.hear(word());
        if self.twice {
            let before = self.tables();
            let again = self.hear(word());
            assert_eq!(self.tables(), before, "{:?}, said twice: {again:?}", word());
            if again != answer {
                self.expect_repeated(&word(), again);
            }
        }
        answer
    }

    /// The second answer may say that it is the second, and nothing else.
    fn expect_repeated(&self, word: &Command, again: Result<Reply, Refusal>) {
        let (ends, submits) = match word {
            Command::Submit(_) => (false, true),
            Command::StartFailed { .. }
            | Command::LaunchFailed { .. }
            | Command::WorkerGone { .. } => (true, false),
            _ => (false, false),
        };
        match again {
            Ok(Reply::Submitted { replayed: true, .. }) if submits => {}
            Err(Refusal::Fenced { .. }) if ends => {}
            // A cancel that is under way is not begun again.
            Ok(Reply::Cancelled { .. }) => {}
            other => panic!("{word:?} is answered by {other:?} the second time"),
        }
    }

    fn hear(&mut self, command: Command) -> Result<Reply, Refusal> {
        let now = self.clock();
        let (made, reply) = intake::answer(&mut self.state, command, &self.config, now)?;
        let mut working = WorkingState { state: &mut self.state, changes: Vec::new() };
        working.take(made);
        let changes = working.changes;
        self.commit(&changes);
        Ok(reply)
    }

    /// One round, and what follows it.
    pub(crate) fn round(&mut self, plan: Option<Plan>) {
        self.one_round(plan.clone());
        if self.twice {
            let before = self.tables();
            self.one_round(plan);
            assert_eq!(self.tables(), before, "a round at the same moment");
        }
        let now = self.clock();
        for effect in self.outstanding.next(&self.state, now) {
            // Either is idempotent by its name.
            for _ in 0..=usize::from(self.twice) {
                match effect {
                    Effect::StartWorker(worker) => drop(self.pool.insert(worker)),
                    Effect::LaunchMachine(_) | Effect::TerminateMachine(_) => {}
                    Effect::Kill(attempt) => self.pool.retain(|w| w.attempt != attempt),
                }
            }
        }
        assert_eq!(self.outstanding.next(&self.state, now), [], "asked for twice");
        self.state.forget_settled();
        self.check();
    }

    fn one_round(&mut self, plan: Option<Plan>) {
        let now = self.clock();
        let prices = Some(round::ask_prices(&self.state, &self.market, now));
        let mut working = WorkingState { state: &mut self.state, changes: Vec::new() };
        let inputs = RoundInputs { market: &self.market, config: &self.config };
        round::run(&mut working, Received { plan, prices }, inputs, now);
        let changes = working.changes;
        self.commit(&changes);
    }

    fn commit(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.round += 1;
        self.store.commit(self.epoch, self.round, changes).expect("it leads");
        if self.twice {
            let before = self.tables();
            self.store.commit(self.epoch, self.round, changes).expect("it leads still");
            assert_eq!(self.tables(), before, "round {} committed twice", self.round);
        }
    }

    /// All that lasts, as one text.
    pub(crate) fn tables(&self) -> String {
        let tables = &self.store.tables;
        format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{}",
            tables.jobs,
            tables.attempts,
            tables.instances,
            tables.ledger,
            tables.submissions,
            tables.last_event
        )
    }

    /// What holds after every round: one live attempt a job, and no budget is
    /// overdrawn, whatever is held.
    fn check(&self) {
        let tables = &self.store.tables;
        let mut held: BTreeMap<JobId, Money> = BTreeMap::new();
        let mut live: BTreeMap<JobId, u32> = BTreeMap::new();
        for attempt in tables.attempts.values() {
            *held.entry(attempt.id.job).or_default() += attempt.hold;
            *live.entry(attempt.id.job).or_default() += u32::from(attempt.state.is_live());
            let settled = matches!(attempt.state, AttemptState::Settled { .. });
            assert!(!settled || attempt.hold == Money::ZERO, "{} holds still", attempt.id);
        }
        for job in tables.jobs.values() {
            let (held, live) =
                (held.get(&job.id).copied().unwrap_or_default(), live.get(&job.id).copied());
            let active = matches!(job.state, JobState::Active { .. });
            assert_eq!(live.unwrap_or(0), u32::from(active), "{} is {}", job.id, job.state.name());
            if let Some(budget) = job.spec.budget {
                let (spent, id) = (job.spent, job.id);
                assert!(spent + held <= budget, "{id}: {spent:?} and {held:?} of {budget:?}");
            }
        }
    }

    /// Time passes, with a round at its end, and one every second while a budget is
    /// being used up: the loop looks ten times a second.
    pub(crate) fn wait(&mut self, seconds: u64) {
        let bounded = |fixture: &Self| {
            let mut live = fixture.state.attempts.values().filter(|a| a.state.is_live());
            live.any(|a| fixture.state.jobs[&a.id.job].spec.budget.is_some())
        };
        let mut left = seconds;
        while left > 0 && bounded(self) {
            self.skip(1);
            left -= 1;
        }
        self.skip(left);
    }

    /// Time passes, with one round at its end.
    pub(crate) fn skip(&mut self, seconds: u64) {
        self.now = after(self.now, Duration::from_secs(seconds));
        self.round(None);
    }

    /// A scheduler that knows what the store knows, and nothing else.
    pub(crate) fn restart(&mut self) {
        self.state = self.store.tables.load();
        self.state.seen.since = Some(self.now);
        self.outstanding = OutstandingCalls::default();
        self.epoch = self.store.lead();
    }

    pub(crate) fn submit(&mut self, document: &str) -> Result<Reply, Refusal> {
        self.say(|| submission(document))
    }

    /// Plans, and takes the plan in.
    pub(crate) fn plan(&mut self) {
        let input = plan_input(&self.state, &self.config, self.clock());
        let (plan, report) = spotwise_solver::plan(&input);
        assert!(report.checked);
        self.round(Some(plan));
    }

    /// Plans until the job has a place.
    pub(crate) fn place(&mut self, job: JobId) {
        for _ in 0..200 {
            self.plan();
            if self.state.live_attempt(job).is_some() {
                return;
            }
            self.wait(60);
        }
        panic!("{job} finds no place: {:?}", self.job(job).state);
    }

    pub(crate) fn job(&self, job: JobId) -> &Job {
        &self.store.tables.jobs[&job]
    }

    /// The worker of the job's live attempt.
    pub(crate) fn worker(&self, job: JobId, rank: u32) -> WorkerId {
        let attempt = self.state.live_attempt(job).expect("it has a live attempt").id;
        WorkerId { attempt, rank }
    }

    pub(crate) fn register(&mut self, worker: WorkerId) -> Result<Reply, Refusal> {
        let address = || "10.0.0.1:7".to_owned();
        self.say(|| Command::Register {
            worker,
            handle: "1".to_owned(),
            address: address(),
            key: spotwise_control::command::WorkerKey::of_start("own"),
        })
    }

    pub(crate) fn start(&mut self, worker: WorkerId) -> Result<Reply, Refusal> {
        let restored = self.state.attempts.get(&worker.attempt).and_then(|a| a.restore);
        let restored = restored.map(Into::into);
        self.say(|| Command::Started { worker, restored, rejected_checkpoints: 0 })
    }

    /// It registers and starts.
    pub(crate) fn run(&mut self, worker: WorkerId) {
        self.register(worker).expect("it may");
        self.start(worker).expect("it may");
        self.round(None);
    }

    pub(crate) fn beat(&mut self, worker: WorkerId, step: u64) -> Result<Reply, Refusal> {
        self.say(|| Command::Heartbeat { worker, step: Some((step, 100)), memory: None })
    }

    pub(crate) fn save(&mut self, worker: WorkerId, sequence: u32, step: u64) {
        let word = || Command::Checkpointed { worker, sequence, bytes: 9, step: Some((step, 100)) };
        self.say(word).expect("it may");
    }

    pub(crate) fn exit(&mut self, worker: WorkerId, exit: Exit) {
        let told = Told::Unknown;
        self.say(|| Command::Exited { worker, exit, told, step: None }).expect("it may");
        self.pool.remove(&worker);
        self.round(None);
    }

    /// Its process is gone.
    pub(crate) fn die(&mut self, worker: WorkerId) {
        self.pool.remove(&worker);
        self.say(|| Command::WorkerGone { worker }).expect("it may");
        self.round(None);
    }

    pub(crate) fn cancel(&mut self, job: JobId) -> Result<Reply, Refusal> {
        self.say(|| Command::Cancel { job, group: false })
    }

    /// Whether nothing is left to do: jobs over or out of money, everything paid.
    pub(crate) fn is_over(&self) -> bool {
        let tables = &self.store.tables;
        let over = |job: &Job| match &job.state {
            // Only its owner can change that.
            JobState::Held { .. }
            | JobState::Waiting { why: WaitReason::OverBudget { .. }, .. } => true,
            state => state.is_terminal(),
        };
        tables.jobs.values().all(over)
            && tables.attempts.values().all(|a| matches!(a.state, AttemptState::Settled { .. }))
            && tables
                .instances
                .values()
                .all(|i| matches!(i.state, InstanceState::Gone { settled: true, .. }))
            && self.pool.is_empty()
    }

    /// The ledger against the jobs: each carries what was charged for it.
    pub(crate) fn check_books(&self) {
        let mut spent: BTreeMap<JobId, Money> = BTreeMap::new();
        for entry in self.store.tables.ledger.values() {
            if let Some(job) = entry.job() {
                *spent.entry(job).or_default() += entry.amount;
            }
        }
        for job in self.store.tables.jobs.values() {
            assert_eq!(job.spent, spent.remove(&job.id).unwrap_or_default(), "{}", job.id);
        }
        assert!(spent.is_empty(), "charges of no job: {spent:?}");
    }

    /// The attempts of a job so far.
    pub(crate) fn attempts(&self, job: JobId) -> usize {
        let all = AttemptId { job, number: 0 }..=AttemptId { job, number: u32::MAX };
        self.store.tables.attempts.range(all).count()
    }
}

/// A submission under a key that follows from the document.
pub(crate) fn submission(document: &str) -> Command {
    Command::Submit(Submit {
        submission: parse(document.as_bytes(), Format::Yaml).expect("a valid document"),
        document_hash: document.to_owned(),
        key: Some(document.to_owned()),
        known: None,
        ended_parents: Vec::new(),
        arrays: std::collections::BTreeMap::new(),
    })
}
