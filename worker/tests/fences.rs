//! At most one command of a job at any time: leases, successors, restarts.

mod support;

use support::{Bench, eventually, is_alive};

const FOREVER: &str = "trap '' TERM; echo pid $$ ready; while :; do sleep 0.1; done";

fn pid(bench: &Bench) -> String {
    bench.log().split_whitespace().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_lost_lease_ends_the_command_and_saves_nothing() {
    let bench = Bench::new(
        "trap 'exit 75' TERM; echo s > $SPOTWISE_CHECKPOINT_DIR/model; echo pid $$ ready
         while :; do sleep 0.05; done",
    )
    .await;
    bench.change(|it| {
        it.lease_ms = 1_500;
        it.grace_ms = 500;
    });
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    bench.fake.with(|it| it.away = true);
    let pid = pid(&bench);
    eventually("the end of the command", || !is_alive(&pid)).await;
    eventually("the spooled end", || worker.folder.join("exit.json").exists()).await;
    assert!(!bench.dir.path().join("store/j17.1-000001").exists(), "nothing is committed");
    bench.fake.with(|it| it.away = false);
    worker.ended().await;
    assert_eq!(bench.exit().code, 75);
    assert!(bench.checkpoints().is_empty());
}

/// The job would pay an error for what its worker did: the attempt is lost.
#[tokio::test]
async fn a_command_killed_for_a_lost_lease_is_not_said_to_have_failed() {
    let bench = Bench::new(FOREVER).await;
    bench.change(|it| {
        it.lease_ms = 1_500;
        it.grace_ms = 200;
    });
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    let pid = pid(&bench);
    bench.fake.with(|it| it.away = true);
    eventually("the end of the command", || !is_alive(&pid)).await;
    eventually("the spooled end", || worker.folder.join("exit.json").exists()).await;
    bench.fake.with(|it| it.away = false);
    assert_eq!(worker.ended().await, 0);
    assert!(bench.exits().is_empty(), "{:?}", bench.exits());
    // Nor does a worker that is started again say so, or start anything.
    assert_eq!(bench.worker("j17.1").ended().await, 0);
    assert!(bench.exits().is_empty(), "{:?}", bench.exits());
    assert_eq!(bench.started().len(), 1);
}

#[tokio::test]
async fn a_superseded_attempt_is_killed_at_once() {
    let bench = Bench::new(FOREVER).await;
    bench.change(|it| it.grace_ms = 600_000);
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    let pid = pid(&bench);
    bench.fake.with(|it| it.superseded = true);
    assert_eq!(worker.ended().await, 0);
    assert!(!is_alive(&pid));
    assert!(bench.exits().is_empty(), "nobody listens");
}

#[tokio::test]
async fn superseded_before_the_start_never_starts() {
    let bench = Bench::new("echo never").await;
    bench.fake.with(|it| it.superseded = true);
    let mut worker = bench.worker("j17.1");
    assert_eq!(worker.ended().await, 0);
    assert!(!worker.folder.join("started").exists());
}

#[tokio::test]
async fn a_second_worker_of_the_same_attempt_leaves_at_once() {
    let bench = Bench::new(FOREVER).await;
    let _first = bench.worker("j17.1");
    bench.until_logged("ready").await;
    assert_eq!(bench.worker("j17.1").ended().await, 0);
    assert_eq!(bench.started().len(), 1);
    assert!(bench.exits().is_empty(), "the first is not disturbed");
}

#[tokio::test]
async fn the_death_of_the_worker_kills_the_command_and_a_restart_starts_nothing() {
    let bench =
        Bench::new("setsid sleep 600 & echo pid $$ $! ready; while :; do sleep 0.1; done").await;
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    let command = pid(&bench);
    let escaped = bench.log().split_whitespace().nth(2).unwrap().to_owned();
    worker.kill();
    eventually("the end of the command", || !is_alive(&command)).await;

    let mut second = bench.worker("j17.1");
    assert_eq!(second.ended().await, 0);
    assert!(bench.start_failed().contains("the worker was restarted"));
    assert_eq!(bench.started().len(), 1);
    eventually("the end of what escaped", || !is_alive(&escaped)).await;
}

#[tokio::test]
async fn the_last_words_survive_the_death_of_the_worker() {
    let bench = Bench::new("echo words; exit 4").await;
    let mut worker = bench.worker("j17.1");
    bench.until("registered", |script| script.registers > 0).await;
    bench.fake.with(|it| it.away = true);
    eventually("the spooled end", || worker.folder.join("exit.json").exists()).await;
    worker.kill();
    bench.fake.with(|it| {
        it.away = false;
        it.reports.clear();
        it.log.clear();
    });
    assert_eq!(bench.worker("j17.1").ended().await, 0);
    assert_eq!(bench.exit().code, 4);
    assert_eq!(bench.log(), "words\n");
}

#[tokio::test]
async fn a_worker_that_nobody_hears_leaves_when_told() {
    let bench = Bench::new("trap 'exit 75' TERM; echo up; while :; do sleep 0.05; done").await;
    bench.change(|it| {
        it.lease_ms = 500;
        it.grace_ms = 500;
    });
    let mut worker = bench.worker("j17.1");
    bench.until_logged("up").await;
    bench.fake.with(|it| it.away = true);
    eventually("the spooled end", || worker.folder.join("exit.json").exists()).await;
    assert!(worker.is_running(), "it goes on trying to be heard");
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(worker.ended().await, 0);
    assert!(worker.folder.join("exit.json").exists(), "its final report is kept");
}
