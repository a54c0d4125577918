//! How a world's account is opened, and with which pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_market::Catalog;
use spotwise_model::id::{Account as AccountName, InstanceType, PoolName, Region};
use spotwise_model::pool::{HostLimits, PoolKind, Quota, SupplyShown};
use spotwise_model::{CapacityType, MarketKey, Money, OfferKey, Pool, PoolSet};
use spotwise_simulated_cloud::{
    Behaviour, CloudMarket, CloudSpec, ForeignTenant, GoneToken, QuotaSpec, SimulatedCloud, Spread,
};

use super::super::scenario::Scenario;
use super::super::simulated_market::SimulatedMarket;
use super::super::time::{self, MINUTE, SECOND};
use super::{Account, POOLS};

const REGION: &str = "us-east-1";

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

    fn charge(
        &self,
        market: &MarketKey,
        from: Timestamp,
        stopped: Timestamp,
        to: Timestamp,
    ) -> Money {
        let offer = OfferKey { pool: PoolName::new("meter"), market: market.clone() };
        let [from, stopped, to] = [from, stopped, to].map(|at| at.as_second());
        Money::from_micros(self.0.bill_beyond(&offer, from, stopped, to))
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
    let mut pools = POOLS.map(|pool| cloud_pool(pool, &name, &local, &behaviour));
    if scenario.hides_supply() {
        pools.iter_mut().for_each(|pool| pool.supply = SupplyShown::Unknown);
    }
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
        asked_by: BTreeMap::new(),
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
