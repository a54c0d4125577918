//! Outputs belong to the job, over all its attempts and however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spotwise_tests::{Scheduler, spotwise, text, workers};

const LIMIT: Duration = Duration::from_secs(90);
const ARGUMENTS: [&str; 6] = ["--market", "synthetic", "--speed", "60", "--notice-lead", "5s"];

fn document(name: &str, more: &str, script: &str) -> String {
    let script = script.replace('\'', "''").replace('\n', " ");
    format!(
        "name: {name}\ndeadline: 5h\nwork: {{duration: 10m}}\n{more}\
         resources: {{cpus: 0.1, memory: 32MB}}\ncommand: [sh, -c, '{script}']\n"
    )
}

fn cli(scheduler: &Scheduler, arguments: &[&str]) -> String {
    let output =
        spotwise().args(arguments).args(["--server", &scheduler.url]).output().expect("it runs");
    text(&output)
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain: {what}")
}

fn outputs(folder: &Path, job: &str) -> PathBuf {
    folder.join("outputs").join(job)
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| entries.flatten().count())
}

/// 26 shards in an attempt that asks to be run again, 14 in the next one.
#[test]
fn a_result_holds_what_all_attempts_have_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let script = "cd $SPOTWISE_OUTPUT_DIR; n=$(ls shard-* 2>/dev/null | wc -l); echo from $n
        >> history; while [ $n -lt 40 ]; do n=$((n+1)); echo $n > shard-$n;
        if [ $n = 26 ]; then echo 26 > $SPOTWISE_CHECKPOINT_DIR/n; exit 75; fi; done";
    let saves = "checkpoint: {interval: 30s, grace: 1s}\n";
    let ids = scheduler.submit(&document("shards", saves, script), "one").expect("accepted");
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&ids[0]], "succeeded");
    let kept = outputs(folder.path(), &ids[0]);
    assert_eq!(files(&kept), 41, "40 shards and the history");
    assert_eq!(fs::read_to_string(kept.join("history")).expect("kept"), "from 0\nfrom 26\n");
    assert_eq!(scheduler.job(&ids[0]).expect("there")["outputs"], kept.display().to_string());
}

#[test]
fn a_job_that_fails_or_is_cancelled_keeps_its_outputs_and_what_is_left_out_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let script = "cd $SPOTWISE_OUTPUT_DIR; echo 3 > epoch=3.ckpt; chmod 750 epoch=3.ckpt;
        ln -s epoch=3.ckpt best.ckpt; ln -s /etc/passwd secret; mkfifo pipe;
        echo 1 > metrics.json; exit 3";
    let fails = scheduler
        .submit(&document("fails", "retries: {errors: 0}\n", script), "one")
        .expect("accepted");
    let script = "echo 1 > $SPOTWISE_OUTPUT_DIR/metrics.json; while true; do sleep 0.1; done";
    let saves = "checkpoint: {interval: 30s, grace: 1s}\n";
    let ends = scheduler.submit(&document("ends", saves, script), "two").expect("accepted");
    let running = || {
        Some(()).filter(|()| {
            workers(folder.path()).iter().any(|(_, at)| {
                at.starts_with(&ends[0])
                    && folder.path().join("work").join(at).join("output/metrics.json").exists()
            })
        })
    };
    wait_for("its outputs", running);
    cli(&scheduler, &["cancel", &ends[0], "--yes"]);
    let states = scheduler.wait_for_all(LIMIT).expect("they end");
    assert_eq!((states[&fails[0]].as_str(), states[&ends[0]].as_str()), ("failed", "cancelled"));
    for id in [&fails[0], &ends[0]] {
        assert!(outputs(folder.path(), id).join("metrics.json").is_file(), "{id}");
    }
    let best = outputs(folder.path(), &fails[0]).join("best.ckpt");
    assert_eq!(fs::read_link(&best).expect("a link"), Path::new("epoch=3.ckpt"));
    assert_eq!(fs::read_to_string(best).expect("kept"), "3\n");
    for answer in ["get", "explain"] {
        let said = cli(&scheduler, &[answer, &fails[0]]);
        // Columns break lines.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("left out of the outputs"), "{answer}: {said}");
    }
    let events = scheduler.job(&fails[0]).expect("there")["events"].to_string();
    for left in ["(a named pipe)", "/etc/passwd", "\"warning\""] {
        assert!(events.contains(left), "{left}: {events}");
    }
}

/// SIGKILL to the worker itself: its files still lie on this machine.
#[test]
fn what_a_killed_worker_had_is_kept_for_the_next_attempt_and_after_the_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let script = "cd $SPOTWISE_OUTPUT_DIR; ls; echo $SPOTWISE_ATTEMPT > of-$SPOTWISE_ATTEMPT;
        [ $SPOTWISE_ATTEMPT = 2 ] && exit 0; while true; do sleep 0.1; done";
    let goes_on = scheduler.submit(&document("goes-on", "", script), "one").expect("accepted");
    let last = document("last", "retries: {interruptions: 0}\n", script);
    let last = scheduler.submit(&last, "two").expect("accepted");
    for job in [&goes_on[0], &last[0]] {
        let place = format!("{job}.1-0");
        wait_for("its output", || {
            let written = folder.path().join("work").join(&place).join("output/of-1");
            fs::read_to_string(written).ok().filter(|text| !text.is_empty())
        });
        let (pid, _) =
            workers(folder.path()).into_iter().find(|(_, at)| *at == place).expect("it runs");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is killed");
    }
    let states = scheduler.wait_for_all(LIMIT).expect("they end");
    assert_eq!(states[&goes_on[0]], "succeeded");
    assert_eq!(states[&last[0]], "failed");
    let kept = outputs(folder.path(), &goes_on[0]);
    assert_eq!(fs::read_to_string(kept.join("of-1")).expect("kept"), "1\n");
    assert_eq!(fs::read_to_string(kept.join("of-2")).expect("kept"), "2\n");
    assert!(cli(&scheduler, &["logs", &goes_on[0]]).contains("of-1"), "the next attempt sees it");
    let kept = outputs(folder.path(), &last[0]).join("of-1");
    wait_for("outputs after the last attempt", || kept.is_file().then_some(()));
    let gone = folder.path().join("work").join(format!("{}.1-0", last[0]));
    wait_for("its folder to go", || (!gone.exists()).then_some(()));
}
