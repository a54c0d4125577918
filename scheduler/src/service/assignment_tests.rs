use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::id::{Accelerator, InstanceType, PoolName, Zone};
use spotwise_model::job::ArrayPlace;
use spotwise_model::plan::{PlacementReason, PlacementRule, PolicyCost};
use spotwise_model::resources::GpuSlot;
use spotwise_model::sharing::SoftSharing;
use spotwise_model::spec::{Checkpoint, Format, SecretRef, parse};
use spotwise_model::{Attempt, AttemptState, JobId, JobState, Money, Now, OfferKey, Share};

use super::*;

fn assigned(nodes: u32) -> Assigned {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let now = Now { market: at, wall: at };
    let text = b"name: train\ncommand: [python, train.py]\nenv: {MODE: fast}\n";
    let mut spec = parse(text, Format::Yaml).unwrap().jobs.remove(0);
    spec.resources.nodes = nodes;
    spec.secrets.insert("TOKEN".to_owned(), SecretRef::Env { name: "HUB".to_owned() });
    spec.checkpoint = Some(Checkpoint {
        dir: None,
        interval: Duration::from_secs(900),
        grace: Duration::from_secs(30),
        resumable: true,
        keep: 2,
        bytes: None,
        signal: Default::default(),
    });
    let id = AttemptId { job: JobId(17), number: 2 };
    let job = Job {
        group: JobId(14),
        array: Some(ArrayPlace {
            first: JobId(14),
            index: 3,
            size: 8,
            max_parallel: None,
            reuse_workers: false,
        }),
        attempts: 2,
        interruptions: 1,
        state: JobState::Active { since: at, attempt: id },
        ..Job::new(JobId(17), Arc::new(spec), at, at)
    };
    let attempt = Attempt {
        id,
        instances: Vec::new(),
        offer: OfferKey::recorded(
            PoolName::new("local"),
            Zone::new("us-east-1a"),
            InstanceType::new("p3.2xlarge"),
            CapacityType::Spot,
        ),
        share: Share { gpus: 8, ..Share::default() },
        slots: Vec::new(),
        restore: None,
        why: PlacementReason {
            rule: PlacementRule::Cheapest,
            expected_cost: Money::ZERO,
            finish: at,
            slack: Duration::ZERO,
            policy_cost: PolicyCost::default(),
            transfer: Money::ZERO,
            alternatives: Vec::new(),
        },
        hold: Money::ZERO,
        state: AttemptState::Planned { at: now },
        stop: None,
        cutoff: None,
        progress: Progress::default(),
        checkpoint: None,
        nodes: Vec::new(),
    };
    let addresses = (0..nodes).map(|n| format!("10.0.0.{n}")).collect();
    let (restore, newest_saved, money_lasts) = (None, false, None);
    Assigned { job, attempt, restore, newest_saved, addresses, money_lasts }
}

/// A job that has ended after this many attempts.
pub(in crate::service) fn ended_job(id: &str, attempts: u32) -> Job {
    let job = assigned(1).job;
    let (id, at) = (id.parse().unwrap(), job.submitted);
    Job { id, group: id, array: None, attempts, state: JobState::Succeeded { at }, ..job }
}

fn config() -> ServeConfig {
    ServeConfig::new(PathBuf::from("/data"), PathBuf::from("spotwise"))
}

#[test]
fn a_job_finds_its_place_in_its_environment() {
    let given = assignment(&assigned(1), 0, &config(), "sw-1");
    let env = |name: &str| given.env.get(name).map(String::as_str);
    assert_eq!(env("SPOTWISE_JOB_NAME"), Some("train[3]"));
    assert_eq!(env("SPOTWISE_ATTEMPT_ID"), Some("j17.2"));
    assert_eq!(env("SPOTWISE_ATTEMPT"), Some("2"));
    assert_eq!((env("SPOTWISE_ARRAY_INDEX"), env("SPOTWISE_ARRAY_SIZE")), (Some("3"), Some("8")));
    assert_eq!(env("SPOTWISE_IS_SPOT"), Some("true"));
    assert_eq!(env("SPOTWISE_SHARED_DIR"), Some("/data/shared/j14"));
    assert_eq!(env("SPOTWISE_INSTALL"), Some("sw-1"));
    assert_eq!(env("MODE"), Some("fast"));
    assert_eq!(env("MASTER_ADDR"), None, "no gang");
    assert_eq!(given.secrets["TOKEN"], "env:HUB");
    assert_eq!(given.checkpoint.unwrap().store, "file:///data/checkpoints/j17");
    assert_eq!(given.restore.unwrap().attempt, "", "a fresh start");
    assert_eq!(given.grace_ms, 30_000);
}

#[test]
fn a_gang_gets_what_torchrun_reads() {
    let given = assignment(&assigned(2), 1, &config(), "sw-1");
    for prefix in ["", "PET_"] {
        let env = |name: &str| given.env[&format!("{prefix}{name}")].as_str();
        assert_eq!((env("MASTER_ADDR"), env("NODE_RANK"), env("NNODES")), ("10.0.0.0", "1", "2"));
        assert_eq!(env("NPROC_PER_NODE"), "8");
    }
    assert!(!given.env.contains_key("LOCAL_RANK"));
    let first = assignment(&assigned(2), 0, &config(), "sw-1");
    assert_eq!(first.env["MASTER_PORT"], given.env["MASTER_PORT"]);
}

#[test]
fn a_job_that_shares_by_mps_is_told_its_limits() {
    let limits = |sharing: SoftSharing, accelerator| {
        let mut assigned = assigned(1);
        let shared = Some(sharing.of(Some(&Accelerator::new(accelerator))));
        assigned.attempt.share = Share { shared, ..Share::default() };
        let spec = Arc::make_mut(&mut assigned.job.spec);
        spec.env.insert("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT".to_owned(), "0=99G".to_owned());
        let env = assignment(&assigned, 0, &config(), "sw-1").env;
        let of = |name: &str| env.get(name).cloned();
        (of("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"), of("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"))
    };
    let mps = |memory_mib| SoftSharing::Mps { memory_mib };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(limits(mps(8_192), "T4"), (text("0=8192MB"), text("50")));
    assert_eq!(limits(mps(8_192), "L4"), (text("0=8192MB"), text("36")), "rounded up");
    assert_eq!(limits(mps(8_192), "X9"), (text("0=8192MB"), None), "of an unknown whole");
    let turns = SoftSharing::TimeSlicing { jobs: 4 };
    assert_eq!(limits(turns, "T4"), (text("0=99G"), None), "only what its owner set");
    let alone = assignment(&assigned(1), 0, &config(), "sw-1").env;
    assert!(!alone.keys().any(|name| name.starts_with("CUDA_MPS")));
}

#[test]
fn each_node_is_told_where_its_part_of_a_gpu_is() {
    let mut assigned = assigned(2);
    assigned.attempt.slots = vec![GpuSlot { gpu: 0, start: 4 }, GpuSlot { gpu: 3, start: 0 }];
    let slot = |rank| {
        let env = assignment(&assigned, rank, &config(), "sw-1").env;
        env.get("SPOTWISE_GPU_SEAT").cloned()
    };
    assert_eq!([slot(0), slot(1)].map(Option::unwrap), ["0.4", "3.0"]);
    assigned.attempt.slots.clear();
    let env = assignment(&assigned, 0, &config(), "sw-1").env;
    assert!(!env.contains_key("SPOTWISE_GPU_SEAT"), "it takes no part");
}

#[test]
fn checkpoints_come_in_market_time_but_not_without_end() {
    let interval = |speed| {
        let mut config = config();
        config.control.speed = speed;
        assignment(&assigned(1), 0, &config, "sw-1").checkpoint.unwrap().interval_ms
    };
    assert_eq!(interval(1), 900_000);
    assert_eq!(interval(600), 1_500);
    assert_eq!(interval(100_000), 500);
}

#[test]
fn an_address_may_name_its_port() {
    let id = AttemptId { job: JobId(17), number: 2 };
    assert_eq!(master("node-0:29500", id), ("node-0".to_owned(), 29_500));
    assert_eq!(master("[fd00::1]:29500", id), ("fd00::1".to_owned(), 29_500));
    for bare in ["10.0.0.1", "fd00::1", "node-0", ""] {
        let (host, port) = master(bare, id);
        assert_eq!(host, bare);
        assert!((FIRST_PORT..FIRST_PORT + PORTS).contains(&port));
    }
}
