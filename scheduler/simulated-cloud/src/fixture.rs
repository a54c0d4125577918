//! A small market and an account, for the tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::{Account, InstanceType, PoolName, ProviderId, Region, Zone};
use spotwise_model::{CapacityType, InstanceId, MarketKey, Money, Price};

use crate::{
    Behaviour, Billing, Buckets, Call, CloudError, CloudMarket, CloudSpec, Delivery, LaunchRequest,
    Launched, QuotaSpec, SimulatedCloud,
};

pub(crate) const US: &str = "ours";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn pool() -> PoolName {
    PoolName::new("gpus")
}

pub(crate) fn market(zone: &str, name: &str, capacity_type: CapacityType) -> MarketKey {
    MarketKey {
        account: Account::new("123456789012"),
        region: Region::new("us-east-1"),
        zone: Zone::new(zone),
        instance_type: InstanceType::new(name),
        capacity_type,
    }
}

/// Eight vCPUs in the first zone.
pub(crate) fn spot() -> MarketKey {
    market("us-east-1a", "p3.2xlarge", CapacityType::Spot)
}

pub(crate) fn on_demand() -> MarketKey {
    market("us-east-1a", "p3.2xlarge", CapacityType::OnDemand)
}

/// Supply as it changes, 100 machines where nothing is said; a price that changes once.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestMarket {
    pub(crate) supply: BTreeMap<MarketKey, Vec<(i64, u32)>>,
    pub(crate) dearer_from: Option<i64>,
}

impl TestMarket {
    pub(crate) fn with(market: MarketKey, supply: &[(i64, u32)]) -> Self {
        Self { supply: BTreeMap::from([(market, supply.to_vec())]), dearer_from: None }
    }

    fn steps(&self, market: &MarketKey) -> &[(i64, u32)] {
        self.supply.get(market).map_or(&[], Vec::as_slice)
    }
}

/// Micro-dollars an hour, and after its rise.
pub(crate) const PRICE: i64 = 3_600_000;
pub(crate) const DEARER: i64 = 7_200_001;

impl CloudMarket for TestMarket {
    fn available(&self, market: &MarketKey, at: Timestamp) -> u32 {
        let steps = self.steps(market);
        let passed = steps.partition_point(|(from, _)| *from <= at.as_second());
        passed
            .checked_sub(1)
            .and_then(|last| steps.get(last))
            .map_or(100, |(_, machines)| *machines)
    }

    fn next_change(&self, market: &MarketKey, after: Timestamp) -> Option<Timestamp> {
        let steps = self.steps(market);
        let passed = steps.partition_point(|(from, _)| at(*from) <= after);
        steps.get(passed).map(|(from, _)| at(*from))
    }

    fn charge(&self, _: &MarketKey, from: Timestamp, stopped: Timestamp, to: Timestamp) -> Money {
        let (from, to) = (from.as_second(), to.as_second());
        let dearer = self.dearer_from.filter(|at| *at < stopped.as_second().max(from + 1));
        let cut = dearer.unwrap_or(i64::MAX).clamp(from, to);
        let part = |price, seconds: i64| {
            Price::from_micros_per_hour(price).charge(u64::try_from(seconds).unwrap())
        };
        part(PRICE, cut - from) + part(DEARER, to - cut)
    }
}

/// Room for four machines of each kind; prompt, and without faults.
pub(crate) fn spec(behaviour: Behaviour) -> CloudSpec {
    let quota = |capacity_type| QuotaSpec {
        family: "P".to_owned(),
        prefixes: vec!["p3.".to_owned()],
        capacity_type,
        vcpus: 32,
    };
    CloudSpec {
        account: Account::new("123456789012"),
        region: Region::new("us-east-1"),
        vcpus: BTreeMap::from([
            (InstanceType::new("p3.2xlarge"), 8),
            (InstanceType::new("g5.xlarge"), 4),
        ]),
        quotas: vec![quota(CapacityType::Spot), quota(CapacityType::OnDemand)],
        buckets: Buckets::default(),
        billing: Billing::default(),
        behaviour,
    }
}

pub(crate) fn cloud_of(market: TestMarket, behaviour: Behaviour) -> SimulatedCloud {
    SimulatedCloud::new(spec(behaviour), Arc::new(market), 7, at(0))
}

pub(crate) fn prompt_cloud() -> SimulatedCloud {
    cloud_of(TestMarket::default(), Behaviour::prompt())
}

pub(crate) fn request(token: &str, market: MarketKey) -> LaunchRequest {
    let (install, token) = (US.to_owned(), token.to_owned());
    LaunchRequest { token, install, pool: pool(), instance: InstanceId(1), market }
}

/// What a launch answers.
pub(crate) fn try_launch(
    cloud: &mut SimulatedCloud,
    token: &str,
    market: MarketKey,
    second: i64,
) -> Result<Launched, CloudError> {
    cloud.launch(&request(token, market), at(second)).outcome
}

pub(crate) fn launch(
    cloud: &mut SimulatedCloud,
    token: &str,
    market: MarketKey,
    second: i64,
) -> ProviderId {
    try_launch(cloud, token, market, second).unwrap().machine
}

pub(crate) fn is_lost<T>(call: &Call<T>) -> bool {
    matches!(call.delivery, Delivery::Lost { .. })
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
