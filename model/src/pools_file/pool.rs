//! One pool: defaults by kind, and what only several of its fields show.

use std::collections::BTreeSet;
use std::time::Duration;

use super::document::{AccessDocument, FeaturesDocument, LimitsDocument, PoolDocument};
use super::fields::Problems;
use super::lists::{Distinct, Tags};
use super::times::times;
use super::values::Time;
use crate::id::{Account, PoolName, Region, Zone};
use crate::pool::{
    HostLimits, Pool, PoolAccess, PoolFeatures, PoolKind, PoolLimits, PoolMarkets, PoolTimes,
    SupplyShown,
};
use crate::spec::closest;
use crate::spec::error::{Problem, shown};

/// From the start of a process on this machine to the first line of its command.
const HOST_START: Duration = Duration::from_secs(5);

/// One pool; `accounts` are those declared, if all of them could be read.
pub(super) fn read_pool(
    document: PoolDocument,
    accounts: Option<&BTreeSet<String>>,
    problems: &mut Problems,
) -> Option<Pool> {
    let kind = *document.kind.get()?;
    let account = account_of(kind, &document, accounts, problems);
    if kind == PoolKind::Simulated && !document.region.is_written() {
        missing("region", "a pool that buys does so in one region", problems);
    }
    if let (Some(region), Some(zones)) = (document.region.get(), document.zones.get()) {
        zones_of_region(region, &zones.0, problems);
    }
    let supply = document.supply.get().copied().unwrap_or_default();
    if kind != PoolKind::Simulated && supply == SupplyShown::Unknown {
        let message = format!(
            "a pool of kind `{}` asks nobody for machines: what its market has is counted; leave \
             it out",
            kind.name()
        );
        problems.add(Problem::new("not_of_this_kind", message).key("supply"));
    }
    let limits = document.limits.given().map(limits).unwrap_or_default();
    let access = document.access.given().map(access).unwrap_or_default();
    let host = HostLimits { cpu_milli: 0, memory_mib: 0, gpus: None };
    let name = document.name.given();
    let unnamed = || PoolName::new("unnamed");
    let usual = Pool::of_host(name.clone().unwrap_or_else(unnamed), kind, host, HOST_START);
    let usual = match kind {
        PoolKind::Local | PoolKind::External => usual,
        PoolKind::Simulated => of_cloud(usual),
    };
    let written = document.times.given();
    let times = problems.under("times", |p| times(written, &usual, p));
    Some(Pool {
        name: name?,
        account: account.unwrap_or_else(Account::local),
        sells: PoolMarkets {
            region: document.region.given(),
            zones: document.zones.given().map(Distinct::set).unwrap_or_default(),
            types: document.types.given().map(Distinct::set).unwrap_or_default(),
            capacity_types: document.capacity.given().map(Distinct::set).unwrap_or_default(),
        },
        supply,
        limits,
        access,
        times,
        features: features(document.features.given(), usual.features.clone()),
        ..usual
    })
}

fn missing(field: &str, why: &str, problems: &mut Problems) {
    let problem = Problem::new("missing_field", format!("is required: {why}"));
    problems.add(problem.key(field));
}

/// The account that pays for a pool.
fn account_of(
    kind: PoolKind,
    document: &PoolDocument,
    accounts: Option<&BTreeSet<String>>,
    problems: &mut Problems,
) -> Option<Account> {
    let buys = kind == PoolKind::Simulated;
    if !buys && document.account.is_written() {
        let message = format!("a pool of kind `{}` buys nothing; leave it out", kind.name());
        problems.add(Problem::new("not_of_this_kind", message).key("account"));
        return None;
    }
    if buys && !document.account.is_written() {
        missing("account", "name one of `accounts`, which is billed", problems);
    }
    let name = &document.account.get()?.0;
    if let Some(accounts) = accounts.filter(|accounts| !accounts.contains(name)) {
        let remedy = closest(name, accounts.iter().map(String::as_str)).map_or_else(
            || "declare it there".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("{} is not one of `accounts`; {remedy}", shown(name));
        problems.add(Problem::new("unknown_account", message).key("account"));
    }
    Some(Account::new(name))
}

/// Each zone that lies elsewhere.
fn zones_of_region(region: &Region, zones: &[Zone], problems: &mut Problems) {
    for (index, zone) in zones.iter().enumerate() {
        if zone.region() != region.as_str() {
            let message = format!("{} is not a zone of {region}", shown(zone.as_str()));
            let problem = Problem::new("zone_of_another_region", message);
            problems.add(problem.index(index).key("zones"));
        }
    }
}

/// What is usual for a pool of a cloud.
fn of_cloud(pool: Pool) -> Pool {
    let seconds = Duration::from_secs;
    Pool {
        times: PoolTimes {
            boot: seconds(90),
            start: seconds(20),
            launch_timeout: seconds(5 * 60),
            registration_timeout: seconds(15 * 60),
            start_timeout: seconds(3 * 60),
            termination: seconds(60),
            consistency: seconds(60),
            keep: seconds(30 * 60),
        },
        features: PoolFeatures { instant: false, reclaims_by_market: false, ..pool.features },
        ..pool
    }
}

fn limits(document: LimitsDocument) -> PoolLimits {
    let count = |number: u64| u32::try_from(number).ok();
    PoolLimits {
        machines: document.machines.given().and_then(|n| count(n.0)),
        gpus: document.gpus.given().and_then(|n| count(n.0)),
        price_per_hour: document.dollars_per_hour.given(),
        ..PoolLimits::default()
    }
}

fn access(document: AccessDocument) -> PoolAccess {
    PoolAccess {
        classes: document.classes.given().map(Distinct::set).unwrap_or_default(),
        tags: document.tags.given().map(|Tags(tags)| tags).unwrap_or_default(),
    }
}

fn features(document: Option<FeaturesDocument>, usual: PoolFeatures) -> PoolFeatures {
    let Some(document) = document else { return usual };
    PoolFeatures {
        containers: document.containers.given().unwrap_or(usual.containers),
        mig: document.mig.given().unwrap_or(usual.mig),
        mps: document.mps.given().unwrap_or(usual.mps),
        notice_lead: document.notice.given().map_or(usual.notice_lead, |Time(time)| time),
        ..usual
    }
}
