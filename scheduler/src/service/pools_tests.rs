use std::collections::BTreeSet;

use spotwise_control::fixture::{at, cloud_pool, local_pool, machine, now, state_of};
use spotwise_model::id::{InstanceType, PoolName, Region};
use spotwise_model::pool::Quota;
use spotwise_model::{CapacityType, PoolSet};

use super::*;
use crate::service::Kind;
use crate::service::testing::Bench;
use spotwise_control::Command;

#[test]
fn a_pool_shows_its_limits_and_the_quotas_of_its_account() {
    let mut open = machine(1, "us-east-1a", CapacityType::Spot);
    open.offer.pool = PoolName::new("cloud");
    let mut pool = cloud_pool("cloud");
    pool.limits.machines = Some(8);
    pool.sells.types = BTreeSet::from([InstanceType::new("m")]);
    let quota = Quota {
        account: pool.account.clone(),
        region: Region::new("us-east-1"),
        family: "M".to_owned(),
        types: BTreeSet::from([InstanceType::new("m")]),
        capacity_type: CapacityType::Spot,
        vcpus: 96,
    };
    let mut state = state_of(vec![open.into()]);
    state.seen.refusals.quota_full(quota.key(), 8, at(1));
    state.pools = PoolSet { quotas: vec![quota], ..PoolSet::of([pool.clone()]) };
    let uses = pool_uses(&state);
    let row = view(&state, &pool, uses.get(&pool.name), 1, now(1));
    let limits: Vec<_> =
        row.limits.iter().map(|it| (it.kind.as_str(), it.used, it.of, it.declared)).collect();
    assert_eq!(limits, [("machines", 1, 8, 8), ("quota", 8, 8, 96)], "others use the rest");
    assert_eq!((row.machines["registered"], row.jobs), (1, 0));
    assert_eq!((row.reachable, row.condition.as_str()), (false, "has listed nothing yet"));
}

#[tokio::test]
async fn pools_are_listed_and_found_by_name() {
    let bench = Bench::new().await;
    let leaving = Pool { leaving: true, ..cloud_pool("cloud") };
    let wanted = PoolSet::of([local_pool(), leaving]);
    bench.service.parts.handle.command(Command::SetPools(Box::new(wanted))).await.unwrap();
    let answer = bench.service.list_pools().await.unwrap();
    let names: Vec<&str> = answer.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!((names, answer.version), (vec!["cloud", "local"], 1));
    let get = |pool: &str| bench.service.get_pool(v1::GetPoolRequest { pool: pool.to_owned() });
    assert_eq!(get("local").await.unwrap(), answer.pools[1]);
    assert!(get("local").await.unwrap().reachable, "there is nobody to ask");
    assert_eq!(get("moon").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(get("").await.unwrap_err().code(), "missing_field");
    let info = bench.service.info().await.unwrap();
    assert_eq!((info.pools, info.pools_version), (vec!["cloud".into(), "local".into()], 1));
    let offers = bench.service.list_offers(v1::ListOffersRequest::default()).await.unwrap();
    assert_eq!(
        offers.notes,
        ["pool cloud is gone from the pools file, and offers nothing any more"]
    );
}
