//! Small jobs and offers for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::id::{Accelerator, InstanceType, PoolName, Zone};
use spotwise_model::policy::Policy;
use spotwise_model::resources::Free;
use spotwise_model::spec::{
    Checkpoint, Class, GpuAlternative, GpuRequest, Resources, Retries, Work,
};
use spotwise_model::{
    CapacityType, InstanceId, JobId, JobSpec, Measured, NodeShape, Offer, OfferKey, PaidFor, Price,
    Share,
};

use crate::statement::input::{PlanInput, PlanInstance, PlanJob, RunningJob};

pub(crate) const HOUR: u64 = 3_600;

pub(crate) fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + hour * 3_600).unwrap()
}

/// One CPU of a four-CPU machine, interruptible, resumable, one checkpoint in
/// ten minutes.
pub(crate) fn spec(seconds: u64) -> JobSpec {
    JobSpec {
        name: "job".to_owned(),
        title: None,
        model: None,
        class: Class::Training,
        image: None,
        command: vec!["true".to_owned()],
        workdir: None,
        resources: Resources {
            gpus: GpuRequest::None,
            cpu_milli: 4_000,
            memory_mib: 1_024,
            nodes: 1,
        },
        work: Work::Duration {
            default: Some(Duration::from_secs(seconds)),
            by_accelerator: BTreeMap::new(),
        },
        deadline: None,
        budget: None,
        checkpoint: Some(Checkpoint {
            dir: None,
            interval: Duration::from_secs(600),
            grace: Duration::from_secs(30),
            resumable: true,
            keep: 2,
            bytes: None,
            signal: Default::default(),
        }),
        interruptible: true,
        retries: Retries { errors: 3, interruptions: None },
        timeout: None,
        env: BTreeMap::new(),
        not_secret: BTreeMap::new(),
        secrets: BTreeMap::new(),
        tags: BTreeMap::new(),
        priority: 0,
        after: Vec::new(),
        array: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        data: None,
    }
}

pub(crate) fn ask_gpus(spec: &mut JobSpec, accelerator: &str, count: u32) {
    let accelerator = Some(Accelerator::canonical(accelerator));
    let alternatives = vec![GpuAlternative { accelerator, count }];
    spec.resources.gpus = GpuRequest::Whole { alternatives };
}

/// Submitted at hour `submitted`, due at hour `deadline`.
pub(crate) fn job(id: u64, spec: JobSpec, submitted: i64, deadline: i64) -> PlanJob {
    PlanJob {
        id: JobId(id),
        spec: Arc::new(spec),
        submitted: at(submitted),
        deadline: at(deadline),
        saved: Progress::default(),
        measured: Measured::default(),
        budget_left: None,
        barred: Default::default(),
        quoted: false,
        worker_array: None,
    }
}

/// Four CPUs in the zone, at dollars an hour, that many free.
fn offer(zone: &str, capacity_type: CapacityType, dollars: f64, free: u32) -> Offer {
    let price = Price::from_micros_per_hour((dollars * 1e6) as i64);
    Offer {
        key: OfferKey::recorded(
            PoolName::new("pool"),
            Zone::new(zone),
            InstanceType::new("m.xlarge"),
            capacity_type,
        ),
        shape: NodeShape { cpu_milli: 4_000, memory_mib: 16_384, ..NodeShape::default() },
        price,
        on_demand: price,
        free: free.into(),
        spell_since: at(-10),
        hazard_per_hour: 0.0,
        changeover: Duration::from_secs(360),
        paid_for: Vec::new(),
    }
}

pub(crate) fn spot(zone: &str, dollars: f64, free: u32) -> Offer {
    Offer { hazard_per_hour: 0.05, ..offer(zone, CapacityType::Spot, dollars, free) }
}

pub(crate) fn on_demand(zone: &str, dollars: f64, free: u32) -> Offer {
    offer(zone, CapacityType::OnDemand, dollars, free)
}

pub(crate) fn reserved(zone: &str, dollars: f64, free: u32) -> Offer {
    offer(zone, CapacityType::Reserved, dollars, free)
}

/// The same, paid for until that hour.
pub(crate) fn committed(mut offer: Offer, until: i64) -> Offer {
    offer.paid_for = vec![PaidFor {
        commitment: "research-a".to_owned(),
        price: offer.price,
        until: at(until),
        free: offer.free.machines(),
    }];
    offer
}

/// On-demand with GPUs, eight CPUs each.
pub(crate) fn gpu_offer(zone: &str, accelerator: &str, gpus: u32, dollars: f64) -> Offer {
    let mut offer = on_demand(zone, dollars, 4);
    offer.key.market.instance_type = InstanceType::new(format!("g{gpus}"));
    offer.shape = NodeShape {
        accelerator: Some(Accelerator::canonical(accelerator)),
        gpus,
        gpu_memory_mib: 40_960,
        cpu_milli: 8_000 * u64::from(gpus),
        memory_mib: 65_536 * u64::from(gpus),
    };
    offer
}

/// At hour 0, with the default policy.
pub(crate) fn input(offers: Vec<Offer>, jobs: Vec<PlanJob>) -> PlanInput {
    PlanInput {
        now: at(0),
        jobs,
        running: Vec::new(),
        offers,
        instances: Vec::new(),
        limits: Vec::new(),
        machine_limits: Vec::new(),
        reservations: Vec::new(),
        forecasts: Vec::new(),
        shares: BTreeMap::new(),
        policy: Policy::default(),
        time_limit: Duration::from_secs(20),
    }
}

/// A machine of an offer with `cpu_milli` of it taken.
pub(crate) fn instance(id: u64, offer: &Offer, cpu_milli: u64) -> PlanInstance {
    let mut free = Free::new(&offer.shape);
    assert!(free.take(&Share { cpu_milli, ..Share::default() }));
    PlanInstance { id: InstanceId(id), offer: offer.key.clone(), free }
}

/// Running on an offer since hour `since`, `done` percent done, as much saved.
pub(crate) fn running(job: PlanJob, offer: &Offer, since: i64, done: u32) -> RunningJob {
    let progress = Progress { done_ppm: done * 10_000, ..Progress::default() };
    RunningJob {
        job: PlanJob { saved: progress, ..job },
        progress,
        offer: offer.key.clone(),
        instances: vec![InstanceId(99)],
        since: at(since),
        stopping: false,
    }
}
