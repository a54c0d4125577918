//! Pools and machines.

use spotwise_api::v1::capacity_server::Capacity;
use spotwise_api::v1::*;
use tonic::{Request, Response, Status};

use super::{Answer, Scripted};

fn limit(kind: &str, name: &str, unit: &str, (used, of, declared): (u64, u64, u64)) -> LimitView {
    LimitView { kind: kind.into(), name: name.into(), unit: unit.into(), used, of, declared }
}

fn local() -> PoolView {
    PoolView {
        name: "local".into(),
        kind: "local".into(),
        account: "local".into(),
        machines: [("registered".to_owned(), 1)].into(),
        jobs: 1,
        price_micros_per_hour: 918_000,
        reachable: true,
        features: Some(PoolFeatures { slots: true, ..PoolFeatures::default() }),
        host: Some(PoolHost { cpus: 8.0, memory_mib: 32_768, gpus: None }),
        ..PoolView::default()
    }
}

fn cloud() -> PoolView {
    let quota = "account 123456789012's quota for spot G and VT in us-east-1";
    PoolView {
        name: "east-small".into(),
        kind: "simulated".into(),
        account: "123456789012".into(),
        region: "us-east-1".into(),
        zones: vec!["us-east-1a".into(), "us-east-1c".into()],
        instance_types: vec!["g4dn.".into()],
        capacity_types: vec!["spot".into(), "on-demand".into()],
        machines: [("booting".to_owned(), 1), ("registered".to_owned(), 3)].into(),
        jobs: 3,
        price_micros_per_hour: 1_204_000,
        limits: vec![
            limit("machines", "pool `east-small`'s limit of machines", "machines", (4, 20, 20)),
            limit(
                "price",
                "pool `east-small`'s limit of cost per hour",
                "micro-dollars an hour",
                (1_204_000, 25_000_000, 25_000_000),
            ),
            limit("quota", quota, "vCPUs", (16, 16, 96)),
        ],
        listed: "2023-02-14T23:59:50Z".into(),
        reachable: true,
        access: Some(PoolAccess {
            classes: vec!["training".into()],
            tags: vec![RequiredTag { tag: "Team".into(), values: vec!["speech".into()] }],
        }),
        times: Some(PoolTimes {
            boot_seconds: 90.0,
            start_seconds: 20.0,
            launch_timeout_seconds: 300.0,
            registration_timeout_seconds: 900.0,
            start_timeout_seconds: 180.0,
            termination_seconds: 60.0,
            consistency_seconds: 60.0,
            keep_seconds: 1_800.0,
        }),
        features: Some(PoolFeatures { starts_workers: true, ..PoolFeatures::default() }),
        ..PoolView::default()
    }
}

fn machine(id: &str, state: &str) -> MachineView {
    MachineView {
        id: id.into(),
        pool: "east-small".into(),
        provider_id: format!("sim-{id}"),
        instance_type: "g4dn.xlarge".into(),
        zone: "us-east-1c".into(),
        capacity_type: "spot".into(),
        state: state.into(),
        since: "2023-02-14T22:10:00Z".into(),
        billed_since: "2023-02-14T22:10:00Z".into(),
        price_micros_per_hour: 301_000,
        accrued_micros: 552_000,
        ..MachineView::default()
    }
}

fn machines() -> Vec<MachineView> {
    let asked = MachineView {
        provider_id: String::new(),
        billed_since: String::new(),
        since: "2023-02-14T23:59:15Z".into(),
        accrued_micros: 0,
        attempts: vec!["j8.1".into()],
        ..machine("i6", "requested")
    };
    let used = MachineView { attempts: vec!["j7.2".into()], ..machine("i5", "registered") };
    let drained = MachineView {
        since: "2023-02-14T23:40:00Z".into(),
        cause: "operator".into(),
        reason: "its operator has drained it".into(),
        attempts: vec!["j3.1".into(), "j4.1".into()],
        ..machine("i2", "draining")
    };
    vec![asked, used, drained]
}

#[tonic::async_trait]
impl Capacity for Scripted {
    async fn list_pools(&self, _: Request<ListPoolsRequest>) -> Answer<ListPoolsResponse> {
        let gone = PoolView {
            name: "old".into(),
            leaving: true,
            reachable: false,
            listed: "2023-02-14T22:00:00Z".into(),
            condition: "does not answer: its last listing is 2h old".into(),
            limits: Vec::new(),
            ..cloud()
        };
        let pools = vec![cloud(), local(), gone];
        Ok(Response::new(ListPoolsResponse { pools, version: 3 }))
    }

    async fn get_pool(&self, request: Request<GetPoolRequest>) -> Answer<PoolView> {
        match request.into_inner().pool.as_str() {
            "east-small" => Ok(Response::new(cloud())),
            "local" => Ok(Response::new(local())),
            other => Err(Status::not_found(format!("there is no pool `{other}`"))),
        }
    }

    async fn list_machines(
        &self,
        request: Request<ListMachinesRequest>,
    ) -> Answer<ListMachinesResponse> {
        let request = request.into_inner();
        let mut machines = machines();
        let (first, next) = match request.page_token.as_str() {
            "" => (machines.drain(..2).collect(), "more".to_owned()),
            _ => (machines.drain(2..).collect(), String::new()),
        };
        let note = if request.all { "settled ones are not listed".into() } else { String::new() };
        let answer = ListMachinesResponse { machines: first, next_page_token: next, note };
        Ok(Response::new(answer))
    }

    async fn explain_machine(
        &self,
        request: Request<ExplainMachineRequest>,
    ) -> Answer<ExplainMachineResponse> {
        if request.into_inner().machine == "i9" {
            return Err(Status::not_found("there is no machine i9"));
        }
        Ok(Response::new(ExplainMachineResponse {
            machine: Some(machine("i5", "registered")),
            headline: "idle for 4m, and is kept".into(),
            details: vec!["spot g4dn.xlarge: $0.30/h, $0.55 so far".into()],
            keep: None,
        }))
    }

    async fn drain_machine(
        &self,
        request: Request<DrainMachineRequest>,
    ) -> Answer<DrainMachineResponse> {
        if request.into_inner().machine == "i1" {
            return Err(Status::failed_precondition("i1 is a slot of a machine that runs anyway"));
        }
        Ok(Response::new(DrainMachineResponse {
            machine: Some(machine("i5", "draining")),
            note: "gets no new work, and is given back when j7.2 has ended".into(),
        }))
    }

    async fn set_freeze(&self, request: Request<SetFreezeRequest>) -> Answer<FreezeView> {
        let SetFreezeRequest { frozen, reason } = request.into_inner();
        let (by, since) = ("fay".to_owned(), "2023-02-15T00:00:00Z".to_owned());
        Ok(Response::new(match frozen {
            true => FreezeView { frozen, by, since, reason },
            false => FreezeView::default(),
        }))
    }
}
