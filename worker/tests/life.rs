//! Starting, running and ending a command, with the real program.

mod support;

use nix::sys::signal::Signal;
use spotwise_api::v1::{InputFile, Notice, StopOrder, Told};
use support::{Bench, read};

#[tokio::test]
async fn a_command_runs_and_everything_is_reported() {
    let bench = Bench::new(
        "echo out; echo err >&2; cat code/data; echo \"token=$SPOTWISE_WORKER_TOKEN secret=$S\"
         echo '{\"step\":5,\"total\":10}' >> $SPOTWISE_PROGRESS_FILE
         echo result > $SPOTWISE_OUTPUT_DIR/result.txt; exit 0",
    )
    .await;
    let code = bench.dir.path().join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("data"), "staged\n").unwrap();
    std::fs::write(bench.dir.path().join("key"), "hush").unwrap();
    let key = format!("file:{}", bench.dir.path().join("key").display());
    bench.change(|it| {
        it.inputs = vec![InputFile { from: code.display().to_string(), to: "code".to_owned() }];
        it.secrets.insert("S".to_owned(), key);
    });
    let mut worker = bench.worker("j17.1");
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.log(), "out\nerr\nstaged\ntoken= secret=hush\n");
    let exit = bench.exit();
    assert_eq!((exit.code, exit.signal, exit.outputs), (0, 0, 1));
    assert_eq!(exit.told(), Told::Nothing);
    assert_eq!(exit.progress.unwrap().step, 5);
    assert_eq!(bench.started().len(), 1);
    assert_eq!(read(&bench.dir.path().join("outputs/result.txt")), "result\n");
    let kept = read(&worker.folder.join("exit.json"));
    assert!(!kept.contains(support::TOKEN), "the token is on no disk");
}

#[tokio::test]
async fn exit_codes_are_kept() {
    for (script, code, signal) in
        [("exit 75", 75, 0), ("kill -9 $$", 137, 9), ("no-such-program-here", 127, 0)]
    {
        let bench = Bench::new(script).await;
        bench.worker("j17.1").ended().await;
        let exit = bench.exit();
        assert_eq!((exit.code, exit.signal), (code, signal), "{script}");
    }
    let bench = Bench::new("").await;
    bench.change(|it| it.command = vec!["no-such-program-here".to_owned()]);
    bench.worker("j17.1").ended().await;
    assert_eq!(bench.exit().code, 127);
    assert!(bench.log().contains("no-such-program-here cannot be started"), "{}", bench.log());
}

#[tokio::test]
async fn an_s3_input_fails_the_start_and_says_why() {
    let bench = Bench::new("echo never").await;
    let input = InputFile { from: "s3://bucket/data".to_owned(), to: "data".to_owned() };
    bench.change(|it| it.inputs = vec![input]);
    bench.worker("j17.1").ended().await;
    assert!(bench.start_failed().contains("no S3"), "{}", bench.start_failed());
    assert_eq!(bench.log(), "");
}

#[tokio::test]
async fn a_gang_waits_until_it_is_complete() {
    let bench = Bench::new("exit 0").await;
    bench.change(|it| it.ready = false);
    let mut worker = bench.worker("j17.1");
    bench.until("asked again", |script| script.registers >= 3).await;
    assert!(bench.started().is_empty());
    bench.change(|it| it.ready = true);
    worker.ended().await;
    assert_eq!(bench.exit().code, 0);
}

#[tokio::test]
async fn sigterm_to_the_worker_is_passed_on() {
    let bench =
        Bench::new("trap 'echo saved; exit 75' TERM; echo ready; while :; do sleep 0.05; done")
            .await;
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended().await, 0);
    assert_eq!((bench.exit().code, bench.exit().told()), (75, Told::Stop));
    assert!(bench.log().contains("saved"));
}

#[tokio::test]
async fn a_notice_is_written_signalled_and_leaves_time_to_save() {
    let bench = Bench::new(
        "trap 'echo warned' USR1
         trap 'cat $SPOTWISE_INTERRUPTION_FILE; echo state > $SPOTWISE_CHECKPOINT_DIR/model; exit 75' TERM
         echo ready; while :; do sleep 0.05; done",
    )
    .await;
    bench.change(|it| {
        it.signal_on_notice = true;
        it.grace_ms = 5_000;
    });
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    // The grace and the save take 7 s of it: SIGTERM comes after one.
    bench.fake.with(|it| {
        it.notice = Some(Notice { reclaim_in_ms: 8_000, action: "terminate".to_owned() });
    });
    worker.ended().await;
    assert_eq!(bench.exit().code, 75);
    let log = bench.log();
    assert!(log.contains("warned") && log.contains("\"action\":\"terminate\""), "{log}");
    assert_eq!(bench.checkpoints().len(), 1, "saved before the reclaim");
}

#[tokio::test]
async fn what_a_command_was_told_before_it_ended_is_said() {
    let notice = || Some(Notice { reclaim_in_ms: 600_000, action: "terminate".to_owned() });
    let polls = "echo ready; while ! [ -e $SPOTWISE_INTERRUPTION_FILE ]; do sleep 0.05; done";
    let bench = Bench::new(polls).await;
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    bench.fake.with(|it| it.notice = notice());
    worker.ended().await;
    assert_eq!((bench.exit().code, bench.exit().told()), (0, Told::Notice));

    let bench = Bench::new("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done").await;
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    let stop = StopOrder { reason: "cancelled".to_owned(), kill_in_ms: 60_000 };
    bench.fake.with(|it| it.stop = Some(stop));
    worker.ended().await;
    assert_eq!((bench.exit().code, bench.exit().told()), (0, Told::Stop));
}
