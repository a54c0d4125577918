//! Pools: where capacity comes from, and what is true of it. Nothing anywhere depends on a
//! pool's name or kind, only on these facts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Account, InstanceType, PoolName, Region, Zone};
use crate::limit::LimitKey;
use crate::money::Price;
use crate::offer::{CapacityType, MarketKey};
use crate::resources::NodeShape;
use crate::spec::{Class, JobSpec};

/// Who gives machines and starts workers on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    /// Processes on this machine.
    Local,
    /// Workers that somebody else starts.
    External,
    /// A simulated cloud; its workers are processes on this machine.
    Simulated,
}

impl PoolKind {
    /// Its name in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::External => "external",
            Self::Simulated => "simulated",
        }
    }
}

/// What a pool's provider says of the spot machines that it has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupplyShown {
    /// How many there are, as recordings do.
    #[default]
    Counted,
    /// Nothing, as EC2: what there is shows in our own launches and machines alone.
    Unknown,
}

impl SupplyShown {
    /// Its name in files and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Unknown => "unknown",
        }
    }
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Who gives machines.
    pub kind: PoolKind,
    /// The account that is billed.
    pub account: Account,
    /// What it buys.
    pub sells: PoolMarkets,
    /// Whether the spot machines that are left are counted; pools of one account agree.
    #[serde(default)]
    pub supply: SupplyShown,
    /// What its machines may add up to.
    pub limits: PoolLimits,
    /// Who may use it.
    pub access: PoolAccess,
    /// How long its provider takes.
    pub times: PoolTimes,
    /// What it can do.
    pub features: PoolFeatures,
    /// Whether it is gone from the operator's file: no new work, and it is forgotten when
    /// its last machine is settled.
    #[serde(default)]
    pub leaving: bool,
}

/// The markets that a pool buys on; an empty set means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolMarkets {
    /// Its region; `None` for every region of its market.
    pub region: Option<Region>,
    /// Zones.
    pub zones: BTreeSet<Zone>,
    /// Machine types, or families: `g4dn.` stands for all that begin so.
    pub types: BTreeSet<InstanceType>,
    /// Spot, on-demand, reserved.
    pub capacity_types: BTreeSet<CapacityType>,
}

impl PoolMarkets {
    /// Whether a market is among them; its account is the pool's.
    pub fn has(&self, market: &MarketKey) -> bool {
        self.region.as_ref().is_none_or(|region| *region == market.region)
            && (self.zones.is_empty() || self.zones.contains(&market.zone))
            && (self.types.is_empty()
                || self.types.iter().any(|wanted| is_of_type(wanted, &market.instance_type)))
            && (self.capacity_types.is_empty()
                || self.capacity_types.contains(&market.capacity_type))
    }
}

/// Whether a type is the wanted one, or of the wanted family.
fn is_of_type(wanted: &InstanceType, name: &InstanceType) -> bool {
    match wanted.as_str().ends_with('.') {
        true => name.as_str().starts_with(wanted.as_str()),
        false => wanted == name,
    }
}

/// What the machines of a pool may add up to; `None` for no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolLimits {
    /// Machines open at once.
    pub machines: Option<u32>,
    /// GPUs of open machines.
    pub gpus: Option<u32>,
    /// What open machines cost an hour together.
    pub price_per_hour: Option<Price>,
    /// The real machine behind borrowed names, where there is one.
    pub host: Option<HostLimits>,
    /// Calls to its provider.
    pub calls: CallRate,
}

/// How often a provider may be called: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRate {
    /// Calls at once.
    pub burst: u32,
    /// Calls a second in the long run (wall time).
    pub per_second: u32,
}

/// Half of what EC2 allows `RunInstances` to an account at once and per second.
impl Default for CallRate {
    fn default() -> Self {
        Self { burst: 20, per_second: 2 }
    }
}

/// What a real machine has for all the slots on it together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLimits {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// MiB of memory.
    pub memory_mib: u64,
    /// Real GPUs; `None` if accelerators are simulated.
    pub gpus: Option<u32>,
}

/// Who may use a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolAccess {
    /// Classes of jobs; empty for all.
    pub classes: BTreeSet<Class>,
    /// Tags that a job must have, with one of these values each.
    pub tags: BTreeMap<String, BTreeSet<String>>,
}

impl PoolAccess {
    /// Whether a job may use it.
    pub fn admits(&self, spec: &JobSpec) -> bool {
        let has = |(tag, values): (&String, &BTreeSet<String>)| {
            spec.tags.get(tag).is_some_and(|value| values.contains(value))
        };
        (self.classes.is_empty() || self.classes.contains(&spec.class)) && self.tags.iter().all(has)
    }
}

/// How long a pool's provider takes. Market time where machines are concerned: a replay is
/// as fast as its market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTimes {
    /// From the request of a machine to its registration, as expected.
    pub boot: Duration,
    /// From the start of a worker to the first line of its command, as expected.
    pub start: Duration,
    /// A machine that does not exist this long after it was asked for is given up.
    pub launch_timeout: Duration,
    /// A machine that has not joined its pool this long after its launch is given back.
    pub registration_timeout: Duration,
    /// A worker that has not reported this long after its start is lost (wall time).
    pub start_timeout: Duration,
    /// From the order to end a machine to the end of its bill, as expected.
    pub termination: Duration,
    /// How old what a listing shows may be.
    pub consistency: Duration,
    /// The longest that an idle machine is kept for work that may come.
    pub keep: Duration,
}

/// What a pool can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFeatures {
    /// Machines are there the moment they are asked for and gone the moment they are given
    /// back: slots of a machine that runs anyway.
    pub instant: bool,
    /// The scheduler starts the workers; if not, they register by themselves.
    pub starts_workers: bool,
    /// Commands run in containers of the job's image.
    pub containers: bool,
    /// GPUs are cut into the MIG slices that jobs ask for.
    pub mig: bool,
    /// An MPS daemon is started for jobs that share a GPU.
    pub mps: bool,
    /// Interruptions follow from the market's counts; if not, the provider announces them.
    pub reclaims_by_market: bool,
    /// From the notice of an interruption to the end of the machine (wall time).
    pub notice_lead: Duration,
}

impl Pool {
    /// Slots of a machine that runs anyway, for every market that there is.
    pub fn of_host(name: PoolName, kind: PoolKind, host: HostLimits, changeover: Duration) -> Self {
        Self {
            name,
            kind,
            account: Account::local(),
            sells: PoolMarkets::default(),
            supply: SupplyShown::Counted,
            limits: PoolLimits { host: Some(host), ..PoolLimits::default() },
            access: PoolAccess::default(),
            times: PoolTimes {
                boot: Duration::ZERO,
                start: changeover,
                launch_timeout: Duration::from_secs(60),
                registration_timeout: Duration::from_secs(60),
                start_timeout: Duration::from_secs(60),
                termination: Duration::ZERO,
                consistency: Duration::ZERO,
                keep: Duration::ZERO,
            },
            features: PoolFeatures {
                instant: true,
                starts_workers: kind != PoolKind::External,
                containers: false,
                mig: false,
                mps: false,
                reclaims_by_market: true,
                notice_lead: Duration::from_secs(120),
            },
            leaving: false,
        }
    }

    /// The market that the pool would buy these machines on.
    pub fn market(
        &self,
        zone: &Zone,
        instance_type: &InstanceType,
        capacity_type: CapacityType,
    ) -> MarketKey {
        let recorded = MarketKey::recorded(zone.clone(), instance_type.clone(), capacity_type);
        MarketKey { account: self.account.clone(), ..recorded }
    }

    /// From the request of a machine to the first line of a command, as expected.
    pub fn changeover(&self) -> Duration {
        self.times.boot + self.times.start
    }
}

/// What an account may have open at once of some machine types, as its owner or its
/// provider states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The account.
    pub account: Account,
    /// The region.
    pub region: Region,
    /// The provider's name of the families: `G and VT`.
    pub family: String,
    /// The machine types that count, as in [`PoolMarkets::types`].
    pub types: BTreeSet<InstanceType>,
    /// Spot and on-demand have quotas of their own; reserved machines count as on-demand.
    pub capacity_type: CapacityType,
    /// vCPUs.
    pub vcpus: u64,
}

impl Quota {
    /// Its name among limits.
    pub fn key(&self) -> LimitKey {
        let Self { account, region, family, capacity_type, .. } = self.clone();
        LimitKey::Quota { account, region, family, capacity_type }
    }

    /// Whether machines of a market count against it.
    pub fn counts(&self, market: &MarketKey) -> bool {
        let spot = |capacity_type| capacity_type == CapacityType::Spot;
        self.account == market.account
            && self.region == market.region
            && spot(self.capacity_type) == spot(market.capacity_type)
            && self.types.iter().any(|wanted| is_of_type(wanted, &market.instance_type))
    }

    /// Whether machines that a pool may buy count against it, whatever is offered now.
    pub fn bears_on(&self, pool: &Pool) -> bool {
        let sells = &pool.sells;
        let both = |ours: &InstanceType, theirs: &InstanceType| {
            is_of_type(ours, theirs) || is_of_type(theirs, ours)
        };
        let spot = |capacity_type: &CapacityType| *capacity_type == CapacityType::Spot;
        let kind = spot(&self.capacity_type);
        self.account == pool.account
            && sells.region.as_ref().is_none_or(|region| *region == self.region)
            && (sells.capacity_types.is_empty()
                || sells.capacity_types.iter().any(|sold| spot(sold) == kind))
            && (sells.types.is_empty()
                || sells.types.iter().any(|sold| self.types.iter().any(|ours| both(ours, sold))))
    }
}

/// The pools of an installation, as committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSet {
    /// Raised by every change.
    pub version: u64,
    /// By name.
    pub pools: BTreeMap<PoolName, Pool>,
    /// The quotas of their accounts.
    #[serde(default)]
    pub quotas: Vec<Quota>,
}

impl PoolSet {
    /// One version with these pools.
    pub fn of(pools: impl IntoIterator<Item = Pool>) -> Self {
        let pools = pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect();
        Self { version: 1, pools, quotas: Vec::new() }
    }

    /// A pool.
    pub fn get(&self, name: &PoolName) -> Option<&Pool> {
        self.pools.get(name)
    }

    /// Whether nobody says how many machines a market has left: that of a spot market on
    /// which a pool buys that is not shown it.
    pub fn is_unknown(&self, market: &MarketKey) -> bool {
        let hidden = |pool: &Pool| {
            pool.supply == SupplyShown::Unknown
                && pool.account == market.account
                && pool.sells.has(market)
        };
        market.capacity_type == CapacityType::Spot && self.pools.values().any(hidden)
    }

    /// Whether there is such a market at all.
    pub fn is_any_unknown(&self) -> bool {
        self.pools.values().any(|pool| pool.supply == SupplyShown::Unknown)
    }

    /// The pools that do not admit a job.
    pub fn barred(&self, spec: &JobSpec) -> BTreeSet<PoolName> {
        let barred = self.pools.values().filter(|pool| !pool.access.admits(spec));
        barred.map(|pool| pool.name.clone()).collect()
    }

    /// The set that follows when the operator's file says `wanted`: what is not in it
    /// leaves, if `in_use` says that it has machines, or is gone. `None` if nothing changes.
    #[must_use]
    pub fn next(&self, wanted: &Self, in_use: impl Fn(&PoolName) -> bool) -> Option<Self> {
        let mut pools = wanted.pools.clone();
        for (name, pool) in &self.pools {
            if !pools.contains_key(name) && in_use(name) {
                pools.insert(name.clone(), Pool { leaving: true, ..pool.clone() });
            }
        }
        let quotas = wanted.quotas.clone();
        let news = pools != self.pools || quotas != self.quotas;
        news.then(|| Self { version: self.version + 1, pools, quotas })
    }
}

/// vCPUs of a machine, as quotas count them.
pub const fn vcpus(shape: &NodeShape) -> u64 {
    shape.cpu_milli.div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str) -> Pool {
        let host = HostLimits { cpu_milli: 1_000, memory_mib: 1_000, gpus: None };
        Pool::of_host(PoolName::new(name), PoolKind::Local, host, Duration::from_secs(1))
    }

    #[test]
    fn a_pool_buys_on_the_markets_that_it_names() {
        let market = |zone, name| {
            MarketKey::recorded(Zone::new(zone), InstanceType::new(name), CapacityType::Spot)
        };
        let all = PoolMarkets::default();
        assert!(all.has(&market("us-east-1a", "g4dn.xlarge")));
        let some = PoolMarkets {
            region: Some(Region::new("us-east-1")),
            types: BTreeSet::from([InstanceType::new("g4dn."), InstanceType::new("p3.2xlarge")]),
            ..PoolMarkets::default()
        };
        assert!(some.has(&market("us-east-1a", "g4dn.xlarge")));
        assert!(some.has(&market("us-east-1a", "p3.2xlarge")));
        assert!(!some.has(&market("us-east-1a", "p3.8xlarge")));
        assert!(!some.has(&market("us-west-2a", "g4dn.xlarge")));
        let on_demand = PoolMarkets {
            capacity_types: BTreeSet::from([CapacityType::OnDemand]),
            ..PoolMarkets::default()
        };
        assert!(!on_demand.has(&market("us-east-1a", "g4dn.xlarge")));
    }

    #[test]
    fn a_pool_that_the_file_no_longer_names_leaves_when_nothing_is_on_it() {
        let set = PoolSet::of([pool("a"), pool("b")]);
        assert_eq!(set.next(&PoolSet::of([pool("b"), pool("a")]), |_| true), None);
        let next = set.next(&PoolSet::of([pool("a")]), |_| true).unwrap();
        assert_eq!((next.version, next.get(&PoolName::new("b")).unwrap().leaving), (2, true));
        let gone = next.next(&PoolSet::of([pool("a")]), |_| false).unwrap();
        assert_eq!((gone.version, gone.get(&PoolName::new("b"))), (3, None));
        let back = next.next(&PoolSet::of([pool("a"), pool("b")]), |_| true).unwrap();
        assert!(!back.get(&PoolName::new("b")).unwrap().leaving);
    }
}
