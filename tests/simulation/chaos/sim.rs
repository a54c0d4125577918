//! One seeded world: an event heap ordered by time and sequence, and everything
//! that lives on it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_control::{Command, Config};
use spotwise_model::id::PoolName;
use spotwise_model::pool::{HostLimits, PoolKind};
use spotwise_model::{Pool, PoolSet};

use super::account::{self, Account};
use super::clients::Client;
use super::cloud::Cloud;
use super::events::{Caller, Event, Request};
use super::faults::{FaultCounters, Kind};
use super::feed::Feed;
use super::node::Node;
use super::oracle::Tally;
use super::scenario::Scenario;
use super::simulated_market::SimulatedMarket;
use super::store::Store;
use super::time::{self, DAY, Ms, SECOND};

/// Time after the last fault in which everything has to come to an end.
const CALM: Ms = 12 * DAY;
/// Lines of a trace that are kept.
const TRACE_LINES: usize = 400;

pub(crate) struct Sim {
    pub(crate) scenario: Scenario,
    pub(crate) start: Timestamp,
    pub(crate) now: Ms,
    pub(crate) rng: ChaCha8Rng,
    heap: BTreeMap<(Ms, u64), Event>,
    sequence: u64,
    pub(crate) simulated_market: SimulatedMarket,
    pub(crate) config: Config,
    pub(crate) pools: PoolSet,
    pub(crate) account: Option<Account>,
    pub(crate) store: Store,
    pub(crate) store_away: bool,
    pub(crate) nodes: Vec<Node>,
    /// Who holds the lease, and until when; none while it is being renewed.
    pub(crate) holder: Option<usize>,
    pub(crate) expires: Option<Ms>,
    /// A fault waits for the next round of the leader that writes.
    pub(crate) armed: Option<Kind>,
    pub(crate) cloud: Cloud,
    pub(crate) feed: Feed,
    pub(crate) clients: Vec<Client>,
    pub(crate) fired: FaultCounters,
    pub(crate) tally: Tally,
    pub(crate) failure: Option<String>,
    pub(crate) trace: Option<VecDeque<String>>,
    /// Whether the whole trace is kept: `TRACE=2`.
    pub(crate) keeps_all: bool,
    requests: u64,
    /// Fits its own forecasts: slow, so that few worlds do.
    pub(crate) fits_forecasts: bool,
}

impl Sim {
    pub(crate) fn new(scenario: Scenario, tracing: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        let starts = ["2026-01-05T00:00:00Z", "2028-02-27T03:00:00Z", "2026-03-06T22:00:00Z"];
        let start: Timestamp =
            starts[rng.random_range(0..starts.len())].parse().expect("a fixed time");
        let span = scenario.days * DAY + CALM;
        let simulated_market = SimulatedMarket::invented(&mut rng, start, &scenario, span);
        let mut config = Config {
            lease: Duration::from_secs([90, 300, 300, 300][rng.random_range(0..4)]),
            // Decisions are a function of the world, not of this machine's speed.
            plan_time_limit: Duration::from_secs(3_600),
            max_live_jobs: 10_000,
            ..Config::default()
        };
        if scenario.kinds.contains(&Kind::ShortNotice) {
            config.notice_lead = Duration::from_secs(rng.random_range(8..30));
        }
        let host = HostLimits {
            cpu_milli: [16_000, 64_000][rng.random_range(0..2)],
            memory_mib: 1_000_000,
            gpus: None,
        };
        let name = PoolName::new("local");
        let mut local = Pool::of_host(name, PoolKind::Local, host, config.policy.changeover);
        local.features.notice_lead = config.notice_lead;
        let (pools, account) = account::open(&scenario, &simulated_market, local, start);
        let nodes = (0..scenario.nodes).map(|_| Node::default()).collect();
        let mut sim = Self {
            start,
            now: 0,
            rng,
            heap: BTreeMap::new(),
            sequence: 0,
            simulated_market,
            config,
            pools,
            account,
            store: Store::default(),
            store_away: false,
            nodes,
            holder: None,
            expires: Some(0),
            armed: None,
            cloud: Cloud::default(),
            feed: Feed::default(),
            clients: Vec::new(),
            fired: FaultCounters::default(),
            tally: Tally::default(),
            failure: None,
            trace: tracing.then(VecDeque::new),
            keeps_all: false,
            requests: 0,
            fits_forecasts: scenario.seed.is_multiple_of(100),
            scenario,
        };
        for node in 0..sim.nodes.len() {
            sim.at(node as Ms, Event::Boot(node));
        }
        sim.enlist_clients();
        if !sim.scenario.kinds.is_empty() {
            let first = sim.rng.random_range(0..2 * time::HOUR);
            sim.at(first, Event::Inject);
        }
        sim
    }

    /// Runs to the end of its faults, and on until everything is over.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let end = self.scenario.days * DAY + CALM;
        while self.failure.is_none() {
            let Some(((at, _), event)) = self.heap.pop_first() else { break };
            if at > end {
                break;
            }
            self.now = at;
            self.happen(event);
            if at > self.scenario.days * DAY && self.is_over() {
                break;
            }
        }
        if self.failure.is_none() {
            self.check_the_end();
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(node, incarnation) => self.tick(node, incarnation),
            Event::Deliver(node, request) => self.deliver(node, request),
            Event::Answer(caller, id, made, response) => match caller {
                Caller::Worker(pid) => self.worker_receives(pid, id, made, &response),
                Caller::Client(client) => self.client_receives(client, id, response),
                Caller::Pool => {}
            },
            Event::Wake(pid, number) => self.wake_worker(pid, number),
            Event::Client(client) => self.client_acts(client),
            Event::Launch(node, incarnation, worker) => self.launch(node, incarnation, worker),
            Event::LaunchMachine(node, incarnation, asked) => {
                self.account_ticks();
                self.launch_machine(node, incarnation, &asked);
            }
            Event::TerminateMachine(node, incarnation, machine) => {
                self.account_ticks();
                self.terminate_machine(node, incarnation, machine);
            }
            Event::ListPool(node, incarnation, pool) => {
                self.account_ticks();
                self.list_pool(node, incarnation, &pool);
            }
            Event::Told(node, incarnation, command) => self.tell(node, incarnation, command),
            Event::AccountTicks => self.account_ticks(),
            Event::Kill(attempt) => self.kill(attempt),
            Event::MachineGone(machine) => self.machine_gone(machine),
            Event::Campaign(node) => self.campaign(node),
            Event::Boot(node) => self.boot(node),
            Event::Resume(node, incarnation) => self.resume(node, incarnation),
            Event::StoreBack => self.store_back(),
            Event::RenewalsBack(node) => self.renew(node),
            Event::Inject => self.inject(),
            Event::MoneyEnds(attempt) => self.away_at_the_end(attempt),
            Event::Restore(backup) => self.restore(*backup),
        }
    }

    /// Whether faults still happen.
    pub(crate) fn is_stormy(&self) -> bool {
        self.now < self.scenario.days * DAY
    }

    /// Whether a fault of this kind happens now, one time in `odds`.
    pub(crate) fn strikes(&mut self, kind: Kind, odds: u32) -> bool {
        let strikes = self.is_stormy()
            && self.scenario.kinds.contains(&kind)
            && self.rng.random_range(0..odds) == 0;
        if strikes {
            self.note(kind);
        }
        strikes
    }

    pub(crate) fn note(&mut self, kind: Kind) {
        self.fired.note(kind.name());
        self.log(|| format!("FAULT {kind}"));
    }

    pub(crate) fn at(&mut self, at: Ms, event: Event) {
        self.sequence += 1;
        self.heap.insert((at.max(self.now), self.sequence), event);
    }

    pub(crate) fn later(&mut self, span: Ms, event: Event) {
        self.at(self.now.saturating_add(span), event);
    }

    /// Sends a command to a scheduler. Answers its number.
    pub(crate) fn send(&mut self, node: usize, caller: Caller, command: Command) -> u64 {
        let id = self.next_request();
        let request = Request { id, caller, made: self.now, command };
        let latency = self.rng.random_range(1..40);
        self.later(latency, Event::Deliver(node % self.nodes.len(), request));
        id
    }

    pub(crate) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    pub(crate) fn log(&mut self, what: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        let at = time::at(self.start, self.now);
        trace.push_back(format!("{at} {}", what()));
        if trace.len() > TRACE_LINES && !self.keeps_all {
            trace.pop_front();
        }
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.log(|| format!("BROKEN {what}"));
        self.failure.get_or_insert(what);
    }

    /// The cloud's own time.
    pub(crate) fn cloud_time(&self) -> Timestamp {
        time::at(self.start, self.now / SECOND * SECOND)
    }
}
