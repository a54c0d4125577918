//! A cloud's account, where machines have lives of their own: the product's simulated cloud,
//! called over a network that is none too good, and its meter, which the books must equal.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_control::{Command, MachineRefusal};
use spotwise_market::Catalog;
use spotwise_model::id::{Account as AccountName, InstanceType, PoolName, ProviderId, Region};
use spotwise_model::pool::{HostLimits, PoolKind, Quota};
use spotwise_model::{
    CapacityType, InstanceId, InstanceState, MarketKey, Money, OfferKey, Pool, PoolSet,
};
use spotwise_simulated_cloud::{
    Behaviour, CloudError, CloudEvent, CloudMarket, CloudSpec, Delivery, ErrorClass, Fault,
    ForeignTenant, GoneToken, Happening, LaunchRequest, QuotaSpec, SimulatedCloud, Spread,
};

use super::events::{Caller, Event};
use super::node::Leader;
use super::scenario::Scenario;
use super::sim::Sim;
use super::simulated_market::SimulatedMarket;
use super::time::{self, MINUTE, Ms, SECOND};

/// Our mark in the account.
const INSTALL: &str = "ours";
/// The two pools that share it.
const POOLS: [&str; 2] = ["cloud-a", "cloud-b"];
const REGION: &str = "us-east-1";
/// How often a pool is listed: where machines move, where there are some, and where none is.
/// Less often than the product, as a month passes in seconds here.
const LISTED_BUSY: Ms = 15 * SECOND;
const LISTED_QUIET: Ms = 5 * MINUTE;
/// Longer than this no machine is without a reason, where somebody leads and the pool is
/// reached: the reaper's period and the consistency window together.
const ORPHAN_BOUND: Ms = 10 * MINUTE;

/// The account, and what the simulator knows of it.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) cloud: SimulatedCloud,
    /// The next tick of its clock that is on the heap.
    ticks_at: Option<Ms>,
    /// When each pool was listed last.
    listed: BTreeMap<PoolName, Ms>,
    /// Machines that were there when an older store came back: what happened to them before
    /// is in no book any more.
    half_known: Vec<ProviderId>,
    /// Since when each machine has had no reason to be.
    unreasoned: BTreeMap<ProviderId, Ms>,
}

/// What is sold there: the same prices as everywhere in this world.
#[derive(Debug)]
struct SoldHere(SimulatedMarket);

impl CloudMarket for SoldHere {
    fn available(&self, market: &MarketKey, at: Timestamp) -> u32 {
        match market.capacity_type {
            CapacityType::Spot => {
                self.0.market.machines(&market.zone, &market.instance_type, at).unwrap_or(0)
            }
            CapacityType::OnDemand | CapacityType::Reserved => 1_000,
        }
    }

    fn next_change(&self, _: &MarketKey, after: Timestamp) -> Option<Timestamp> {
        self.0.market.next_change(after)
    }

    fn charge(&self, market: &MarketKey, from: Timestamp, to: Timestamp) -> Money {
        let offer = OfferKey { pool: PoolName::new("meter"), market: market.clone() };
        Money::from_micros(self.0.bill(&offer, from.as_second(), to.as_second()))
    }
}

/// The pools of a world, and the account of two of them; in every second world there is
/// none.
pub(crate) fn open(
    scenario: &Scenario,
    place: &SimulatedMarket,
    mut local: Pool,
    start: Timestamp,
) -> (PoolSet, Option<Account>) {
    if !scenario.has_cloud() {
        return (PoolSet::of([local]), None);
    }
    // Dice of its own: what else happens in this world does not depend on them.
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed ^ 0xc10d);
    let name = AccountName::new("4711");
    let quotas = quotas(&mut rng);
    let behaviour = behaviour(scenario, &mut rng, &name);
    let pools = POOLS.map(|pool| cloud_pool(pool, &name, &local, &behaviour));
    let catalog = Catalog::built_in();
    let vcpus = ["p3.2xlarge", "g4dn.12xlarge", "p4d.24xlarge"].map(InstanceType::new);
    let vcpus = vcpus.map(|name| {
        let machine = catalog.machine_type(&name).expect("it is in the catalogue");
        let vcpus = spotwise_model::pool::vcpus(&machine.shape);
        (name, vcpus)
    });
    let spec = CloudSpec {
        account: name.clone(),
        region: Region::new(REGION),
        vcpus: vcpus.into(),
        quotas: quotas
            .iter()
            .map(|(family, prefix, capacity_type, vcpus)| QuotaSpec {
                family: (*family).to_owned(),
                prefixes: vec![(*prefix).to_owned()],
                capacity_type: *capacity_type,
                vcpus: *vcpus,
            })
            .collect(),
        buckets: Default::default(),
        billing: Default::default(),
        behaviour,
    };
    let market = Arc::new(SoldHere(place.clone()));
    let cloud = SimulatedCloud::new(spec, market, scenario.seed, start);
    // The rest of the world's zones stay with the pool of slots.
    local.sells.region = Some(Region::new("us-west-2"));
    let mut set = PoolSet::of(pools.into_iter().chain([local]));
    set.quotas = quotas
        .into_iter()
        .map(|(family, prefix, capacity_type, vcpus)| Quota {
            account: name.clone(),
            region: Region::new(REGION),
            family: family.to_owned(),
            types: [InstanceType::new(prefix)].into(),
            capacity_type,
            vcpus,
        })
        .collect();
    let account = Account {
        cloud,
        ticks_at: None,
        listed: BTreeMap::new(),
        half_known: Vec::new(),
        unreasoned: BTreeMap::new(),
    };
    (set, Some(account))
}

type QuotaRow = (&'static str, &'static str, CapacityType, u64);

fn quotas(rng: &mut ChaCha8Rng) -> Vec<QuotaRow> {
    // A p3.2xlarge has 8, the others 48 and 96.
    let mut some = |least: u64, step: u64| least + step * rng.random_range(0..4);
    vec![
        ("P", "p", CapacityType::Spot, some(96, 64)),
        ("P", "p", CapacityType::OnDemand, some(96, 64)),
        ("G and VT", "g", CapacityType::Spot, some(48, 48)),
        ("G and VT", "g", CapacityType::OnDemand, some(96, 48)),
    ]
}

fn behaviour(scenario: &Scenario, rng: &mut ChaCha8Rng, account: &AccountName) -> Behaviour {
    let stormy = !scenario.kinds.is_empty();
    let mut behaviour = if stormy { Behaviour::rough() } else { Behaviour::default() };
    // As with the other kinds of fault, not every world has each.
    behaviour.chances.retain(|_, _| rng.random_range(0..3) > 0);
    if rng.random_range(0..2) == 0 {
        behaviour.gone_token = GoneToken::Refused;
    }
    behaviour.page_size = [2, 5, 100][rng.random_range(0..3)];
    if stormy && rng.random_range(0..2) == 0 {
        let zones = ["us-east-1a", "us-east-1c"];
        let market = |zone: &str| {
            let (zone, kind) =
                (spotwise_model::id::Zone::new(zone), InstanceType::new("p3.2xlarge"));
            let market = MarketKey::recorded(zone, kind, CapacityType::Spot);
            MarketKey { account: account.clone(), ..market }
        };
        behaviour.foreign_tenant = Some(ForeignTenant {
            every: Spread::seconds(3_600, 14_400, 86_400),
            keeps: Spread::seconds(600, 7_200, 43_200),
            markets: zones.map(market).to_vec(),
            install: "theirs".to_owned(),
            pool: PoolName::new(POOLS[0]),
        });
    }
    behaviour
}

fn cloud_pool(name: &str, account: &AccountName, local: &Pool, behaviour: &Behaviour) -> Pool {
    let host = HostLimits { cpu_milli: 0, memory_mib: 0, gpus: None };
    let start = local.times.start;
    let mut pool = Pool::of_host(PoolName::new(name), PoolKind::Simulated, host, start);
    pool.account = account.clone();
    pool.sells.region = Some(Region::new(REGION));
    pool.limits.host = None;
    pool.limits.machines = (name == POOLS[1]).then_some(3);
    pool.times.boot = time::span(90 * SECOND);
    pool.times.launch_timeout = time::span(5 * MINUTE);
    pool.times.registration_timeout = time::span(15 * MINUTE);
    pool.times.start_timeout = time::span(4 * MINUTE);
    pool.times.termination = time::span(MINUTE);
    pool.times.consistency = behaviour.consistency_window;
    pool.times.keep = time::span(10 * MINUTE);
    pool.features.instant = false;
    pool.features.reclaims_by_market = false;
    pool.features.notice_lead = behaviour.notice_lead;
    pool
}

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
        let market = match instance.offer.market.capacity_type {
            CapacityType::Reserved => {
                instance.offer.market.with_capacity_type(CapacityType::OnDemand)
            }
            _ => instance.offer.market.clone(),
        };
        let request = LaunchRequest {
            token,
            install: INSTALL.to_owned(),
            pool: instance.offer.pool.clone(),
            instance: machine,
            market,
        };
        let incarnation = self.nodes[node].incarnation;
        let span = self.rng.random_range(5..300);
        self.later(span, Event::LaunchMachine(node, incarnation, Box::new(request)));
    }

    /// It arrives, and its answer sets out.
    pub(crate) fn launch_machine(&mut self, node: usize, incarnation: u64, asked: &LaunchRequest) {
        let now = time::at(self.start, self.now);
        let Some(account) = &mut self.account else { return };
        let call = account.cloud.launch(asked, now);
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
        let moves = leader.state.instances.values().any(|machine| {
            machine.offer.pool == *name
                && matches!(
                    machine.state,
                    InstanceState::Requested { .. }
                        | InstanceState::Booting { .. }
                        | InstanceState::Terminating { .. }
                        | InstanceState::Noticed { .. }
                )
        });
        let every = if moves { LISTED_BUSY } else { LISTED_QUIET };
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

    /// No machine of ours is without a reason for long.
    fn check_reasons(&mut self) {
        let (now, led) = (self.now, self.is_led());
        let Some(account) = &mut self.account else { return };
        let tables = &self.store.tables;
        let reasons: BTreeMap<&ProviderId, bool> = tables
            .instances
            .values()
            .filter_map(|it| Some((it.provider.as_ref()?, !it.ends())))
            .collect();
        let asked: std::collections::BTreeSet<&str> = tables
            .instances
            .values()
            .filter(|it| matches!(it.state, InstanceState::Requested { .. }))
            .filter_map(|it| it.token.as_deref())
            .collect();
        let mut worst = 0;
        for machine in account.cloud.machines() {
            let ours = machine.mark.as_ref().filter(|mark| mark.install == INSTALL);
            let Some(mark) = ours.filter(|_| machine.stopped.is_none()) else {
                account.unreasoned.remove(&machine.id);
                continue;
            };
            let wanted = reasons.get(&machine.id).copied().unwrap_or(false)
                || asked.contains(mark.token.as_str());
            // Nobody can end what nobody reaches, and what is told to end may be slow to.
            if wanted || !led {
                account.unreasoned.remove(&machine.id);
                continue;
            }
            let since = *account.unreasoned.entry(machine.id.clone()).or_insert(now);
            worst = worst.max(now - since);
        }
        self.tally.longest_unreasoned = self.tally.longest_unreasoned.max(worst);
    }

    /// The books against the account's own meter, and the account's own judgement.
    pub(crate) fn check_account(&mut self, booked: &mut BTreeMap<InstanceId, i64>) {
        let now = time::at(self.start, self.now);
        let Some(account) = &self.account else { return };
        let mut broken: Vec<String> = account
            .cloud
            .violations()
            .iter()
            .map(|violation| format!("the account complains: {violation:?}"))
            .collect();
        let mut by_name: BTreeMap<&ProviderId, Vec<&spotwise_model::Instance>> = BTreeMap::new();
        for instance in self.store.tables.instances.values().filter(|it| is_cloud(&it.offer)) {
            match &instance.provider {
                Some(name) => by_name.entry(name).or_default().push(instance),
                None if booked.get(&instance.id).is_some_and(|sum| *sum != 0) => {
                    broken.push(format!("{} never was, and is booked", instance.id));
                }
                None => drop(booked.remove(&instance.id)),
            }
        }
        let (mut charged, mut over, mut under) = (0, 0, 0);
        for line in account.cloud.meter(now) {
            if line.mark.as_ref().is_none_or(|mark| mark.install != INSTALL) {
                continue;
            }
            if line.ended_by.is_none() {
                broken.push(format!("{} runs for ever", line.machine));
            }
            let rows = by_name.remove(&line.machine).unwrap_or_default();
            let paid: i64 = rows.iter().filter_map(|row| booked.remove(&row.id)).sum();
            if account.half_known.contains(&line.machine) {
                continue;
            }
            let covered = rows.iter().find(|row| row.coverage.iter().any(|it| it.pays()));
            let owed = match covered {
                Some(row) => {
                    let (from, to) = (line.from.as_second(), line.to.as_second());
                    let to = account
                        .cloud
                        .machine(&line.machine)
                        .and_then(|it| it.stopped)
                        .map_or(to, |stop| stop.at.as_second());
                    self.simulated_market.bill_with(&row.offer, &row.coverage, from, to)
                }
                None => line.amount.micros(),
            };
            charged += owed;
            over += (paid - owed).max(0);
            under += (owed - paid).max(0);
            if paid != owed {
                broken.push(format!(
                    "{} ({:?}): booked {paid}, metered {owed}",
                    line.machine,
                    rows.iter().map(|row| row.id).collect::<Vec<_>>()
                ));
            }
        }
        for (name, rows) in by_name {
            for row in rows {
                if booked.remove(&row.id).is_some_and(|sum| sum != 0) {
                    broken.push(format!("{name} is no machine, and is booked"));
                }
            }
        }
        if self.tally.longest_unreasoned > ORPHAN_BOUND {
            let seconds = self.tally.longest_unreasoned / SECOND;
            broken.push(format!("a machine was without a reason for {seconds} s"));
        }
        for fault in Fault::ALL {
            let times = account.cloud.fired(fault);
            for _ in 0..times.min(1) {
                self.fired.note(cloud_fault(fault));
            }
        }
        self.tally.charged += charged;
        self.tally.overcharged += over;
        self.tally.uncharged += under;
        for what in broken {
            self.fail(what);
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

/// Whether an offer is of the account.
pub(crate) fn is_cloud(offer: &OfferKey) -> bool {
    POOLS.contains(&offer.pool.as_str())
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

/// A fault's name in the table of what has fired.
pub(crate) const fn cloud_fault(fault: Fault) -> &'static str {
    match fault {
        Fault::LaunchNeverArrived => "cloud_launch_never_arrived",
        Fault::LaunchAnswerLost => "cloud_launch_answer_lost",
        Fault::TerminateNeverArrived => "cloud_terminate_never_arrived",
        Fault::TerminateAnswerLost => "cloud_terminate_answer_lost",
        Fault::AnswerLate => "cloud_answer_late",
        Fault::ThrottleBurst => "cloud_throttle_burst",
        Fault::NoCapacity => "cloud_no_capacity",
        Fault::PartialCapacity => "cloud_partial_capacity",
        Fault::NeverRegisters => "cloud_never_registers",
        Fault::RegistersLate => "cloud_registers_late",
        Fault::SlowTerminate => "cloud_slow_terminate",
        Fault::NotFoundYet => "cloud_not_found_yet",
        Fault::PageError => "cloud_page_error",
        Fault::StaleListing => "cloud_stale_listing",
        Fault::PoolUnreachable => "cloud_pool_unreachable",
        Fault::CredentialsExpired => "cloud_credentials_expired",
        Fault::QuotaCut => "cloud_quota_cut",
        Fault::Interruption => "cloud_interruption",
        Fault::NoticeMissing => "cloud_notice_missing",
        Fault::NoticeTwice => "cloud_notice_twice",
        Fault::RebalanceOnly => "cloud_rebalance_only",
        Fault::Retirement => "cloud_retirement",
        Fault::ForeignMachine => "cloud_foreign_machine",
    }
}
