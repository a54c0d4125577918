//! Pools of a simulated cloud beside this machine, with the real programs: every job is done
//! once, and the ledger equals the account's own bill, whatever becomes of the scheduler.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use spotwise_store::{LedgerFilter, Store};
use spotwise_tests::{Scheduler, spotwise, text};

const KILLS: usize = 20;
const JOBS: usize = 200;
const LIMIT: Duration = Duration::from_secs(300);

const POOLS: &str = r#"version: 1
accounts:
  - name: "4711"
    quotas:
      - {region: us-east-1, family: G and VT, types: [g4dn., g5.], capacity: spot, vcpus: 64}
      - {region: us-east-1, family: G and VT, types: [g4dn., g5.], capacity: on-demand, vcpus: 64}
    simulated:
      seed: 11
      boot: 20s..1m
      registration: 10s..30s
      terminate: 20s
      lost_answers: 3 %
      never_registers: 2 %
      no_notice: 20 %
pools:
  - name: here
    kind: local
    access: {classes: [dev]}
  - name: east-a
    kind: simulated
    account: "4711"
    region: us-east-1
    types: [g4dn.]
    limits: {machines: 8}
    times: {boot: 1m, start: 20s, launch_timeout: 4m, registration_timeout: 5m, consistency: 30s, keep: 5m}
  - name: east-b
    kind: simulated
    account: "4711"
    region: us-east-1
    types: [g4dn., g5.]
    times: {boot: 1m, start: 20s, launch_timeout: 4m, registration_timeout: 5m, consistency: 30s, keep: 5m}
"#;

fn document(round: usize, jobs: usize, class: &str, lines: &Path) -> String {
    format!(
        "name: batch-{round}-{class}\n\
         command: [bash, -c, \"echo $SPOTWISE_JOB_ID >> {}; sleep 0.3\"]\n\
         class: {class}\nresources: {{gpus: 1, cpus: 1, memory: 1GB}}\n\
         work: {{duration: 1m}}\narray: {{size: {jobs}}}\ndeadline: 12h\n\
         retries: {{errors: 3}}\n",
        lines.display()
    )
}

/// What the ledger has for each machine of the account, by its provider's name.
fn booked(database: &Path) -> BTreeMap<String, i64> {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let store = Store::open(database).await.expect("its database");
        let entries = store.ledger(&LedgerFilter::default()).await.expect("its ledger");
        let mut booked = BTreeMap::new();
        for entry in entries {
            if let Some(name) = entry.provider {
                *booked.entry(name.as_str().to_owned()).or_default() += entry.amount.micros();
            }
        }
        booked
    })
}

#[test]
fn two_simulated_pools_and_this_machine_with_the_scheduler_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pools, lines) = (folder.path().join("pools.yaml"), folder.path().join("lines"));
    std::fs::write(&pools, POOLS).expect("the pools file");
    let pools = pools.display().to_string();
    let arguments = [
        "--pools",
        &pools,
        "--market",
        "synthetic",
        "--speed",
        "30",
        "--simulate-accelerators",
        "true",
        "--cpus",
        "4",
    ];
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("its folder");
    let mut scheduler = Scheduler::start(&data, &arguments).expect("it starts");
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for round in 0..KILLS {
        let batch = JOBS / KILLS;
        for (class, jobs) in [("inference", batch - 1), ("dev", 1)] {
            let document = document(round, jobs, class, &lines);
            scheduler.submit(&document, &format!("{round}-{class}")).expect("it is accepted");
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(300..2_500)));
        scheduler.kill();
        scheduler.restart().unwrap_or_else(|error| panic!("kill {round}: {error:#}"));
    }
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    let undone: Vec<_> = states.iter().filter(|(_, state)| *state != "succeeded").collect();
    assert!(undone.is_empty(), "{undone:?}");
    assert_eq!(states.len(), JOBS);
    let seen = |arguments: &[&str]| {
        let output = spotwise().args(arguments).env("SPOTWISE_SERVER", &scheduler.url).output();
        text(&output.expect("it runs"))
    };
    println!("{}\n{}", seen(&["pools"]), seen(&["machines", "--all"]));

    // Every machine is given back and settled.
    let until = Instant::now() + LIMIT;
    while seen(&["machines", "--all", "-o", "json"]).trim() != "[]" {
        assert!(Instant::now() < until, "left: {}", seen(&["machines", "--all"]));
        std::thread::sleep(Duration::from_millis(500));
    }
    scheduler.kill();
    let bill = std::fs::read(data.join("clouds/4711-us-east-1.bill.json")).expect("a bill");
    let bill: Vec<Value> = serde_json::from_slice(&bill).expect("JSON");
    let mut booked = booked(&data.join("spotwise.db"));
    let mut total = 0;
    for line in &bill {
        let name = line["machine"].as_str().expect("a name");
        let owed = line["amount_micros"].as_i64().expect("micro-dollars");
        assert!(!line["ended_by"].is_null(), "{name} runs on");
        assert_eq!(booked.remove(name).unwrap_or(0), owed, "{line}");
        total += owed;
    }
    assert!(booked.is_empty(), "booked and never billed: {booked:?}");
    assert!(bill.len() > 2, "the account was used: {bill:?}");
    let ran = std::fs::read_to_string(&lines).expect("lines").lines().count();
    assert!(ran >= JOBS, "{ran} starts");
    println!(
        "scheduler killed {KILLS} times: {JOBS} jobs done, {ran} starts, {} machines of the account, \
         ${:.6} booked and billed alike",
        bill.len(),
        total as f64 / 1e6
    );
}

const SLOW_STARTS: &str = r#"version: 1
accounts:
  - name: "4711"
    simulated: {seed: 3, boot: 20s..1m, registration: 10s..30s, terminate: 20s}
pools:
  - name: east
    kind: simulated
    account: "4711"
    region: us-east-1
    types: [c7i.large]
    limits: {machines: 2}
    times: {boot: 1m, start: 40s, start_timeout: 5m, launch_timeout: 4m, registration_timeout: 5m, consistency: 30s, keep: 5m}
"#;

/// An array whose workers go on from element to element has one start a place, not one an
/// element, also when the scheduler is killed; what was started so is as much a job of its own
/// as any other.
#[test]
fn workers_of_an_array_go_on_with_its_next_element() {
    const ELEMENTS: usize = 60;
    let folder = tempfile::tempdir().expect("a folder");
    let (pools, lines) = (folder.path().join("pools.yaml"), folder.path().join("lines"));
    std::fs::write(&pools, SLOW_STARTS).expect("the pools file");
    let pools = pools.display().to_string();
    let arguments = ["--pools", &pools, "--market", "synthetic", "--speed", "20"];
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("its folder");
    let mut scheduler = Scheduler::start(&data, &arguments).expect("it starts");
    // The parent of a command is its worker.
    let document = format!(
        "name: many\ncommand: [bash, -c, \"echo $SPOTWISE_JOB_ID $PPID $PWD >> {}; sleep 0.05\"]\n\
         resources: {{cpus: 1, memory: 256MB}}\nwork: {{duration: 1s}}\ndeadline: 12h\n\
         array: {{size: {ELEMENTS}, reuse_workers: true}}\n",
        lines.display()
    );
    scheduler.submit(&document, "many").expect("it is accepted");
    let ran = || std::fs::read_to_string(&lines).unwrap_or_default();
    let begun = Instant::now();
    while ran().lines().count() < ELEMENTS / 2 {
        assert!(begun.elapsed() < LIMIT, "{}", scheduler.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    scheduler.kill();
    scheduler.restart().expect("it starts again");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    let ran = ran();
    let column =
        |n: usize| ran.lines().filter_map(|line| line.split(' ').nth(n)).collect::<Vec<_>>();
    let distinct =
        |n: usize| column(n).into_iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!((column(0).len(), distinct(0), distinct(2)), (ELEMENTS, ELEMENTS, ELEMENTS));
    // Two machines of two CPUs have four places; a restart may cost each a start more.
    let workers = distinct(1);
    assert!(workers <= 12, "{workers} workers for {ELEMENTS} elements");
    println!("{ELEMENTS} elements with {workers} starts of a worker");
}
