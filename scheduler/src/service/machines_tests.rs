use spotwise_control::core::Change;
use spotwise_control::fixture::{cloud_pool, local_pool, machine, now};
use spotwise_model::attempt::Certainty;
use spotwise_model::instance::EndedBy;
use spotwise_model::{CapacityType, InstanceState, PoolSet};

use super::*;
use crate::service::Kind;
use crate::service::testing::Bench;

/// A slot, two machines of a cloud, one that was asked for and one that is gone.
fn machines() -> Vec<Change> {
    let of_cloud = |id| {
        let mut one = machine(id, "us-east-1a", CapacityType::Spot);
        one.offer.pool = PoolName::new("cloud");
        one
    };
    let requested = InstanceState::Requested { at: now(0), certainty: Certainty::Known };
    let asked = Instance { state: requested, ..of_cloud(4) };
    let gone = of_cloud(5).end(now(1).market, EndedBy::Provider).unwrap();
    let slot = machine(1, "us-east-1a", CapacityType::Spot);
    let pools = PoolSet::of([local_pool(), cloud_pool("cloud")]);
    let all = [slot, of_cloud(2), of_cloud(3), asked, gone].map(Change::from);
    [Change::Pools(Box::new(pools))].into_iter().chain(all).collect()
}

async fn list(bench: &Bench, request: v1::ListMachinesRequest) -> Vec<String> {
    let answer = bench.service.list_machines(request).await.unwrap();
    answer.machines.into_iter().map(|machine| machine.id).collect()
}

#[tokio::test]
async fn machines_are_listed_newest_first_by_pool_and_state_and_page() {
    let bench = Bench::of(machines()).await;
    let none = v1::ListMachinesRequest::default;
    assert_eq!(list(&bench, none()).await, ["i4", "i3", "i2", "i1"]);
    let all = v1::ListMachinesRequest { all: true, ..none() };
    assert_eq!(list(&bench, all.clone()).await, ["i5", "i4", "i3", "i2", "i1"]);
    let note = bench.service.list_machines(all).await.unwrap().note;
    assert!(note.starts_with("machines whose charges are settled are not listed"), "{note}");
    let of = |pool: &str, state: &str| v1::ListMachinesRequest {
        pool: pool.to_owned(),
        states: vec![state.to_owned()],
        ..none()
    };
    assert_eq!(list(&bench, of("cloud", "registered")).await, ["i3", "i2"]);
    assert_eq!(list(&bench, of("", "gone")).await, ["i5"]);
    let mut page = v1::ListMachinesRequest { page_size: 3, ..none() };
    let first = bench.service.list_machines(page.clone()).await.unwrap();
    assert_eq!(first.machines.len(), 3);
    page.page_token = first.next_page_token;
    let last = bench.service.list_machines(page).await.unwrap();
    assert_eq!((last.machines.len(), last.next_page_token.as_str()), (1, ""));
    let unknown = bench.service.list_machines(of("moon", "gone")).await.unwrap_err();
    assert_eq!(unknown.kind(), Kind::NotFound);
    let asleep = bench.service.list_machines(of("", "asleep")).await.unwrap_err();
    assert_eq!((asleep.code(), asleep.field()), ("unknown_value", "states"));
}

#[tokio::test]
async fn a_machine_is_explained() {
    let bench = Bench::of(machines()).await;
    let explain = |machine: &str| {
        let request = v1::ExplainMachineRequest { machine: machine.to_owned() };
        bench.service.explain_machine(request)
    };
    let idle = explain("i2").await.unwrap();
    assert!(idle.headline.starts_with("idle for "), "{}", idle.headline);
    let keep = idle.keep.expect("it is idle");
    assert!(!keep.keep && keep.costs_micros_per_hour == 300_000, "{keep:?}");
    assert_eq!(explain("4").await.unwrap().keep, None, "nobody is there yet");
    assert_eq!(explain("i9").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(explain("j1").await.unwrap_err().code(), "invalid_value");
    assert_eq!(explain("").await.unwrap_err().code(), "missing_field");
}

#[tokio::test]
async fn a_machine_is_drained_twice_as_once_and_refusals_have_codes() {
    let bench = Bench::of(machines()).await;
    let drain = |machine: &str| {
        let request = v1::DrainMachineRequest { machine: machine.to_owned() };
        bench.service.drain_machine(request)
    };
    for _ in 0..2 {
        let answer = drain("i2").await.unwrap();
        let row = answer.machine.unwrap();
        assert_eq!((row.state.as_str(), row.cause.as_str()), ("draining", "operator"));
        assert!(answer.note.ends_with("nothing is on it"), "{}", answer.note);
    }
    for (machine, kind, code) in [
        ("i1", Kind::Conflict, "pool_of_slots"),
        ("i4", Kind::Conflict, "machine_not_there"),
        ("i5", Kind::Conflict, "machine_gone"),
        ("i9", Kind::NotFound, "not_found"),
    ] {
        let refused = drain(machine).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (kind, code), "{machine}");
    }
}
