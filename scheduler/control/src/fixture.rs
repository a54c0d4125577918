//! Small states for tests, of this crate and its neighbours.

pub mod spot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::{AttemptState, NodeReport, Progress};
use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::job::DeadlineSource;
use spotwise_model::plan::{PlacementReason, PlacementRule, PolicyCost};
use spotwise_model::pool::{HostLimits, PoolKind};
use spotwise_model::spec::{Format, Work, parse};
use spotwise_model::{
    Attempt, AttemptId, CapacityType, Instance, InstanceId, InstanceState, Job, JobId, Money,
    NodeShape, Now, OfferKey, Pool, PoolSet, Price, Share,
};

use crate::core::{Change, State};
use spotwise_market::Market;

const HOUR: i64 = 3_600;

/// Hours after a fixed time.
pub fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 / HOUR * HOUR + hour * HOUR).unwrap()
}

/// Both times at that hour.
pub fn now(hour: i64) -> Now {
    Now { market: at(hour), wall: at(hour) }
}

/// A waiting job of one hour.
pub fn job(id: u64, class: &str) -> Job {
    let text = format!("name: x\ncommand: [x]\nclass: {class}\nwork: {{duration: 1h}}\n");
    let spec = parse(text.as_bytes(), Format::Yaml).unwrap().jobs.remove(0);
    let spec = spec.into();
    Job {
        deadline_source: DeadlineSource::Derived,
        attempts: 1,
        ..Job::new(JobId(id), spec, at(0), at(99))
    }
}

/// A waiting job of two hours, due at this hour, behind these.
pub fn chained(id: u64, due: i64, after: &[u64]) -> Job {
    let mut job = job(id, "training");
    let two_hours = Some(Duration::from_secs(7_200));
    Arc::make_mut(&mut job.spec).work =
        Work::Duration { default: two_hours, by_accelerator: BTreeMap::new() };
    job.deadline = at(due);
    job.after = after.iter().copied().map(JobId).collect();
    job
}

/// A live machine of eight CPUs.
pub fn machine(id: u64, zone: &str, capacity_type: CapacityType) -> Instance {
    Instance {
        id: InstanceId(id),
        offer: OfferKey::recorded(
            PoolName::new("local"),
            Zone::new(zone),
            InstanceType::new("m"),
            capacity_type,
        ),
        shape: NodeShape { cpu_milli: 8_000, ..NodeShape::default() },
        launch_price: Price::from_micros_per_hour(300_000),
        on_demand: Price::from_micros_per_hour(1_000_000),
        state: InstanceState::Registered { since: at(0) },
        coverage: Vec::new(),
        provider: None,
        token: None,
    }
}

/// On that many of the eight CPUs of each machine.
pub fn attempt(job: u64, machines: &[&Instance], cpus: u64, state: AttemptState) -> Attempt {
    Attempt {
        id: AttemptId { job: JobId(job), number: 1 },
        instances: machines.iter().map(|machine| machine.id).collect(),
        nodes: vec![NodeReport::default(); machines.len()],
        offer: machines[0].offer.clone(),
        share: Share { cpu_milli: cpus * 1_000, ..Share::default() },
        slots: Vec::new(),
        restore: None,
        why: PlacementReason {
            rule: PlacementRule::Cheapest,
            expected_cost: Money::ZERO,
            finish: at(9),
            slack: Duration::ZERO,
            policy_cost: PolicyCost::default(),
            transfer: Money::ZERO,
            alternatives: Vec::new(),
        },
        hold: Money::ZERO,
        state,
        stop: None,
        cutoff: None,
        progress: Progress::default(),
        checkpoint: None,
    }
}

/// A pool of slots with more room than anybody asks for.
pub fn local_pool() -> Pool {
    let host = HostLimits { cpu_milli: u64::MAX / 2, memory_mib: u64::MAX / 2, gpus: None };
    Pool::of_host(PoolName::new("local"), PoolKind::Local, host, Duration::ZERO)
}

/// A pool whose machines take their time: two minutes to boot, fifteen at most.
pub fn cloud_pool(name: &str) -> Pool {
    let mut pool = Pool { name: PoolName::new(name), ..local_pool() };
    pool.limits.host = None;
    pool.times.boot = Duration::from_secs(120);
    pool.times.launch_timeout = Duration::from_secs(300);
    pool.times.registration_timeout = Duration::from_secs(900);
    pool.times.termination = Duration::from_secs(60);
    pool.times.consistency = Duration::from_secs(60);
    pool.features.instant = false;
    pool.features.reclaims_by_market = false;
    pool
}

/// The state of one local pool that results from these changes.
pub fn state_of(changes: Vec<Change>) -> State {
    let mut state = State { pools: PoolSet::of([local_pool()]), ..State::default() };
    for mut change in changes {
        state.apply(&mut change);
    }
    state
}

/// All prices of a market are heard, for a year from its start.
pub fn hear(state: &mut State, market: &Market) {
    let year = spotwise_model::time::after(market.start(), Duration::from_secs(366 * 86_400));
    state.prices.hear(market.prices_since(Some(market.start()), true, year), year);
}
