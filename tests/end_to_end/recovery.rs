//! How long it takes to go on after an interruption, phase by phase, on a simulated cloud with
//! the real programs: two zones that have capacity in turns, and jobs that save what they do.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_control::core::{Event, EventKind};
use spotwise_model::{Attempt, JobId, Now, Outcome};
use spotwise_store::Store;
use spotwise_tests::Scheduler;

const LIMIT: Duration = Duration::from_secs(300);
const SPEED: f64 = 30.0;
const JOBS: usize = 3;
/// Seconds of market time for which one of the zones has capacity.
const TURN: u32 = 600;
const STEPS: usize = 200;

const POOLS: &str = r#"version: 1
accounts:
  - name: "4711"
    simulated: {seed: 5, boot: 20s..40s, registration: 10s..20s, terminate: 20s}
pools:
  - name: east
    kind: simulated
    account: "4711"
    region: us-east-1
    types: [g4dn.xlarge]
    capacity: [spot]
    times: {boot: 1m, start: 20s, launch_timeout: 4m, registration_timeout: 5m, consistency: 30s, keep: 5m}
"#;

/// Each zone has four machines while the other has none.
fn market() -> String {
    let mut table = "seconds,zone,instance_type,available,spot_usd_per_hour\n".to_owned();
    for turn in 0..60 {
        for (zone, parity) in [("us-east-1a", 0), ("us-east-1b", 1)] {
            let machines = if turn % 2 == parity { 4 } else { 0 };
            table += &format!("{},{zone},g4dn.xlarge,{machines},0.15\n", turn * TURN);
        }
    }
    table
}

/// A step in a fifth of a second, saved each time; the first of an attempt is told.
fn trainer(lines: &Path) -> String {
    const TRAINER: &str = "name: trainer\nclass: training\ndeadline: 48h\nretries: {errors: 2}\n\
        work: {steps: STEPS, steps_per_hour: 600}\nresources: {gpus: 1, cpus: 1, memory: 64MB}\n\
        checkpoint: {interval: 60s, grace: 1s}\narray: {size: JOBS}\n\
        command: [bash, -c, 'n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); told=; \
        while [ $n -lt STEPS ]; do sleep 0.2; n=$((n+1)); echo $n > $SPOTWISE_CHECKPOINT_DIR/.tmp-n; \
        mv $SPOTWISE_CHECKPOINT_DIR/.tmp-n $SPOTWISE_CHECKPOINT_DIR/n; \
        [ -n \"$told\" ] || echo $SPOTWISE_ATTEMPT_ID $n $(date +%s.%N) >> LINES; told=1; \
        echo \"{\\\"step\\\":$n,\\\"total\\\":STEPS}\" >> $SPOTWISE_PROGRESS_FILE; done']\n";
    TRAINER
        .replace("STEPS", &STEPS.to_string())
        .replace("JOBS", &JOBS.to_string())
        .replace("LINES", &lines.display().to_string())
}

/// When each attempt has done its first step, by wall clock, and which that was.
fn first_steps(lines: &Path) -> BTreeMap<String, (usize, f64)> {
    let text = std::fs::read_to_string(lines).expect("lines");
    let of_line = |line: &str| {
        let mut words = line.split(' ');
        let attempt = words.next()?.to_owned();
        Some((attempt, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
    };
    text.lines().filter_map(of_line).collect()
}

const PHASES: [&str; 5] = ["drain", "queue", "boot and worker", "restore", "first step"];

/// Seconds of market time from the notice of one attempt to the first step of the next.
fn phases(
    (over, next): (&Attempt, &Attempt),
    events: &[Event],
    stepped: f64,
) -> Option<[f64; PHASES.len()]> {
    let of_it = |event: &&Event| event.kind == EventKind::Noticed && event.attempt == Some(over.id);
    let noticed = events.iter().find(of_it)?.at;
    let ended = over.state.ended()?.market;
    let placed = next.state.placed()?.market;
    let node = next.nodes.first()?;
    let (registered, started) = (node.registered?.market, node.started?);
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    Some([
        seconds(noticed, ended),
        seconds(ended, placed),
        seconds(placed, registered),
        seconds(registered, started.market),
        (stepped - wall(started)) * SPEED,
    ])
}

fn wall(now: Now) -> f64 {
    now.wall.as_nanosecond() as f64 / 1e9
}

fn history(database: &Path) -> Vec<(Vec<Attempt>, Vec<Event>)> {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let store = Store::open(database).await.expect("its database");
        let mut all = Vec::new();
        for id in (1..=JOBS as u64).map(JobId) {
            let attempts = store.attempts(id).await.expect("its attempts");
            all.push((attempts, store.events(Some(id), 0, 10_000).await.expect("its events")));
        }
        all
    })
}

#[test]
fn an_interrupted_job_goes_on_in_the_other_zone_and_each_phase_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (pools, market) = (file("pools.yaml", POOLS), file("market.csv", &market()));
    let lines = folder.path().join("lines");
    let speed = SPEED.to_string();
    let arguments = ["--pools", &pools, "--market", &market, "--speed", &speed];
    let start = ["--market-start", "2026-01-05T00:00:00Z", "--simulate-accelerators", "true"];
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("its folder");
    let arguments = [&arguments[..], &start].concat();
    let mut scheduler = Scheduler::start(&data, &arguments).expect("it starts");
    scheduler.submit(&trainer(&lines), "trainer").expect("it is accepted");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    scheduler.kill();

    let stepped = first_steps(&lines);
    let mut recoveries = Vec::new();
    for (attempts, events) in history(&data.join("spotwise.db")) {
        for pair in attempts.windows(2) {
            let [over, next] = pair else { continue };
            assert_eq!(over.state.outcome(), Some(&Outcome::Interrupted), "{over:?}");
            let Some((step, at)) = stepped.get(&next.id.to_string()) else { continue };
            assert!(*step > 1, "{} began anew", next.id);
            recoveries.extend(phases((over, next), &events, *at));
        }
    }
    assert!(recoveries.len() >= JOBS, "each was interrupted: {recoveries:?}");
    for (at, phase) in PHASES.iter().enumerate() {
        let mut spans: Vec<f64> = recoveries.iter().map(|recovery| recovery[at]).collect();
        spans.sort_by(f64::total_cmp);
        let of = |share: f64| spans[((spans.len() - 1) as f64 * share) as usize];
        println!("{phase:16} p50 {:6.1} s   max {:6.1} s", of(0.5), of(1.0));
        assert!(spans.iter().all(|span| *span >= -SPEED), "{phase}: {spans:?}");
    }
    println!("{} recoveries, market time at {SPEED}x", recoveries.len());
}
