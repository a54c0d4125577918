//! The budget of the job ends while nobody leads: the worker knows when.

mod support;

use support::{Bench, eventually, is_alive};

const SAVES: &str = "trap 'echo s > $SPOTWISE_CHECKPOINT_DIR/model; exit 75' TERM
    echo pid $$ ready; while :; do sleep 0.05; done";

fn pid(bench: &Bench) -> String {
    bench.log().split_whitespace().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_worker_that_nobody_tells_of_more_money_stops_saves_and_says_why() {
    let bench = Bench::new(SAVES).await;
    bench.change(|it| it.money_lasts_ms = Some(600_000));
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    let pid = pid(&bench);
    // The last that it hears; its lease lasts far longer.
    bench.fake.with(|it| it.money_lasts_ms = Some(1_500));
    let heard = bench.fake.with(|it| it.heartbeats);
    bench.until("an answer", |it| it.heartbeats > heard).await;
    bench.fake.with(|it| it.away = true);
    eventually("the end of the command", || !is_alive(&pid)).await;
    eventually("the spooled end", || worker.folder.join("exit.json").exists()).await;
    bench.fake.with(|it| it.away = false);
    assert_eq!(worker.ended().await, 0);
    assert!(bench.exits().is_empty(), "its command did not end by itself: {:?}", bench.exits());
    let said = bench.fake.with(|it| it.reports.clone());
    let over: Vec<_> = said.iter().filter_map(|it| it.out_of_money.clone()).collect();
    let [over] = over.try_into().expect("it is said once");
    assert_eq!(over.code, 75);
    assert_eq!(bench.checkpoints().len(), 1, "what it saved in its grace is committed");
}

#[tokio::test]
async fn a_worker_that_is_told_of_more_money_goes_on() {
    let bench = Bench::new("echo pid $$ ready; sleep 3; echo done").await;
    // Less than the command takes; every answer says that there is more.
    bench.change(|it| it.money_lasts_ms = Some(2_000));
    bench.fake.with(|it| it.money_lasts_ms = Some(600_000));
    let mut worker = bench.worker("j17.1");
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.exit().code, 0);
    assert!(bench.log().ends_with("done\n"));
}

#[tokio::test]
async fn a_worker_without_money_never_starts() {
    let bench = Bench::new("echo never").await;
    bench.change(|it| it.money_lasts_ms = Some(0));
    let mut worker = bench.worker("j17.1");
    assert_eq!(worker.ended().await, 0);
    assert!(bench.started().is_empty());
    let said = bench.fake.with(|it| it.reports.clone());
    assert!(said.iter().any(|it| it.out_of_money.is_some()), "{said:?}");
}
