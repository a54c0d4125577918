//! The scheduler is away, dies, or hands over to another one.

#![allow(clippy::print_stdout)] // Figures, and what was skipped and why.

mod support;

use std::fs;

use spotwise_api::v1::ReportRequest;
use support::{Bench, Fake, Server, Worker, anywhere, eventually};

/// A second scheduler with the same assignment, which has heard nothing yet.
fn another(bench: &Bench) -> (Fake, Server) {
    let fake = Fake::default();
    let assignment = bench.fake.with(|it| it.assignment.clone());
    fake.with(|it| it.assignment = assignment);
    let server = Server::start(&fake, anywhere());
    (fake, server)
}

/// What reports say, in the order in which they came.
fn words(reports: &[ReportRequest]) -> Vec<String> {
    let word = |it: &ReportRequest| match (&it.started, &it.checkpoint, &it.exited) {
        (Some(_), None, None) => "started".to_owned(),
        (None, Some(checkpoint), None) => format!("checkpoint {}", checkpoint.sequence),
        (None, None, Some(exited)) => format!("exited {}", exited.code),
        _ => panic!("{it:?}"),
    };
    reports.iter().map(word).collect()
}

fn go(worker: &Worker, name: &str) {
    fs::write(worker.folder.join("work").join(name), "").unwrap();
}

const WAIT: &str = "wait_for() { while [ ! -e $1 ]; do sleep 0.02; done; }
    trap 'echo told to end' TERM
    save() { echo $1 > $SPOTWISE_CHECKPOINT_DIR/n; }";

#[tokio::test]
async fn a_short_outage_changes_nothing_and_loses_no_output() {
    let bench = Bench::new(&format!("{WAIT}; echo before; wait_for go; echo after")).await;
    let mut worker = bench.worker("j17.1");
    bench.until_logged("before").await;
    bench.fake.with(|it| it.away = true);
    go(&worker, "go");
    eventually("the spooled end", || worker.folder.join("exit.json").exists()).await;
    assert!(worker.is_running(), "it waits to be heard");
    bench.fake.with(|it| it.away = false);
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.log(), "before\nafter\n");
    assert_eq!(bench.exit().code, 0);
}

/// The scheduler's process is gone and comes back at the same address. What the
/// command prints and saves meanwhile waits on disk.
#[tokio::test]
async fn an_outage_shorter_than_the_lease_loses_nothing_and_takes_little_memory() {
    let mut bench = Bench::new(&format!(
        "{WAIT}; echo before; wait_for away
         i=0; while [ $i -lt 150 ]; do head -c 100000 /dev/zero | tr '\\0' x; echo \" $i\"; i=$((i+1)); done
         for n in 1 22 333; do save $n; until [ -e $STORE/j17.1-00000${{#n}}/manifest.json ]; do sleep 0.02; done; done
         echo after; : > printed; wait_for go"
    ))
    .await;
    let store = bench.dir.path().join("store").display().to_string();
    bench.change(|it| {
        it.env.insert("STORE".to_owned(), store);
        let checkpoint = it.checkpoint.as_mut().unwrap();
        (checkpoint.interval_ms, checkpoint.keep) = (100, 3);
    });
    let mut worker = bench.worker("j17.1");
    bench.until_logged("before").await;
    let address = bench.server.die();
    let heard = bench.fake.with(|it| it.log.len());
    go(&worker, "away");
    eventually("all is printed", || worker.folder.join("work/printed").exists()).await;
    let peak = worker.peak_memory();
    println!("peak memory: {} MiB", peak >> 20);
    assert!(peak < 64 << 20, "{peak}");
    assert_eq!(bench.fake.with(|it| it.log.len()), heard, "nobody was there");

    bench.server = Server::start(&bench.fake, address);
    go(&worker, "go");
    assert_eq!(worker.ended().await, 0);
    let expected = ["started", "checkpoint 1", "checkpoint 2", "checkpoint 3", "exited 0"];
    assert_eq!(bench.fake.with(|it| words(&it.reports)), expected);
    let log = bench.log();
    let lines: Vec<&str> = log.lines().filter_map(|line| line.rsplit_once(' ')?.1.into()).collect();
    let numbers: Vec<String> = (0..150).map(|n| n.to_string()).collect();
    assert_eq!(lines, numbers, "in order, and nobody was told to end");
    assert_eq!(log.matches('x').count(), 150 * 100_000);
    assert!(log.starts_with("before\n") && log.ends_with("\nafter\n"));
}

#[tokio::test]
async fn a_worker_whose_scheduler_dies_goes_on_with_the_second() {
    let mut bench = Bench::new(&format!(
        "{WAIT}; echo one; wait_for first; save 1; echo two; wait_for second; save 22; echo three; exit 7"
    ))
    .await;
    bench.change(|it| it.checkpoint.as_mut().unwrap().interval_ms = 100);
    let (second, server) = another(&bench);
    bench.url = format!("{},{}", bench.url, server.url());
    let mut worker = bench.worker("j17.1");
    bench.until_logged("one").await;
    go(&worker, "first");
    bench.until("a checkpoint", |it| it.reports.iter().any(|it| it.checkpoint.is_some())).await;
    bench.server.die();
    assert_eq!(bench.fake.with(|it| words(&it.reports)), ["started", "checkpoint 1"]);

    eventually("a heartbeat at the second", || second.with(|it| it.heartbeats > 0)).await;
    go(&worker, "second");
    assert_eq!(worker.ended().await, 0);
    let reports = second.with(|it| words(&it.reports));
    // The answer to the first checkpoint may have died with the first.
    let reports: Vec<&str> = reports.iter().map(String::as_str).collect();
    assert!(
        matches!(
            reports[..],
            ["checkpoint 2", "exited 7"] | ["checkpoint 1", "checkpoint 2", "exited 7"]
        ),
        "{reports:?}"
    );
    let log = second.with(|it| String::from_utf8_lossy(&it.log).into_owned());
    assert_eq!(log, "one\ntwo\nthree\n", "all of it, though the first had some");
    assert_eq!(second.with(|it| it.registers), 0, "the command runs already");
}

#[tokio::test]
async fn a_standby_sends_the_worker_on_and_may_lead_later() {
    let mut bench =
        Bench::new(&format!("{WAIT}; echo one; wait_for first; echo two; exit 6")).await;
    let (leader, server) = another(&bench);
    bench.fake.with(|it| it.away = true);
    bench.url = format!("{},{}", bench.url, server.url());
    let mut worker = bench.worker("j17.1");
    eventually("output at the leader", || leader.with(|it| it.log == b"one\n")).await;
    assert_eq!(bench.fake.with(|it| it.registers + it.heartbeats), 0, "the standby refuses");

    // They change places.
    leader.with(|it| it.away = true);
    bench.fake.with(|it| it.away = false);
    bench.until("a heartbeat at the new leader", |it| it.heartbeats > 0).await;
    go(&worker, "first");
    assert_eq!(worker.ended().await, 0);
    assert_eq!(leader.with(|it| words(&it.reports)), ["started"]);
    assert_eq!(bench.fake.with(|it| words(&it.reports)), ["exited 6"]);
    assert_eq!(bench.log(), "one\ntwo\n");
}

/// Hours without a scheduler: what the worker shows is good no more, its key still is.
#[tokio::test]
async fn an_expired_credential_is_renewed_with_the_key() {
    let bench = Bench::new("echo ready; until [ -e go ]; do sleep 0.05; done; echo done").await;
    bench.fake.with(|script| script.expire("first"));
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    bench.fake.with(|script| script.expire("second"));
    let beats = bench.fake.with(|script| script.heartbeats);
    bench.until("another heartbeat", |script| script.heartbeats > beats + 1).await;
    std::fs::write(worker.folder.join("work/go"), "").unwrap();
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.exit().code, 0);
    assert!(bench.log().ends_with("ready\ndone\n"), "{}", bench.log());
    bench.fake.with(|script| {
        assert!(script.renewals >= 1);
        assert!(script.keys.iter().all(|key| key.len() == 64 && *key == script.keys[0]));
    });
}
