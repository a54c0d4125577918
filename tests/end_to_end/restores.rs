//! The database of a while ago comes back: what happened since is not in it, and
//! yet it has left its traces.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use spotwise_test_postgres::shared;
use spotwise_tests::{Scheduler, free_port, spotwise, text, workers};

use super::outages::{LIMIT, MARKET, counting, lives, until};

/// The database of a while ago comes back, on the other kind of database, while
/// what was running runs on.
#[test]
fn restore_old_backup() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("lines");
    let file = folder.path().join("backup.jsonl").display().to_string();
    // Workers find the scheduler where it was.
    let port = free_port().expect("a port");
    let mut scheduler = Scheduler::on_port(port, folder.path(), &MARKET);
    scheduler.restart().expect("it starts");
    let kept = scheduler.submit(&counting("kept", &log, 40), "kept").expect("accepted").remove(0);
    until("it runs", || lives(&log).len() == 1);
    scheduler.kill();
    let old = folder.path().join("spotwise.db").display().to_string();
    database(&["backup", "--database", &old, &file]);
    scheduler.restart().expect("it starts");
    let lost = scheduler.submit(&counting("lost", &log, 30), "lost").expect("accepted").remove(0);
    until("it runs too", || lives(&log).len() == 2);
    scheduler.kill();

    let server = shared().database();
    let url = server.url();
    database(&["restore", "--database", &url, &file]);
    let arguments = [&["--database", &url][..], &MARKET].concat();
    let mut scheduler = Scheduler::on_port(port, folder.path(), &arguments);
    scheduler.restart().expect("it starts");
    let again = scheduler.submit(&counting("lost", &log, 2), "lost").expect("accepted").remove(0);
    assert_ne!(again, lost, "the number of a job that is gone was given again");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    let ended: BTreeSet<&str> = states.keys().map(String::as_str).collect();
    assert_eq!(ended, BTreeSet::from([kept.as_str(), again.as_str()]));
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    let attempts = lives(&log);
    let of_kept = attempts.keys().filter(|attempt| attempt.starts_with(&format!("{kept}.")));
    assert_eq!(of_kept.count(), 1, "what ran on was adopted, not started again: {attempts:?}");
    let end = |job: &str| {
        attempts.iter().find(|(a, _)| a.starts_with(&format!("{job}."))).map(|(_, life)| life.1)
    };
    assert!(end(&lost) < end(&again), "the lost job was told to stop: {attempts:?}");
    database(&["check", "--database", &url]);
}

/// A job that counts until it is told to end by a file, a step in a twentieth of a second,
/// saves each, and says where it begins.
fn saver(end: &Path) -> String {
    const SAVER: &str = "name: saver\nclass: dev\ninterruptible: false\ndeadline: 900h\nwork: {steps: 6000, steps_per_hour: 1200}\n\
        resources: {cpus: 0.1, memory: 32MB}\ncheckpoint: {interval: 20s, grace: 1s, keep: 2}\n\
        command: [sh, -c, 'n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); echo from $n; \
        while [ $n -lt 6000 ] && [ ! -e END ]; do n=$((n+1)); echo $n > $SPOTWISE_CHECKPOINT_DIR/.tmp-n; \
        mv $SPOTWISE_CHECKPOINT_DIR/.tmp-n $SPOTWISE_CHECKPOINT_DIR/n; \
        echo \"{\\\"step\\\":$n,\\\"total\\\":6000}\" >> $SPOTWISE_PROGRESS_FILE; sleep 0.05; done']\n";
    SAVER.replace("END", &end.display().to_string())
}

/// The machine dies with the database, and the backup is two attempts old: the
/// job goes on from what it has saved since, under a number that nobody had.
#[test]
fn a_job_goes_on_from_what_a_backup_does_not_know() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup.jsonl").display().to_string();
    let port = free_port().expect("a port");
    // The next attempt waits until no worker of before can be left.
    let own = [&["--worker-lease", "10s"][..], &MARKET].concat();
    let mut scheduler = Scheduler::on_port(port, folder.path(), &own);
    scheduler.restart().expect("it starts");
    let end = folder.path().join("end");
    let job = scheduler.submit(&saver(&end), "saver").expect("accepted").remove(0);
    let in_backup = until_saved(&scheduler, &job, 0);
    scheduler.kill();
    let old = folder.path().join("spotwise.db").display().to_string();
    database(&["backup", "--database", &old, &file]);
    scheduler.restart().expect("it starts");
    let mut last = in_backup;
    for _ in 0..2 {
        end_workers(folder.path());
        last = until_saved(&scheduler, &job, last);
    }
    let seen = scheduler.job(&job).expect("it is there");
    let saved = steps_saved(&seen, &format!("{job}.{last}")).pop().expect("checkpoints");
    scheduler.kill();
    end_workers(folder.path());

    let new = folder.path().join("restored.db").display().to_string();
    database(&["restore", "--database", &new, &file]);
    let arguments = [&["--database", &new][..], &own].concat();
    let mut scheduler = Scheduler::on_port(port, folder.path(), &arguments);
    scheduler.restart().expect("it starts");
    until_saved(&scheduler, &job, last);
    std::fs::write(end, "").expect("it is told to end");
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&job], "succeeded");
    let seen = scheduler.job(&job).expect("it is there");
    let mut numbers = numbers(&seen).into_iter().filter(|number| *number > in_backup);
    assert_eq!(numbers.next(), Some(last + 1), "no number is given again: {seen:#}");
    let log = folder.path().join(format!("logs/{job}.{}-0.log", last + 1));
    let log = std::fs::read_to_string(log).expect("its log");
    let begun: u64 = log.trim().trim_start_matches("from ").parse().expect("a step");
    assert!(begun >= saved && saved > 0, "it began at {begun}, and {saved} were saved");
    let events = seen["events"].to_string();
    assert!(events.contains(&format!("attempts up to {job}.{last} are not in it")), "{events}");
    assert!(!steps_saved(&seen, &format!("{job}.{}", last + 1)).is_empty(), "it saves: {seen:#}");
    println!("{saved} steps were saved since the backup, the next attempt began at {begun}");
    database(&["check", "--database", &new]);
}

/// The numbers of a job's attempts.
fn numbers(seen: &Value) -> Vec<u32> {
    let ids = seen["attempts"].as_array().expect("attempts").iter().map(|it| it["id"].as_str());
    ids.map(|id| id.and_then(|id| id.rsplit('.').next()?.parse().ok()).expect("j17.2")).collect()
}

/// The steps of an attempt's checkpoints that the scheduler has heard of.
fn steps_saved(seen: &Value, attempt: &str) -> Vec<u64> {
    let events = seen["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_it = events.iter().filter(|event| event["attempt"] == attempt);
    let messages = of_it.filter_map(|event| event["message"].as_str());
    let steps = messages.filter_map(|m| m.strip_prefix("checkpoint ")?.split(" at step ").nth(1));
    steps.filter_map(|step| step.split(',').next()?.parse().ok()).collect()
}

/// Waits until the scheduler has heard of three checkpoints of an attempt after this
/// one. Answers which.
fn until_saved(scheduler: &Scheduler, job: &str, after: u32) -> u32 {
    let begun = Instant::now();
    loop {
        let seen = scheduler.job(job).expect("it is there");
        let last = numbers(&seen).pop().unwrap_or(0);
        if last > after && steps_saved(&seen, &format!("{job}.{last}")).len() >= 3 {
            return last;
        }
        let over = seen["job"]["ended"].as_str().is_some_and(|at| !at.is_empty());
        assert!(!over && begun.elapsed() < LIMIT, "no checkpoints are heard of: {seen:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Their machine dies.
fn end_workers(folder: &Path) {
    for (pid, _) in workers(folder) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn database(arguments: &[&str]) {
    let output = spotwise().arg("db").args(arguments).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "db {arguments:?}: {} {errors}", text(&output));
}
