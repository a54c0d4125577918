//! The main job: submitted, placed, run, resumed, paid, explained.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spotwise_tests::{Scheduler, spotwise, text, workers};

const LIMIT: Duration = Duration::from_secs(60);
const ARGUMENTS: [&str; 6] = ["--market", "synthetic", "--speed", "60", "--notice-lead", "5s"];

#[test]
fn a_job_runs_and_is_paid_and_keeps_its_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let document = "name: hello\nmodel: greeter\ndeadline: 30m\nwork: {duration: 1m}\n\
        resources: {cpus: 0.1, memory: 32MB}\ntags: {Team: ml-platform}\n\
        command: [sh, -c, 'echo hello from $SPOTWISE_JOB_ID; echo kept > $SPOTWISE_OUTPUT_DIR/note']\n";
    let ids = scheduler.submit(document, "once").expect("accepted");
    assert_eq!(scheduler.submit(document, "once").expect("replayed"), ids);
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&ids[0]], "succeeded");

    let logs = cli(&scheduler, &["logs", &ids[0]]);
    assert_eq!(logs.0, format!("hello from {}\n", ids[0]), "its output is kept after its end");
    let note = std::fs::read_dir(folder.path().join("outputs")).expect("outputs").count();
    assert!(note > 0, "its output files are kept");

    let cost = cli(&scheduler, &["cost", "--by", "model,Team", "--output", "json"]).0;
    let cost: serde_json::Value = serde_json::from_str(&cost).expect("JSON");
    let rows = cost["rows"].as_array().expect("rows");
    let sum: i64 = rows.iter().filter_map(|row| row["total_micros"].as_i64()).sum();
    assert_eq!(Some(sum), cost["total"]["total_micros"].as_i64(), "rows add up to the total");
    assert!(
        rows.iter().any(|row| row["keys"] == serde_json::json!(["greeter", "ml-platform"])),
        "{cost}"
    );
    let job = scheduler.job(&ids[0]).expect("it is there");
    assert!(job["job"]["spent_micros"].as_i64().is_some_and(|micros| micros > 0), "{job}");
}

#[test]
fn exit_codes_say_how_a_job_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let file = folder.path().join("fails.yaml");
    std::fs::write(
        &file,
        "name: fails\ndeadline: 30m\nwork: {duration: 1m}\nretries: {errors: 0}\n\
         resources: {cpus: 0.1, memory: 32MB}\ncommand: [sh, -c, 'exit 7']\n",
    )
    .expect("written");
    let path = file.display().to_string();
    assert_eq!(cli(&scheduler, &["submit", &path, "--yes", "--wait"]).1, Some(1));
    assert_eq!(cli(&scheduler, &["get", "j999"]).1, Some(4));
    assert_eq!(cli(&scheduler, &["submit", &path]).1, Some(2), "nobody is there to ask");
    let why = cli(&scheduler, &["explain", "j1"]).0;
    assert!(why.contains("exit code 7"), "{why}");
}

/// A command that ignores SIGTERM is killed at the end of its grace, and the
/// job is cancelled, not retried.
#[test]
fn a_cancelled_job_ends_even_if_it_does_not_want_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let document = "name: stubborn\ndeadline: 5h\nwork: {duration: 1h}\n\
        resources: {cpus: 0.1, memory: 32MB}\ncheckpoint: {grace: 1s}\n\
        command: [sh, -c, 'trap \"\" TERM; echo up; while true; do sleep 0.2; done']\n";
    let ids = scheduler.submit(document, "one").expect("accepted");
    wait_for_log(&scheduler, &ids[0], "up");
    assert_eq!(cli(&scheduler, &["cancel", &ids[0], "--yes"]).1, Some(0));
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&ids[0]], "cancelled");
    assert!(no_process_of(&ids[0], folder.path()), "its processes are gone");
}

/// A torn checkpoint is passed over for the one before.
#[test]
fn a_torn_checkpoint_falls_back_to_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let document = "name: saver\ndeadline: 5h\nwork: {duration: 10m}\n\
        resources: {cpus: 0.1, memory: 32MB}\ncheckpoint: {interval: 30s, grace: 1s, keep: 3}\n\
        command: [sh, -c, 'n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); echo from $n; \
        while [ $n -lt 40 ]; do n=$((n+1)); echo $n > $SPOTWISE_CHECKPOINT_DIR/.tmp-n; \
        mv $SPOTWISE_CHECKPOINT_DIR/.tmp-n $SPOTWISE_CHECKPOINT_DIR/n; \
        echo \"{\\\"step\\\":$n,\\\"total\\\":40}\" >> $SPOTWISE_PROGRESS_FILE; sleep 0.2; done']\n";
    let ids = scheduler.submit(document, "one").expect("accepted");
    // What the scheduler has not heard of is no checkpoint.
    wait_for(|| {
        let job = scheduler.job(&ids[0]).ok()?;
        job["events"].to_string().contains("\"checkpoint 2").then_some(())
    });
    for (pid, _) in workers(folder.path()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    }
    let store = folder.path().join("checkpoints").join(&ids[0]);
    let mut found: Vec<_> =
        std::fs::read_dir(&store).expect("checkpoints").flatten().map(|e| e.path()).collect();
    found.retain(|path| path.join("manifest.json").is_file());
    found.sort();
    assert!(found.len() >= 2, "{found:?}");
    for file in found.iter().skip(1).flat_map(std::fs::read_dir).flatten().flatten() {
        if file.file_name() != "manifest.json" {
            std::fs::write(file.path(), "torn").expect("a shard can be torn");
        }
    }
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&ids[0]], "succeeded");
    let log = cli(&scheduler, &["logs", &ids[0], "--all-attempts"]).0;
    assert!(log.contains("from 0"), "{log}");
    assert!(!log.contains("from torn"), "a torn checkpoint was loaded: {log}");
    let events = scheduler.job(&ids[0]).expect("it is there")["events"].to_string();
    assert!(events.contains("did not verify"), "{events}");
}

fn cli(scheduler: &Scheduler, arguments: &[&str]) -> (String, Option<i32>) {
    let output =
        spotwise().args(arguments).args(["--server", &scheduler.url]).output().expect("it runs");
    (text(&output), output.status.code())
}

fn wait_for_log(scheduler: &Scheduler, job: &str, line: &str) {
    wait_for(|| cli(scheduler, &["logs", job]).0.contains(line).then_some(()));
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited for {LIMIT:?}")
}

/// Whether no process carries the job's mark any more. Other installations, those
/// of the tests beside this one, have a job of that name too.
fn no_process_of(job: &str, folder: &Path) -> bool {
    let mark = format!("SPOTWISE_JOB_ID={job}");
    let folder = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    !processes.filter_map(|p| std::fs::read(p.path().join("environ")).ok()).any(|environ| {
        let text = String::from_utf8_lossy(&environ);
        text.split('\0').any(|variable| variable == mark) && text.contains(&folder)
    })
}
