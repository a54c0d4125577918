//! Nothing that a command starts outlives it, and nothing of it stays a zombie.

#![allow(clippy::print_stdout)] // Figures, and what was skipped and why.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;

use spotwise_api::v1::StopOrder;
use support::{Bench, is_alive};

/// Processes that the command of this folder has started, whoever their parent
/// is now: they inherit the name of its progress file.
fn left(folder: &Path) -> Vec<String> {
    let mark = format!("SPOTWISE_PROGRESS_FILE={}", folder.join("progress.jsonl").display());
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) && is_alive(pid)
    })
    .collect()
}

/// The `at`-th word that the command has printed.
fn word(bench: &Bench, at: usize) -> String {
    bench.log().split_whitespace().nth(at).unwrap().to_owned()
}

async fn nothing_is_left_of(script: &str, code: i32) {
    let bench = Bench::new(script).await;
    let mut worker = bench.worker("j17.1");
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.exit().code, code, "{script}: {}", bench.log());
    assert_eq!(left(&worker.folder.canonicalize().unwrap()), [""; 0], "{script}");
}

#[tokio::test]
async fn sigterm_ignored_is_killed_after_the_grace_with_status_137() {
    let bench = Bench::new(
        "trap 'echo refused' TERM; sleep 600 & setsid sleep 600 & echo kids $! ready
         while :; do sleep 0.1; done",
    )
    .await;
    bench.change(|it| it.grace_ms = 1_000);
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    let kid = word(&bench, 1);
    assert!(is_alive(&kid));
    bench.fake.with(|it| {
        it.stop = Some(StopOrder { reason: "cancelled".to_owned(), kill_in_ms: 60_000 });
    });
    worker.ended().await;
    let exit = bench.exit();
    assert_eq!((exit.code, exit.signal), (137, 9));
    assert_eq!(bench.log().matches("refused").count(), 1, "SIGTERM came first, and once");
    assert!(!is_alive(&kid), "what left the group is killed too");
    assert_eq!(left(&worker.folder.canonicalize().unwrap()), [""; 0]);
}

#[tokio::test]
async fn double_fork_daemon_is_killed_with_its_command() {
    nothing_is_left_of("( ( trap '' TERM HUP; exec sleep 600 ) & ) ; exit 3", 3).await;
}

#[tokio::test]
async fn setsid_escape_is_killed_with_its_command() {
    let escape =
        "trap '' TERM HUP; setsid sh -c \"trap '' TERM HUP; setsid sleep 600 & sleep 600\"";
    nothing_is_left_of(&format!("{escape} & sleep 0.2; exit 4"), 4).await;
}

/// Every process of the storm starts its successor and ends: whoever lists
/// processes and kills them one by one is always too late.
#[tokio::test]
async fn fork_storm_is_killed_with_its_command() {
    let chain = "f() { f & }; f";
    let tree = "f() { [ $1 = 0 ] || { f $(($1-1)) & f $(($1-1)) & wait; }; sleep 600; }; f 6";
    // Each one in a session of its own.
    let sessions = "S='setsid sh -c \"$S\" &'; export S; eval \"$S\"";
    for script in [
        format!("{chain}; sleep 0.3; exit 5"),
        format!("setsid sh -c '{chain}' & sleep 0.3; exit 5"),
        format!("setsid sh -c '{tree}' & sleep 0.3; exit 5"),
        format!("{sessions}; sleep 0.3; exit 5"),
    ] {
        nothing_is_left_of(&script, 5).await;
    }
}

/// The worker is process 1 of a container, and adopts what nobody waits for.
#[tokio::test]
async fn zombie_reap_as_process_1_leaves_none_of_1000() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a process namespace needs root");
        return;
    }
    let bench = Bench::new(
        "echo first $PPID
         i=0; while [ $i -lt 1000 ]; do ( : & ); i=$((i+1)); done
         tries=0; zombies=1
         while [ $zombies != 0 ] && [ $tries -lt 100 ]; do
             sleep 0.1; tries=$((tries+1))
             zombies=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
         done
         echo zombies $zombies left",
    )
    .await;
    let mut worker =
        bench.worker_under(&["unshare", "-pf", "--kill-child", "--mount-proc", "--"], "j17.1");
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.log(), "first 1\nzombies 0 left\n");
    assert_eq!(bench.exit().code, 0);
}

/// Somebody outside of the job's processes holds its standard output open, and
/// so nothing the worker kills will close it.
#[tokio::test]
async fn stdout_held_open_by_a_stranger_does_not_hang_the_end() {
    let bench = Bench::new(
        "echo pid $$ ready; while [ ! -e $SPOTWISE_INPUT_DIR/go ]; do sleep 0.05; done; exit 3",
    )
    .await;
    let mut worker = bench.worker("j17.1");
    bench.until_logged("ready").await;
    let output = format!("/proc/{}/fd/1", word(&bench, 1));
    let mut held = fs::OpenOptions::new().write(true).open(output).unwrap();
    fs::write(worker.folder.join("work/go"), "").unwrap();
    bench.until("the end is reported", |it| it.reports.iter().any(|it| it.exited.is_some())).await;
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.exit().code, 3);
    let written = held.write(b"x").map_err(|error| error.kind());
    assert_eq!(written, Err(std::io::ErrorKind::BrokenPipe), "it was held open to the end");
}

#[tokio::test]
async fn stdout_held_open_by_an_escaped_child_does_not_hang_the_end() {
    let bench = Bench::new("setsid sleep 600 & exit 3").await;
    bench.worker("j17.1").ended().await;
    assert_eq!(bench.exit().code, 3);
}
