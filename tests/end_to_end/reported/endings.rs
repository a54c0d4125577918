//! A stop that was delivered is a stop, whatever the exit code says.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use spotwise_tests::{Scheduler, spotwise, text};

const LIMIT: Duration = Duration::from_secs(120);

/// Machines on spot that are taken back for a second every six seconds, three times; a
/// market minute is a second. A scheduler that starts slowly sees one of them at least.
const TAKEN_BACK: &str = "seconds,zone,instance_type,available,spot_usd_per_hour\n\
    0,us-east-1a,p3.2xlarge,2,0.05\n\
    240,us-east-1a,p3.2xlarge,0,0.05\n\
    300,us-east-1a,p3.2xlarge,2,0.05\n\
    600,us-east-1a,p3.2xlarge,0,0.05\n\
    660,us-east-1a,p3.2xlarge,2,0.05\n\
    960,us-east-1a,p3.2xlarge,0,0.05\n\
    1020,us-east-1a,p3.2xlarge,2,0.05\n\
    360000,us-east-1a,p3.2xlarge,2,0.05\n";

/// One whose machines stay.
pub(super) const STAYS: &str = "seconds,zone,instance_type,available,spot_usd_per_hour\n\
    0,us-east-1a,p3.2xlarge,4,0.05\n\
    360000,us-east-1a,p3.2xlarge,4,0.05\n";

/// Counts 60 steps of a tenth of a second, from its checkpoint on.
const COUNTS: &str = "n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); echo from $n; \
    while [ $n -lt 60 ]; do n=$((n+1)); sleep 0.1; \
    echo \"{\\\"step\\\":$n,\\\"total\\\":60}\" >> $SPOTWISE_PROGRESS_FILE";

/// A scheduler on this market. With a grace of 1 s SIGTERM comes at once after a notice of
/// 3 s, and three seconds after one of 6 s.
pub(super) fn on(folder: &Path, market: &str, more: &[&str]) -> Scheduler {
    let file = folder.join("market.csv");
    std::fs::write(&file, market).expect("written");
    let file = file.display().to_string();
    let mut arguments =
        vec!["--market", &file, "--market-start", "2026-03-07T00:00:00Z", "--speed", "60"];
    arguments.extend(["--cpus", "8"].iter().chain(more));
    Scheduler::start(folder, &arguments).expect("it starts")
}

fn job(name: &str, more: &str, script: &str) -> String {
    let script = script.replace('\'', "''");
    format!(
        "name: {name}\ndeadline: 40h\nwork: {{duration: 30m}}\n\
         resources: {{cpus: 0.1, memory: 32MB}}\n{more}command: [sh, -c, '{script}']\n"
    )
}

/// The attempts of a job: outcome, first step and last step.
fn attempts(job: &Value) -> Vec<(String, u64, u64)> {
    let attempts = job["attempts"].as_array().cloned().unwrap_or_default();
    let number = |attempt: &Value, name: &str| attempt[name].as_u64().unwrap_or(0);
    let row = |attempt: &Value| {
        let outcome = attempt["outcome"].as_str().unwrap_or_default().to_owned();
        (outcome, number(attempt, "resumed_from_step"), number(attempt, "step"))
    };
    attempts.iter().map(row).collect()
}

pub(super) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {LIMIT:?}");
}

fn wait_for_log(scheduler: &Scheduler, job: &str, line: &str) {
    until(|| {
        let mut cli = spotwise();
        let log = cli.args(["logs", job, "--server", &scheduler.url]).output().expect("it runs");
        text(&log).contains(line).then_some(())
    });
}

/// Whatever trainers return after SIGTERM: 0 (Lightning; Transformers after it has saved),
/// 1 (torchrun), 75, 143. With and without a save in the grace.
#[test]
fn an_interruption_goes_on_from_the_checkpoint_whatever_the_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on(folder.path(), TAKEN_BACK, &["--notice-lead", "3s"]);
    let saves = "echo $n > $SPOTWISE_CHECKPOINT_DIR/.t; mv $SPOTWISE_CHECKPOINT_DIR/.t $SPOTWISE_CHECKPOINT_DIR/n; ";
    let mut ids = Vec::new();
    for (code, save) in [(0, ""), (0, saves), (1, saves), (75, saves), (143, "")] {
        let script = format!("trap '{save}exit {code}' TERM; {COUNTS}; done");
        let name = format!("exits-{code}-{}", save.len());
        let limits = "checkpoint: {interval: 1h, grace: 1s}\nretries: {errors: 0}\n";
        let document = job(&name, limits, &script);
        ids.extend(scheduler.submit(&document, &name).expect("accepted"));
    }
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    let mut interrupted = 0;
    for id in ids {
        let job = scheduler.job(&id).expect("it is there");
        assert_eq!(states[&id], "succeeded", "{job}");
        let (all, name) = (attempts(&job), job["job"]["name"].as_str().unwrap_or_default());
        let (last, before) = all.split_last().expect("an attempt");
        assert_eq!((last.0.as_str(), last.2), ("succeeded", 60), "{name}: {all:?}");
        for (outcome, _, step) in before {
            assert_eq!(outcome, "interrupted", "{name}: {all:?}");
            assert!(*step < 60, "{name}: no step was invented: {all:?}");
        }
        interrupted += before.len();
        if !name.ends_with("-0") && !before.is_empty() {
            assert!(last.1 > 0, "{name} goes on from what it saved when it was told: {all:?}");
        }
        assert_eq!(job["job"]["errors"].as_u64().unwrap_or(0), 0, "{name}: no error of the job");
    }
    assert!(interrupted > 0, "the market took nothing back: nothing was tested");
}

/// A job that polls the interruption file and returns 0: done if it says or saves
/// nothing, interrupted if its own progress says that it is not.
#[test]
fn what_leaves_between_the_notice_and_the_stop_is_done_only_if_nothing_says_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on(folder.path(), TAKEN_BACK, &["--notice-lead", "6s"]);
    let leaves = "[ -e $SPOTWISE_INTERRUPTION_FILE ] && exit";
    let grace = "checkpoint: {interval: 1h, grace: 1s}\n";
    let says = job("says", grace, &format!("{COUNTS}; {leaves} 0; done; true"));
    let quiet = job("quiet", grace, &format!("while :; do {leaves} 0; sleep 0.1; done"));
    let saves = "n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); \
        while [ $n -lt 60 ]; do n=$((n+1)); sleep 0.1; [ -e $SPOTWISE_INTERRUPTION_FILE ] && \
        { echo $n > $SPOTWISE_CHECKPOINT_DIR/n; exit 0; }; done; echo all of it";
    let saves = job("saves", grace, saves);
    for (name, document) in [("says", says), ("quiet", quiet), ("saves", saves)] {
        scheduler.submit(&document, name).expect("accepted");
    }
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    for (id, state) in &states {
        let job = scheduler.job(id).expect("it is there");
        assert_eq!(state, "succeeded", "{job}");
        let outcomes: Vec<String> = attempts(&job).into_iter().map(|row| row.0).collect();
        match job["job"]["name"].as_str() {
            Some("quiet") => assert_eq!(outcomes, ["succeeded"], "{job}"),
            _ => {
                let (last, before) = outcomes.split_last().expect("an attempt");
                assert_eq!(last, "succeeded", "{job}");
                assert!(!before.is_empty(), "it left in the window: {job}");
                assert!(before.iter().all(|outcome| outcome == "interrupted"), "{job}");
            }
        }
    }
}

#[test]
fn a_cancelled_job_is_cancelled_what_is_behind_it_never_runs_and_a_late_one_is_timed_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on(folder.path(), STAYS, &[]);
    let obeys = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let ids = scheduler.submit(&job("first", "", obeys), "1").expect("accepted");
    let behind = |name: &str, after: &str| {
        let more = format!("after: [{after}]\n");
        scheduler.submit(&job(name, &more, "echo never"), name).expect("accepted").remove(0)
    };
    let second = behind("second", &ids[0]);
    let third = behind("third", &second);
    let late = scheduler.submit(&job("late", "timeout: 2m\n", obeys), "late").expect("accepted");
    wait_for_log(&scheduler, &ids[0], "up");
    let mut cancel = spotwise();
    cancel.args(["cancel", &ids[0], "--yes", "--server", &scheduler.url]);
    assert!(cancel.output().expect("it runs").status.success());
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert_eq!(states[&ids[0]], "cancelled");
    assert_eq!(states[&late[0]], "failed");
    let job = scheduler.job(&late[0]).expect("it is there");
    assert_eq!(attempts(&job)[0].0, "timed out", "{job}");
    for id in [second, third] {
        let job = scheduler.job(&id).expect("it is there");
        assert!(["cancelled", "failed"].contains(&states[&id].as_str()), "{job}");
        assert_eq!(attempts(&job), [], "it never ran");
    }
}

/// What ends by itself while it is being cancelled has succeeded: the signal found
/// nobody; and what says that it has done all its steps is believed.
#[test]
fn what_is_done_is_done_even_if_it_is_stopped_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on(folder.path(), STAYS, &[]);
    let done = "trap 'exit 0' TERM; echo '{\"step\":9,\"total\":9}' >> $SPOTWISE_PROGRESS_FILE; \
        echo up; while :; do sleep 0.1; done";
    let id = scheduler.submit(&job("done", "", done), "1").expect("accepted").remove(0);
    wait_for_log(&scheduler, &id, "up");
    let mut cancel = spotwise();
    cancel.args(["cancel", &id, "--yes", "--server", &scheduler.url]);
    assert!(cancel.output().expect("it runs").status.success());
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&id], "succeeded", "{}", scheduler.job(&id).expect("it is there"));
}
