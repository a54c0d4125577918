//! Checkpoints from one attempt to the next, with the real program.

mod support;

use spotwise_api::v1::CheckpointName;
use support::Bench;

const COUNT: &str = "n=$(cat \"${SPOTWISE_RESUME_FROM:-/none}/n\" 2>/dev/null || echo 0)
    echo from $n; n=$((n+1)); echo $n > $SPOTWISE_CHECKPOINT_DIR/n; exit 75";

async fn attempt(bench: &Bench, attempt: &str, restore: Option<(&str, u32)>) {
    bench.fake.with(|it| {
        it.reports.clear();
        it.log.clear();
    });
    let restore =
        restore.map(|(attempt, sequence)| CheckpointName { attempt: attempt.to_owned(), sequence });
    bench.change(|it| it.restore = restore);
    assert_eq!(bench.worker(attempt).ended().await, 0);
    assert_eq!(bench.exit().code, 75, "{}", bench.log());
}

#[tokio::test]
async fn an_attempt_goes_on_where_the_one_before_was_saved() {
    let bench = Bench::new(COUNT).await;
    attempt(&bench, "j17.1", None).await;
    assert_eq!(bench.log(), "from 0\n");
    assert_eq!(bench.checkpoints()[0].sequence, 1);
    attempt(&bench, "j17.2", Some(("j17.1", 1))).await;
    assert_eq!(bench.log(), "from 1\n");
    let started = bench.started().remove(0);
    assert_eq!(started.restored.unwrap().attempt, "j17.1");
    assert_eq!(started.rejected_checkpoints, 0);
}

#[tokio::test]
async fn a_torn_checkpoint_is_rejected_and_counted() {
    let bench = Bench::new(COUNT).await;
    attempt(&bench, "j17.1", None).await;
    attempt(&bench, "j17.2", Some(("j17.1", 1))).await;
    std::fs::write(bench.dir.path().join("store/j17.2-000001/00000.shard"), "9\n").unwrap();
    attempt(&bench, "j17.3", Some(("j17.2", 1))).await;
    assert_eq!(bench.log(), "from 1\n", "the one before");
    let started = bench.started().remove(0);
    assert_eq!(started.restored.unwrap().attempt, "j17.1");
    assert_eq!(started.rejected_checkpoints, 1);
}

#[tokio::test]
async fn checkpoints_are_committed_while_the_command_runs() {
    let bench = Bench::new(
        "echo '{\"step\":3}' >> $SPOTWISE_PROGRESS_FILE
         while [ ! -e $SPOTWISE_INPUT_DIR/save ]; do sleep 0.05; done
         echo 1 > $SPOTWISE_CHECKPOINT_DIR/n; echo ready
         while [ ! -e $SPOTWISE_INPUT_DIR/go ]; do sleep 0.05; done",
    )
    .await;
    bench.change(|it| it.checkpoint.as_mut().unwrap().interval_ms = 100);
    let mut worker = bench.worker("j17.1");
    bench.until("the step is known", |it| it.step == 3).await;
    std::fs::write(worker.folder.join("work/save"), "").unwrap();
    bench.until("a checkpoint", |it| it.reports.iter().any(|it| it.checkpoint.is_some())).await;
    assert!(bench.exits().is_empty(), "while it runs");
    std::fs::write(worker.folder.join("work/go"), "").unwrap();
    worker.ended().await;
    let [checkpoint] = bench.checkpoints().try_into().unwrap_or_else(|all| panic!("{all:?}"));
    assert_eq!(checkpoint.progress.unwrap().step, 3);
}

#[tokio::test]
async fn an_s3_store_fails_the_start() {
    let bench = Bench::new("echo never").await;
    bench.change(|it| it.checkpoint.as_mut().unwrap().store = "s3://bucket/x".to_owned());
    bench.worker("j17.1").ended().await;
    assert!(bench.start_failed().contains("s3://bucket/x"), "{}", bench.start_failed());
}
