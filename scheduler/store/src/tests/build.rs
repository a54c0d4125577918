//! Values for tests, with every optional part filled in somewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::{
    BudgetCutoff, CheckpointRef, Exit, NodeReport, Progress, StopOrder, StopReason, Told,
};
use spotwise_model::gpu::MigProfile;
use spotwise_model::id::{Accelerator, InstanceType, PoolName, Zone};
use spotwise_model::instance::EndedBy;
use spotwise_model::job::DeadlineSource;
use spotwise_model::ledger::LineKind;
use spotwise_model::memory::MemoryUse;
use spotwise_model::plan::{
    Alternative, PlacementReason, PlacementRule, PolicyCost, RejectionReason,
};
use spotwise_model::resources::GpuSlot;
use spotwise_model::spec::{
    Checkpoint, Class, Dependency, GpuAlternative, GpuRequest, Input, Output, Resources, Retries,
    SecretRef, Work,
};
use spotwise_model::{
    Attempt, AttemptId, AttemptState, CapacityType, Instance, InstanceId, InstanceState, Job,
    JobId, JobSpec, JobState, LedgerEntry, MarketKey, Measured, Money, NodeShape, Now, OfferKey,
    Outcome, Price, Share, WaitReason,
};

use crate::{Epoch, Round, Store, StoreError};
use spotwise_control::core::availability_history::{AvailabilityUpdate, Count, ObservationWindow};
use spotwise_control::core::prices::PriceUpdate;
use spotwise_control::core::{Change, Event, EventKind, SubmissionRecord};
use spotwise_market::{PriceKey, PriceRow};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn now(second: i64) -> Now {
    Now { market: at(second), wall: at(second + 1_000_000) }
}

fn map<K: Ord, V, const N: usize>(pairs: [(K, V); N]) -> BTreeMap<K, V> {
    BTreeMap::from(pairs)
}

pub(super) fn spec(name: &str) -> JobSpec {
    JobSpec {
        name: name.to_owned(),
        title: Some("números ' and \"quotes\"".to_owned()),
        model: Some("resnet".to_owned()),
        class: Class::Training,
        image: None,
        command: vec!["train".to_owned(), "--lr=0.1".to_owned()],
        workdir: None,
        resources: Resources {
            gpus: GpuRequest::Whole {
                alternatives: vec![GpuAlternative {
                    accelerator: Some(Accelerator::new("V100")),
                    count: 2,
                }],
            },
            cpu_milli: 4_000,
            memory_mib: 8_192,
            nodes: 1,
        },
        work: Work::Duration {
            default: Some(Duration::from_millis(3_600_500)),
            by_accelerator: map([(Accelerator::new("V100"), Duration::from_secs(7_200))]),
        },
        deadline: None,
        budget: Some(Money::from_micros(12_345_678)),
        checkpoint: Some(Checkpoint {
            dir: Some("checkpoints".to_owned()),
            interval: Duration::from_secs(600),
            grace: Duration::from_secs(30),
            resumable: true,
            keep: 2,
            bytes: None,
            signal: Default::default(),
        }),
        interruptible: true,
        retries: Retries { errors: 3, interruptions: None },
        timeout: Some(Duration::from_secs(86_400)),
        env: map([("SEED".to_owned(), "7".to_owned())]),
        not_secret: BTreeMap::new(),
        secrets: map([("TOKEN".to_owned(), SecretRef::Env { name: "TOKEN".to_owned() })]),
        tags: map([("Team".to_owned(), "vision".to_owned())]),
        priority: -5,
        after: vec![Dependency::success(spotwise_model::dependency::Needed::Name(
            "prepare".to_owned(),
        ))],
        array: None,
        inputs: vec![Input { from: "code".to_owned(), to: "src".to_owned() }],
        outputs: vec![Output { path: "model.bin".to_owned() }],
        data: None,
    }
}

pub(super) fn job(id: u64) -> Job {
    Job {
        deadline_source: DeadlineSource::Derived,
        measured: Measured::once(Some(&Accelerator::new("T4")), Duration::from_millis(1_234_567)),
        state: JobState::Waiting {
            since: at(1_000),
            why: WaitReason::CheaperLater {
                now: Money::from_micros(9),
                later: Money::from_micros(8),
                latest_start: at(80_000),
            },
            why_since: at(1_001),
        },
        ..Job::new(JobId(id), Arc::new(spec("train")), at(1_000), at(90_000))
    }
}

pub(super) fn job_with(id: u64, edit: impl FnOnce(&mut JobSpec)) -> Job {
    let mut spec = spec("train");
    edit(&mut spec);
    Job { spec: Arc::new(spec), ..job(id) }
}

pub(super) fn succeeded(id: u64) -> Job {
    Job { state: JobState::Succeeded { at: at(5_000) }, ..job(id) }
}

pub(super) fn offer() -> OfferKey {
    OfferKey::recorded(
        PoolName::new("local"),
        Zone::new("us-east-1a"),
        InstanceType::new("p3.8xlarge"),
        CapacityType::Spot,
    )
}

fn checkpoint(attempt: AttemptId) -> CheckpointRef {
    CheckpointRef {
        attempt,
        sequence: 3,
        progress: Progress::of_step(50, Some(200)),
        bytes: 1 << 40,
        at: at(2_000),
    }
}

pub(super) fn attempt(job: u64, number: u32) -> Attempt {
    let id = AttemptId { job: JobId(job), number };
    Attempt {
        id,
        instances: vec![InstanceId(1)],
        offer: offer(),
        share: Share {
            mig: Some(MigProfile::G1),
            cpu_milli: 1_000,
            memory_mib: 512,
            ..Share::default()
        },
        slots: vec![GpuSlot { gpu: 0, start: 6 }],
        restore: Some(checkpoint(id)),
        why: PlacementReason {
            rule: PlacementRule::Cheapest,
            expected_cost: Money::from_micros(77),
            finish: at(9_000),
            slack: Duration::from_secs(60),
            policy_cost: PolicyCost::default(),
            transfer: Money::ZERO,
            alternatives: vec![Alternative {
                offer: offer(),
                expected_cost: Money::from_micros(-1),
                finish: at(9_999),
                why_not: Some(RejectionReason::Dearer),
            }],
        },
        hold: Money::from_micros(500),
        state: AttemptState::Running { placed: None, launched: now(1_100), since: now(1_200) },
        stop: Some(StopOrder {
            reason: StopReason::Moved,
            at: now(1_300),
            reclaim_wall: Some(at(1_400)),
        }),
        cutoff: Some(BudgetCutoff { stop_at: at(5_000), gone_by: now(5_015) }),
        progress: Progress::of_step(60, Some(200)),
        checkpoint: Some(checkpoint(id)),
        nodes: vec![NodeReport {
            handle: Some("4711".to_owned()),
            address: None,
            registered: Some(now(1_150)),
            key: Some("ab".repeat(32)),
            started: Some(now(1_200)),
            exited: Some((now(1_500), Exit::Signal(9))),
            told: Told::Stop,
            memory: Some(MemoryUse { peak_bytes: 7, limit_bytes: Some(9), oom_kills: 1 }),
        }],
    }
}

pub(super) fn settled(job: u64, number: u32) -> Attempt {
    let state = AttemptState::Settled {
        placed: None,
        started: None,
        at: now(1_500),
        outcome: Outcome::Lost,
    };
    attempt(job, number).with_state(state)
}

pub(super) fn ended(job: u64, number: u32) -> Attempt {
    let outcome = Outcome::Stopped { reason: StopReason::Budget };
    attempt(job, number).with_state(AttemptState::Ended {
        placed: None,
        started: None,
        at: now(1_500),
        outcome,
    })
}

pub(super) fn instance(id: u64) -> Instance {
    Instance {
        id: InstanceId(id),
        offer: offer(),
        shape: NodeShape { gpus: 4, cpu_milli: 32_000, ..NodeShape::default() },
        launch_price: Price::from_micros_per_hour(3_672_000),
        on_demand: Price::from_micros_per_hour(12_240_000),
        state: InstanceState::Registered { since: at(1_000) },
        coverage: Vec::new(),
        provider: None,
        token: None,
    }
}

pub(super) fn gone(id: u64) -> Instance {
    instance(id).end(at(5_000), EndedBy::Provider).unwrap()
}

pub(super) fn charge(instance: u64, sequence: u32, job: Option<u64>, from: i64) -> LedgerEntry {
    LedgerEntry {
        instance: InstanceId(instance),
        sequence,
        attempt: job.map(|job| AttemptId { job: JobId(job), number: 1 }),
        kind: LineKind::LostWork,
        offer: offer(),
        from: at(from),
        to: at(from + 60),
        price: Price::from_micros_per_hour(3_672_000),
        amount: Money::from_micros(1_000),
        on_demand_amount: Money::from_micros(4_000),
        method: "gpu-9-1-0.1/1".to_owned(),
        dimensions: map([("Team".to_owned(), "vision".to_owned())]),
        provider: None,
        category: Default::default(),
        gpu_millionths: 0,
        booked: None,
    }
}

pub(super) fn event(number: u64, job: u64, attempt: Option<u32>) -> Event {
    Event {
        number,
        job: JobId(job),
        attempt: attempt.map(|number| AttemptId { job: JobId(job), number }),
        at: at(1_000),
        kind: EventKind::Checkpointed,
        by: None,
        message: "step 50 of 200, $1.25".to_owned(),
    }
}

pub(super) fn record(key: &str, jobs: &[u64]) -> SubmissionRecord {
    SubmissionRecord {
        key: key.to_owned(),
        document_hash: "ab".repeat(32),
        jobs: jobs.iter().copied().map(JobId).collect(),
        at: at(1_000),
    }
}

pub(super) fn count(second: i64, machines: u32) -> Count {
    Count { market: offer().market, at: at(second), machines }
}

/// Machines were observed from the first of these times to the last.
pub(super) fn availability_update(counts: &[(i64, u32)]) -> AvailabilityUpdate {
    let counts: Vec<Count> = counts.iter().map(|(at, machines)| count(*at, *machines)).collect();
    let (from, until) = (counts.first().unwrap().at, counts.last().unwrap().at);
    let windows = vec![ObservationWindow { from, until }];
    AvailabilityUpdate { rewound: None, windows, counts, forgotten: Vec::new(), windows_from: None }
}

/// These prices of the offer's market were heard, to the last of these times.
pub(super) fn price_update(prices: &[(i64, i64)]) -> PriceUpdate {
    let MarketKey { zone, instance_type, capacity_type, .. } = offer().market;
    let key = PriceKey { zone, instance_type, capacity_type };
    let row = |(second, micros): &(i64, i64)| PriceRow {
        key: key.clone(),
        at: at(*second),
        price: Price::from_micros_per_hour(*micros),
    };
    let rows: Vec<PriceRow> = prices.iter().map(row).collect();
    let until = rows.last().unwrap().at;
    PriceUpdate { rewound: None, rows, until, forgotten: Vec::new() }
}

/// Commits changes as the next round of a new leader.
pub(super) async fn put(store: &Store, changes: Vec<Change>) -> Result<Epoch, StoreError> {
    let epoch = store.lead("test", at(1)).await?;
    let id = store.load().await?.last_round + 1;
    store.commit(&Round { epoch, id, changes: &changes }).await?;
    Ok(epoch)
}
