//! A failed job, a budget that is used up, a deadline that is too early: there is a way back.

use std::time::{Duration, Instant};

use spotwise_tests::{Answer, Body, Scheduler};

use super::cli;

const LIMIT: Duration = Duration::from_secs(120);
const ARGUMENTS: [&str; 4] = ["--market", "synthetic", "--speed", "60"];

const SMALL: &str = "deadline: 9h\nwork: {duration: 10m}\nresources: {cpus: 0.1, memory: 32MB}\n";

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("waited for {what}")
}

fn patch(scheduler: &Scheduler, path: &str, body: &str, key: Option<&str>) -> Answer {
    let body = Body { kind: "application/json", key, bytes: body.as_bytes() };
    scheduler.call("PATCH", path, Some(body)).expect("an answer")
}

fn state(scheduler: &Scheduler, job: &str) -> String {
    let job = scheduler.job(job).expect("it is there");
    job["job"]["state"].as_str().unwrap_or_default().to_owned()
}

/// An endless loop on a small budget, one job behind it: who waits is told, and more
/// money lets it go on from where it was saved.
#[test]
fn a_budget_that_is_used_up_is_no_dead_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let file = folder.path().join("loop.yaml");
    let stop = folder.path().join("enough");
    let script = format!(
        "n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); echo from $n; \
         while [ ! -e {} ]; do n=$((n+1)); echo $n > $SPOTWISE_CHECKPOINT_DIR/.n; \
         mv $SPOTWISE_CHECKPOINT_DIR/.n $SPOTWISE_CHECKPOINT_DIR/n; sleep 0.1; done",
        stop.display()
    );
    let document = format!(
        "jobs:\n- name: loop\n  budget_usd: 0.45\n  command: [sh, -c, '{script}']\n  \
         resources: {{cpus: 1, memory: 64MB, gpus: \"V100:1\"}}\n  work: {{duration: 2m}}\n  \
         deadline: 20h\n  checkpoint: {{interval: 1m, grace: 1s}}\n- name: behind\n  \
         after: [loop]\n  command: [\"true\"]\n  work: {{duration: 1m}}\n  deadline: 20h\n  \
         resources: {{cpus: 0.1, memory: 32MB}}\n"
    );
    std::fs::write(&file, document).expect("written");
    let path = file.display().to_string();
    let (out, err, code) = cli(&scheduler, &["submit", &path, "--yes", "--wait"]);
    assert_eq!(code, Some(3), "{out} {err}");
    assert!(out.contains("spotwise edit j1 --budget"), "{out}");
    assert!(out.contains("j1 cannot go on"), "the job behind it: {out}");
    let job = scheduler.job("loop").expect("it is there");
    let detail = job["job"]["detail"].as_str().expect("words");
    assert!(!detail.contains("$0.00"), "{detail}");
    let spent = job["job"]["spent_micros"].as_i64().expect("a figure");
    assert!(spent > 0 && spent <= 450_000, "{spent}");
    let explained = cli(&scheduler, &["explain", "loop"]).0;
    assert!(explained.contains("its budget of $0.45"), "{explained}");

    // What cannot hold changes nothing.
    for (body, code, field) in [
        (r#"{"budget_usd": 0}"#, "out_of_range", "budget_usd"),
        (r#"{"budget_usd": "0.01"}"#, "budget_too_small", "budget_usd"),
        (r#"{"deadline": "2020-01-01T00:00:00Z"}"#, "deadline_in_the_past", "deadline"),
        (r#"{"deadline": "-30h"}"#, "deadline_in_the_past", "deadline"),
        (r#"{"priority": 101}"#, "out_of_range", "priority"),
        (r#"{"command": ["x"]}"#, "unknown_field", "command"),
        ("{}", "empty_document", ""),
    ] {
        let refused = patch(&scheduler, "/jobs/loop", body, None);
        let problem = refused.json().expect("JSON");
        assert_eq!((refused.status, problem["code"].as_str()), (400, Some(code)), "{body}");
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{body}: {problem}");
    }
    assert_eq!(state(&scheduler, "loop"), "held");

    // First what it would do; then, twice with one key, once.
    let dry = cli(&scheduler, &["edit", "loop", "--budget", "2.00"]);
    assert_eq!(dry.2, Some(2), "nobody is there to ask: {} {}", dry.0, dry.1);
    let would = patch(&scheduler, "/jobs/loop?dry_run=true", r#"{"budget_usd": 2}"#, None);
    let would = would.json().expect("JSON");
    assert_eq!(would["changes"][0], "budget $0.45 -> $2.00", "{would}");
    assert!(would["p50_micros"].as_i64().is_some_and(|micros| micros > 0), "{would}");
    assert_eq!(state(&scheduler, "loop"), "held", "nothing was done");
    let edit = ["edit", "loop", "--budget", "2.00", "--deadline", "+4h", "--dry-run"];
    let (out, err, code) = cli(&scheduler, &edit);
    assert!(code == Some(0) && out.contains("budget $0.45 -> $2.00"), "{out} {err}");
    let (out, ..) = cli(&scheduler, &[&edit[..], &["-o", "json"]].concat());
    assert!(out.contains("$2.00") && out.contains("\"replayed\": false"), "{out}");
    let edit = ["edit", "loop", "--budget", "2.00", "--deadline", "+4h", "--yes"];
    let edit = [&edit[..], &["--idempotency-key", "more"]].concat();
    let (out, err, code) = cli(&scheduler, &edit);
    assert_eq!(code, Some(0), "{out} {err}");
    assert!(out.contains("budget $0.45 -> $2.00"), "{out}");
    let deadline = scheduler.job("loop").expect("there")["job"]["deadline"].clone();
    let again = cli(&scheduler, &edit);
    assert_eq!((again.2, again.0.contains("was changed before")), (Some(0), true), "{}", again.0);
    assert_eq!(scheduler.job("loop").expect("there")["job"]["deadline"], deadline);

    until("a second start", || cli(&scheduler, &["logs", "loop"]).0.contains("from").then_some(()));
    let log = cli(&scheduler, &["logs", "loop"]).0;
    assert!(!log.contains("from 0\n"), "it goes on from its checkpoint: {log}");
    std::fs::write(&stop, "").expect("written");
    let (out, err, code) = cli(&scheduler, &["wait", "loop", "behind", "--timeout", "60s"]);
    assert_eq!(code, Some(0), "{out} {err}");
    let events = scheduler.job("loop").expect("there")["events"].to_string();
    assert!(events.contains("budget $0.45 -> $2.00; deadline"), "{events}");
    assert!(events.contains("by edit"), "{events}");
    let late = patch(&scheduler, "/jobs/loop", r#"{"priority": 1}"#, None);
    assert_eq!((late.status, late.text.contains("job_ended")), (409, true), "{}", late.text);
}

/// The terms of a job that runs: more money is told to its worker, less stops it in time.
#[test]
fn the_budget_of_a_running_job_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let document = "name: runs\nbudget_usd: 50\ncommand: [sh, -c, 'sleep 300']\n\
        resources: {cpus: 1, memory: 64MB, gpus: \"V100:1\"}\nwork: {duration: 1h}\n\
        deadline: 20h\ncheckpoint: {interval: 1m, grace: 1s}\n";
    scheduler.submit(document, "one").expect("accepted");
    until("a start", || (state(&scheduler, "runs") == "active").then_some(()));
    until("spending", || {
        let job = scheduler.job("runs").ok()?;
        (job["job"]["spent_micros"].as_i64()? > 20_000).then_some(())
    });
    let small = patch(&scheduler, "/jobs/runs", r#"{"budget_usd": "0.01"}"#, None);
    assert!(small.status == 400 && small.text.contains("budget_too_small"), "{}", small.text);
    let raised = patch(&scheduler, "/jobs/runs", r#"{"budget_usd": 60, "priority": 3}"#, None);
    let raised = raised.json().expect("JSON");
    assert_eq!(raised["changes"][0], "budget $50.00 -> $60.00", "{raised}");
    assert_eq!(raised["changes"][1], "priority 0 -> 3", "{raised}");
    let spent = scheduler.job("runs").expect("there")["job"]["spent_micros"].as_i64().unwrap();
    let less = format!(
        "{{\"budget_usd\": \"{}.{:06}\"}}",
        (spent + 600_000) / 1_000_000,
        (spent + 600_000) % 1_000_000
    );
    let lowered = patch(&scheduler, "/jobs/runs", &less, None);
    assert_eq!(lowered.status, 200, "{}", lowered.text);
    until("its end", || (state(&scheduler, "runs") == "held").then_some(()));
    let job = scheduler.job("runs").expect("it is there");
    let budget = job["job"]["budget_micros"].as_i64().expect("a figure");
    let spent = job["job"]["spent_micros"].as_i64().expect("a figure");
    assert!(spent <= budget, "{spent} of {budget}");
}

fn resubmit(scheduler: &Scheduler, arguments: &[&str]) -> (Vec<String>, String, Option<i32>) {
    let all = [&["resubmit"][..], arguments, &["-o", "json"]].concat();
    let (out, err, code) = cli(scheduler, &all);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap_or_default();
    let jobs = answer["submissions"][0]["jobs"].as_array().cloned().unwrap_or_default();
    (jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect(), err, code)
}

/// A chain whose first step was mistaken: mended, it and what was behind it come back,
/// with the shared folder and without what had succeeded.
#[test]
fn the_failed_part_of_a_pipeline_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let step = |name: &str, script: &str, more: &str| {
        let small = SMALL.trim_end().replace('\n', "\n  ");
        format!(
            "- name: {name}\n  command: [sh, -c, '{script}']\n  retries: {{errors: 0}}\n  {small}\n{more}"
        )
    };
    // The first write into the shared folder, before anything else, has to work.
    let document = [
        "jobs:\n".to_owned(),
        step("prepare", "echo data > $SPOTWISE_SHARED_DIR/data", ""),
        step(
            "train",
            "cat $SPOTWISE_SHARED_DIR/data && test $SPOTWISE_ARRAY_INDEX != 1",
            "  array: {size: 3}\n  after: [prepare]\n",
        ),
        step("gather", "cat $SPOTWISE_SHARED_DIR/data", "  after: [train]\n"),
        step("note", "echo told", "  after: [{job: train, on: ended}]\n"),
    ]
    .concat();
    scheduler.submit(&document, "one").expect("accepted");
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!((states["j2"].as_str(), states["j3"].as_str()), ("succeeded", "failed"));
    assert_eq!((states["j5"].as_str(), states["j6"].as_str()), ("cancelled", "succeeded"));
    let downstream = resubmit(&scheduler, &["--failed", "gather"]);
    assert!(downstream.2 == Some(2) && downstream.1.contains("j3"), "{}", downstream.1);

    // By number, by name of the element, of the array, and by the submission: the same.
    let file = folder.path().join("mended.yaml");
    let mended = format!(
        "name: train\ncommand: [sh, -c, 'cat $SPOTWISE_SHARED_DIR/data; echo element $SPOTWISE_ARRAY_INDEX of $SPOTWISE_ARRAY_SIZE']\n\
         array: {{size: 3}}\n{SMALL}"
    );
    std::fs::write(&file, &mended).expect("written");
    let path = file.display().to_string();
    let wrong = mended.replace("size: 3", "size: 4");
    let other = folder.path().join("wrong.yaml");
    std::fs::write(&other, wrong).expect("written");
    let refused = resubmit(&scheduler, &["--failed", "j3", "-f", &other.display().to_string()]);
    assert!(refused.1.contains("array_size_mismatch"), "{}", refused.1);
    let again = ["--failed", "train", "-f", &path, "--idempotency-key", "back"];
    let (ids, err, code) = resubmit(&scheduler, &again);
    assert_eq!((ids.len(), code), (3, Some(0)), "the element, and what was behind it: {err}");
    assert_eq!(resubmit(&scheduler, &again).0, ids, "once");
    let twice = resubmit(&scheduler, &["--failed", "--group", "j1"]);
    assert_eq!(twice.2, Some(2), "it is on its way, or has succeeded: {:?} {}", twice.0, twice.1);
    let (out, err, code) = cli(&scheduler, &["wait", &ids[0], &ids[1], &ids[2]]);
    assert_eq!(code, Some(0), "{out} {err}");
    let job = scheduler.job(&ids[0]).expect("it is there");
    assert_eq!(job["job"]["name"], "train[1]");
    assert_eq!(job["resubmission_of"], "j3");
    assert_eq!(job["after"], serde_json::json!(["j1"]), "what had succeeded counts as met");
    let gather = scheduler.job(&ids[1]).expect("it is there");
    assert_eq!(gather["after"], serde_json::json!(["j2", "j4", ids[0]]));
    assert_eq!(gather["shared_dir"], scheduler.job("j1").expect("there")["shared_dir"]);
    assert_eq!(scheduler.job("j3").expect("there")["resubmitted_as"], ids[0].as_str());
    let log = cli(&scheduler, &["logs", &ids[0]]).0;
    assert_eq!(log, "data\nelement 1 of 3\n");
    let nothing = resubmit(&scheduler, &["--failed", "--group", "j1"]);
    assert!(nothing.1.contains("nothing of it has failed"), "{}", nothing.1);
}

/// Failed at the last of twelve steps: it comes back from the tenth, and never touches
/// what the old job has saved.
#[test]
fn a_failed_job_goes_on_from_its_own_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let mended = folder.path().join("mended");
    let document = format!(
        "name: saver\nretries: {{errors: 0}}\ncheckpoint: {{interval: 30s, grace: 1s, keep: 2}}\n{SMALL}\
         command: [sh, -c, 'n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); echo from $n; \
         while [ $n -lt 12 ]; do n=$((n+1)); [ $n = 11 ] && [ ! -e {0} ] && sleep 2 && exit 3; \
         echo $n > $SPOTWISE_CHECKPOINT_DIR/.n; mv $SPOTWISE_CHECKPOINT_DIR/.n $SPOTWISE_CHECKPOINT_DIR/n; \
         echo \"{{\\\"step\\\":$n,\\\"total\\\":12}}\" >> $SPOTWISE_PROGRESS_FILE; sleep 0.1; done']\n",
        mended.display()
    );
    scheduler.submit(&document, "one").expect("accepted");
    assert_eq!(scheduler.wait_for_all(LIMIT).expect("it ends")["j1"], "failed");
    let saved = |job: &str| {
        let store = folder.path().join("checkpoints").join(job);
        let mut all: Vec<_> =
            std::fs::read_dir(store).into_iter().flatten().flatten().map(|e| e.path()).collect();
        all.sort();
        all
    };
    let before = saved("j1");
    assert!(!before.is_empty());
    // It fails again, without having saved anything of its own; then it is mended.
    let (ids, err, _) = resubmit(&scheduler, &["saver"]);
    assert_eq!(ids, ["j2"], "{err}");
    assert_eq!(scheduler.wait_for_all(LIMIT).expect("it ends")["j2"], "failed");
    std::fs::write(&mended, "").expect("written");
    assert_eq!(resubmit(&scheduler, &["--failed", "j1"]).0, ["j3"], "what stands for it now");
    assert_eq!(scheduler.wait_for_all(LIMIT).expect("it ends")["j3"], "succeeded");
    for job in ["j2", "j3"] {
        let log = cli(&scheduler, &["logs", job]).0;
        assert!(log.contains("from 10"), "{job}: {log}");
    }
    assert_eq!(saved("j1"), before, "nothing was written or removed there");
    let events = scheduler.job("j3").expect("there")["events"].to_string();
    assert!(events.contains("is a resubmission of j2 and goes on from step"), "{events}");
    assert_eq!(resubmit(&scheduler, &["j1", "--fresh"]).0, ["j4"]);
    scheduler.wait_for_all(LIMIT).expect("it ends");
    assert!(cli(&scheduler, &["logs", "j4"]).0.starts_with("from 0\n"));
}
