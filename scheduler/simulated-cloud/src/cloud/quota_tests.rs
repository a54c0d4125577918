//! Quotas: who counts against them, and for how long.

use std::sync::Arc;

use spotwise_model::CapacityType;

use crate::fixture::{
    TestMarket, US, at, cloud_of, launch, market, on_demand, prompt_cloud, seconds, spec, spot,
    try_launch,
};
use crate::{Behaviour, CloudError, ErrorClass, Fault, Reach, SimulatedCloud, Spread};

fn used(cloud: &SimulatedCloud) -> Vec<(u64, u64)> {
    cloud.quota_use().iter().map(|usage| (usage.used, usage.of)).collect()
}

#[test]
fn spot_and_on_demand_have_quotas_of_their_own_over_all_zones() {
    let mut cloud = prompt_cloud();
    let elsewhere = market("us-east-1b", "p3.2xlarge", CapacityType::Spot);
    for (token, key) in [("a", spot()), ("b", spot()), ("c", elsewhere.clone()), ("d", elsewhere)] {
        launch(&mut cloud, token, key, 0);
    }
    let refusal = try_launch(&mut cloud, "e", spot(), 0).unwrap_err();
    assert!(matches!(refusal, CloudError::MaxSpotInstanceCountExceeded { .. }));
    assert_eq!((refusal.class(), refusal.is_retryable()), (ErrorClass::Quota, false));
    for token in ["f", "g", "h", "i"] {
        launch(&mut cloud, token, on_demand(), 0);
    }
    let refusal = try_launch(&mut cloud, "j", on_demand(), 0).unwrap_err();
    assert_eq!(refusal.code(), "VcpuLimitExceeded");
    // Of a family without a quota, what the market has.
    launch(&mut cloud, "k", market("us-east-1a", "g5.xlarge", CapacityType::Spot), 0);
    assert_eq!(used(&cloud), [(32, 32), (32, 32)]);
    assert_eq!(cloud.quotas(at(1)).outcome.unwrap(), cloud.quota_use());
}

#[test]
fn a_terminated_machine_counts_for_a_while() {
    let behaviour = Behaviour {
        terminate: Spread::exactly(seconds(10)),
        quota_lag: seconds(60),
        ..Behaviour::prompt()
    };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    let machines = ["a", "b", "c", "d"].map(|token| launch(&mut cloud, token, spot(), 0));
    cloud.terminate(US, &machines[0], at(100)).outcome.unwrap();
    assert!(try_launch(&mut cloud, "e", spot(), 169).is_err());
    launch(&mut cloud, "f", spot(), 170);
    let history: Vec<_> =
        cloud.quota_history().iter().map(|it| (it.at, it.launched, it.usage.used)).collect();
    assert_eq!(history[3..], [(at(0), true, 32), (at(170), false, 24), (at(170), true, 32)]);
    // A token that found no room stays refused.
    assert!(try_launch(&mut cloud, "e", spot(), 1_000_000).is_err());
}

#[test]
fn what_others_have_counts() {
    let mut cloud = prompt_cloud();
    for _ in 0..4 {
        cloud.open_foreign(&spot(), None, seconds(100), at(0)).unwrap();
    }
    let refusal = try_launch(&mut cloud, "a", spot(), 1).unwrap_err();
    assert_eq!(refusal.class(), ErrorClass::Quota);
    assert!(cloud.open_foreign(&spot(), None, seconds(100), at(0)).is_err());
    launch(&mut cloud, "b", spot(), 100);
    assert_eq!(cloud.fired(Fault::ForeignMachine), 4);
}

#[test]
fn a_quota_that_is_cut_below_its_use_lets_nothing_in_and_drives_nothing_out() {
    let behaviour = Behaviour { cut_quota_percent: 25, ..Behaviour::prompt() };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    launch(&mut cloud, "a", spot(), 0);
    launch(&mut cloud, "b", spot(), 0);
    cloud.inject(Fault::QuotaCut, Reach::All, at(100));
    assert_eq!(used(&cloud), [(16, 8), (0, 8)]);
    assert!(try_launch(&mut cloud, "c", spot(), 1).is_err());
    launch(&mut cloud, "d", on_demand(), 2);
    launch(&mut cloud, "e", spot(), 100);
    assert_eq!(used(&cloud), [(24, 32), (8, 32)]);
}

#[test]
fn a_part_of_a_machine_is_no_room() {
    let mut spec = spec(Behaviour::prompt());
    spec.quotas[0].vcpus = 15;
    let mut cloud = SimulatedCloud::new(spec, Arc::new(TestMarket::default()), 1, at(0));
    launch(&mut cloud, "a", spot(), 0);
    assert!(try_launch(&mut cloud, "b", spot(), 0).is_err());
    assert_eq!(used(&cloud)[0], (8, 15));
}
