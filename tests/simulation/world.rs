//! A simulated pool and its workers, on virtual time.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_control::Config;
use spotwise_control::command::Submit;
use spotwise_control::reply::Orders;
use spotwise_control::world::World as VirtualScheduler;
use spotwise_control::{Command, Reply, WorkerId};
use spotwise_market::{Catalog, SyntheticOptions, synthetic};
use spotwise_model::attempt::{Exit, Progress, Told};
use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::pool::HostLimits;
use spotwise_model::spec::{Format, parse};
use spotwise_model::time::{after, between};
use spotwise_model::{AttemptState, Commitment, InstanceState, JobId, JobState, Plan, Price};
use spotwise_solver::PoolLimit;

/// Virtual time of one round.
const STEP: Duration = Duration::from_secs(60);
/// From the launch call to the first step of the command.
const BOOT: Duration = Duration::from_secs(180);
/// No world lasts longer than this many steps: ten days.
const MOST_STEPS: u32 = 10 * 24 * 60;

/// A simulated worker.
struct Worker {
    boots_until: Timestamp,
    /// Seconds of work done, of `whole`.
    done: u64,
    whole: u64,
    saved_at: Timestamp,
    sequence: u32,
    running: bool,
}

pub(crate) struct World {
    scheduler: VirtualScheduler,
    rng: ChaCha8Rng,
    workers: BTreeMap<WorkerId, Worker>,
    plan: Option<Plan>,
    /// Chance in a thousand that a worker dies in a step.
    deaths: u32,
    cancels: bool,
    /// How many times longer the work is than its spec says.
    underestimate: u64,
}

impl Deref for World {
    type Target = VirtualScheduler;
    fn deref(&self) -> &VirtualScheduler {
        &self.scheduler
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut VirtualScheduler {
        &mut self.scheduler
    }
}

impl World {
    /// Deaths, cancels, a small pool.
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self::bare(seed, 2, true);
        world.submit_mix(None);
        world
    }

    /// Nobody dies, nobody cancels, the pool is wide.
    pub(crate) fn calm(seed: u64) -> Self {
        let mut world = Self::bare(seed, 0, false);
        world.resize(|host| (host.cpu_milli, host.memory_mib) = (1_000_000, 10_000_000));
        world.submit_mix(None);
        world
    }

    /// Every job has a budget that its work may or may not fit.
    pub(crate) fn with_budgets(seed: u64) -> Self {
        let mut world = Self::bare(seed, 2, false);
        world.underestimate = 2;
        world.submit_mix(Some((0.5, 6.0)));
        world
    }

    /// A pool of two CPUs, whose machines nobody takes back, and nothing on it yet.
    pub(crate) fn crowded(seed: u64) -> Self {
        let mut world = Self::bare(seed, 0, false);
        world.resize(|host| host.cpu_milli = 2_000);
        // Reservations do not depend on the time that a plan has.
        world.config.plan_time_limit = Duration::ZERO;
        world
    }

    /// Submits a document and gives the job's number.
    pub(crate) fn submit(&mut self, document: &str) -> JobId {
        let request = Submit {
            submission: parse(document.as_bytes(), Format::Yaml).expect("a valid document"),
            document_hash: String::new(),
            key: None,
            known: None,
            ended_parents: Vec::new(),
            arrays: BTreeMap::new(),
        };
        self.command(Command::Submit(request)).expect("it is accepted");
        JobId(self.state.last_job)
    }

    /// A number of this world's own, from one up to but not with another.
    pub(crate) fn draw(&mut self, numbers: std::ops::Range<u32>) -> u32 {
        self.rng.random_range(numbers)
    }

    /// Another machine behind its pool.
    fn resize(&mut self, change: impl Fn(&mut HostLimits)) {
        for pool in self.scheduler.state.pools.pools.values_mut() {
            pool.limits.host.iter_mut().for_each(&change);
        }
    }

    fn bare(seed: u64, deaths: u32, cancels: bool) -> Self {
        let start: Timestamp = "2026-01-05T00:00:00Z".parse().expect("a fixed time");
        let options = SyntheticOptions {
            turbulence: 3.0,
            zones: ["us-east-1a", "us-east-1c"].map(spotwise_model::id::Zone::new).to_vec(),
            types: ["p3.2xlarge", "g5.12xlarge"]
                .map(spotwise_model::id::InstanceType::new)
                .to_vec(),
            ..SyntheticOptions::new(seed, start)
        };
        let market = synthetic(&options, &Catalog::built_in()).expect("types of the catalogue");
        let market = market.with_commitments(committed(seed, start));
        let config = Config {
            // A round of this world is a minute: longer than any real lease.
            lease: Duration::from_secs(600),
            // A stop takes up to two of its rounds.
            default_grace: Duration::from_secs(120),
            max_live_jobs: 1_000,
            ..Config::default()
        };
        let total = PoolLimit {
            pool: PoolName::new("local"),
            cpu_milli: 16_000,
            memory_mib: 65_536,
            gpus: None,
        };
        let mut scheduler = VirtualScheduler::new(market, config, &total, start);
        scheduler.keep_history = true;
        Self {
            scheduler,
            rng: ChaCha8Rng::seed_from_u64(seed),
            workers: BTreeMap::new(),
            plan: None,
            deaths,
            cancels,
            underestimate: 1,
        }
    }

    /// Jobs of several shapes, lengths and deadlines.
    fn submit_mix(&mut self, budgets: Option<(f64, f64)>) {
        for n in 0..12u32 {
            let hours = self.rng.random_range(1..8u32);
            let slack = self.rng.random_range(15..40u32);
            // A job that waits for another has time for that one too.
            let parent = if n % 6 == 5 { 8 * 60 } else { 0 };
            let deadline = (hours * 60 + 40) * slack / 10 + parent * 4;
            let checkpoint =
                if n % 4 == 3 { "" } else { "checkpoint: {interval: 10m, grace: 2m}\n" };
            let gpus = ["V100:1", "A10G:1", "1"][n as usize % 3];
            let budget = budgets.map_or_else(String::new, |(low, high)| {
                format!("budget_usd: \"{:.2}\"\n", self.rng.random_range(low..high))
            });
            let dependency = if n % 6 == 5 { format!("after: [j{n}]\n") } else { String::new() };
            let document = format!(
                "name: job-{n}\nclass: training\ncommand: [train]\n\
                 resources: {{gpus: \"{gpus}\", cpus: 1, memory: 1GB}}\n\
                 work: {{duration: {hours}h}}\ndeadline: {deadline}m\nretries: {{errors: 3}}\n\
                 tags: {{Team: t{}}}\n{checkpoint}{budget}{dependency}",
                n % 3
            );
            self.submit(&document);
        }
    }

    pub(crate) fn run_to_the_end(&mut self) {
        self.run_steps(MOST_STEPS);
    }

    /// Runs until every job is over, or for so many rounds.
    pub(crate) fn run_steps(&mut self, steps: u32) {
        for _ in 0..steps {
            self.step();
            let open = self.committed.jobs.values().any(|job| !job.state.is_terminal());
            if !open && self.state.instances.is_empty() {
                return;
            }
        }
    }

    fn step(&mut self) {
        self.now = after(self.now, STEP);
        self.let_workers_act();
        if self.cancels && self.rng.random_ratio(1, 400) {
            let open: Vec<JobId> = self.state.jobs.keys().copied().collect();
            if !open.is_empty() {
                let job = open[self.rng.random_range(0..open.len())];
                self.command(Command::Cancel { job, group: false });
            }
        }
        let plan = self.plan.take();
        self.round(plan);
        self.check_step();
        self.state.forget_settled();
        let (plan, report) = spotwise_solver::plan(&self.plan_input());
        assert!(report.checked, "the solver's own audit refused its plan");
        self.plan = Some(plan);
    }

    /// What a client or a worker says; none where it is refused.
    fn command(&mut self, command: Command) -> Option<Reply> {
        self.scheduler.command(command).ok()
    }

    fn let_workers_act(&mut self) {
        self.start_workers();
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            if self.deaths > 0 && self.rng.random_ratio(self.deaths, 1_000) {
                self.workers.remove(&id);
                self.command(Command::WorkerGone { worker: id });
                continue;
            }
            self.act(id);
        }
    }

    fn start_workers(&mut self) {
        let now = self.now;
        let state = &self.scheduler.state;
        let attempts = state.attempts.values();
        let launching = attempts.filter(|a| matches!(a.state, AttemptState::Launching { .. }));
        for attempt in launching {
            let job = &state.jobs[&attempt.id.job];
            let whole = job.spec.longest_expected_duration().as_secs() * self.underestimate;
            let done = attempt.restore.and_then(|c| c.progress.step).unwrap_or(0);
            for rank in 0..u32::try_from(attempt.nodes.len()).expect("a small gang") {
                let worker = WorkerId { attempt: attempt.id, rank };
                self.workers.entry(worker).or_insert_with(|| Worker {
                    boots_until: after(now, BOOT),
                    done,
                    whole,
                    saved_at: now,
                    sequence: 0,
                    running: false,
                });
            }
        }
    }

    fn act(&mut self, id: WorkerId) {
        let now = self.now;
        let worker = self.workers.get_mut(&id).expect("it is listed");
        if now < worker.boots_until {
            return;
        }
        if !worker.running {
            worker.running = true;
            let register = Command::Register {
                worker: id,
                handle: "1".to_owned(),
                address: String::new(),
                key: spotwise_control::command::WorkerKey::of_start("own"),
            };
            let Some(Reply::Assigned(Some(assigned))) = self.command(register) else {
                self.workers.remove(&id);
                return;
            };
            let restored = assigned.restore.map(Into::into);
            self.command(Command::Started { worker: id, restored, rejected_checkpoints: 0 });
            return;
        }
        worker.done = (worker.done + STEP.as_secs()).min(worker.whole);
        let step = (worker.done, worker.whole);
        let Some(reply) =
            self.command(Command::Heartbeat { worker: id, step: Some(step), memory: None })
        else {
            self.workers.remove(&id);
            return;
        };
        let Reply::Orders(orders) = reply else { panic!("a heartbeat is answered by orders") };
        self.obey(id, step, orders);
    }

    fn obey(&mut self, id: WorkerId, step: (u64, u64), orders: Orders) {
        let saves = self.state.jobs[&id.attempt.job].spec.checkpoint.is_some();
        let leaving = orders.reclaim_in.is_some() || orders.stop.is_some();
        let now = self.now;
        let worker = self.workers.get_mut(&id).expect("it acts");
        let due = between(worker.saved_at, now) >= Duration::from_secs(600);
        if saves && (due || leaving) {
            worker.sequence += 1;
            worker.saved_at = now;
            let sequence = worker.sequence;
            self.command(Command::Checkpointed {
                worker: id,
                sequence,
                bytes: 1,
                step: Some(step),
            });
        }
        let (code, told) = match (step.0 == step.1, leaving, saves) {
            (true, ..) => (0, Told::Nothing),
            (false, true, true) => (75, Told::Stop),
            (false, true, false) => (143, Told::Stop),
            _ => return,
        };
        let (exit, step) = (Exit::Code(code), Some(step));
        self.command(Command::Exited { worker: id, exit, told, step });
        self.workers.remove(&id);
    }

    /// What must hold after every round.
    fn check_step(&self) {
        let mut live: BTreeMap<JobId, u32> = BTreeMap::new();
        for attempt in self.state.attempts.values().filter(|a| a.state.is_live()) {
            *live.entry(attempt.id.job).or_default() += 1;
            for id in &attempt.instances {
                assert!(self.state.instances.contains_key(id), "{} has no machine", attempt.id);
            }
        }
        assert!(live.values().all(|n| *n == 1), "two live attempts of one job: {live:?}");
        for job in self.state.jobs.values() {
            let active = matches!(job.state, JobState::Active { .. });
            assert_eq!(active, live.contains_key(&job.id), "{} is {}", job.id, job.state.name());
            assert!(job.progress.done_ppm <= Progress::WHOLE);
        }
        for instance in self.state.instances.values().filter(|i| !i.ended()) {
            let mut free = spotwise_model::resources::Free::new(&instance.shape);
            for attempt in self.state.attempts_on(instance.id).filter(|a| a.state.is_live()) {
                let rank = attempt.instances.iter().position(|id| *id == instance.id);
                let slot = rank.and_then(|rank| attempt.slots.get(rank)).copied();
                assert!(free.take_at(&attempt.share, slot), "{} is overfilled", instance.id);
            }
            assert!(
                self.state.attempts_on(instance.id).any(|a| a.state.is_live())
                    || !matches!(instance.state, InstanceState::Registered { .. }),
                "{} is paid for and nobody uses it",
                instance.id
            );
        }
    }
}

/// In every third world: one that is there from the start and ends while jobs run,
/// and one that begins before that.
fn committed(seed: u64, start: Timestamp) -> Vec<Commitment> {
    if !seed.is_multiple_of(3) {
        return Vec::new();
    }
    let one = |name: &str, machines, (from, until): (u64, u64)| Commitment {
        name: name.to_owned(),
        instance_type: InstanceType::new("p3.2xlarge"),
        zone: Zone::new("us-east-1a"),
        machines,
        price: Price::from_micros_per_hour(1_920_000 + i64::from(machines)),
        from: after(start, Duration::from_secs(from * 3_600)),
        until: after(start, Duration::from_secs(until * 3_600)),
    };
    vec![one("first", 1, (0, 9)), one("second", 2, (5, 30))]
}
