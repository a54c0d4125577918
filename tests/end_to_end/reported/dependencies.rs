use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_tests::{Body, Scheduler};

use super::cli;

const LIMIT: Duration = Duration::from_secs(120);
const ARGUMENTS: [&str; 4] = ["--market", "synthetic", "--speed", "60"];

/// A job of a pipeline; `more` are fields of its own.
fn step(name: &str, script: &str, more: &str) -> String {
    format!(
        "  - name: {name}\n    command: [sh, -c, '{script}']\n    deadline: 5h\n    \
         work: {{duration: 1m}}\n    resources: {{cpus: 0.1, memory: 32MB}}\n    \
         retries: {{errors: 0}}\n    {more}\n"
    )
}

fn named(scheduler: &Scheduler) -> BTreeMap<String, (String, String)> {
    let page = scheduler.call("GET", "/jobs?page_size=500", None).expect("a list");
    let page = page.json().expect("JSON");
    // Newest first: the newest of a name stays.
    let jobs = page["jobs"].as_array().expect("jobs").iter().rev();
    let text = |job: &serde_json::Value, field: &str| job[field].as_str().unwrap().to_owned();
    jobs.map(|job| (text(job, "name"), (text(job, "state"), text(job, "detail")))).collect()
}

/// Slurm says afternotok and afterany; a clean-up that was not needed spoils nothing.
#[test]
fn a_job_runs_after_a_failure_or_after_any_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let document = |fails: bool| {
        let code = i32::from(fails);
        ["jobs:\n".to_owned()]
            .into_iter()
            .chain([
                step("train", &format!("exit {code}"), ""),
                step("clean-up", "echo cleaned", "after: [{job: train, on: failed}]"),
                step("report", "echo told", "after: [{job: train, on: ended}]"),
                step("publish", "echo out", "after: [train]"),
                step("announce", "echo loud", "after: [publish]"),
                step("page", "echo beep", "after: [clean-up]"),
            ])
            .collect::<String>()
    };
    let file = folder.path().join("steps.yaml");
    let path = file.display().to_string();
    let submit = |fails| {
        std::fs::write(&file, document(fails)).expect("written");
        let said = cli(&scheduler, &["submit", &path, "--yes", "--wait"]);
        let states = named(&scheduler);
        let state = |name: &str| states[name].0.clone();
        let all = ["train", "clean-up", "report", "publish", "announce", "page"].map(state);
        (said, all, states)
    };
    let (said, all, states) = submit(true);
    let failed = ["failed", "succeeded", "succeeded", "cancelled", "cancelled", "succeeded"];
    assert_eq!(all, failed, "{states:?}");
    assert_eq!(said.2, Some(1), "{} {}", said.0, said.1);
    assert!(states["publish"].1.contains("j1 has failed"), "{states:?}");

    let (said, all, states) = submit(false);
    let good = ["succeeded", "skipped", "succeeded", "succeeded", "succeeded", "skipped"];
    assert_eq!(all, good, "{states:?}");
    assert_eq!(said.2, Some(0), "a clean-up that was not needed: {} {}", said.0, said.1);
    assert!(states["clean-up"].1.contains("not needed: j7 has succeeded"), "{states:?}");
    let why = cli(&scheduler, &["explain", "clean-up"]).0;
    assert!(why.contains("j7 has succeeded"), "{why}");
}

/// Whoever cancels a job cancels what was to come of it; the rest of the graph goes on.
#[test]
fn a_cancel_takes_those_along_that_need_a_success() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let document = ["jobs:\n".to_owned()]
        .into_iter()
        .chain([
            step("train", "sleep 300", ""),
            step("publish", "true", "after: [train]"),
            step("announce", "true", "after: [publish]"),
            step("mend", "true", "after: [{job: train, on: failed}]"),
            step("report", "true", "after: [{job: train, on: ended}]"),
        ])
        .collect::<String>();
    scheduler.submit(&document, "one").expect("accepted");
    let waits = cli(&scheduler, &["explain", "mend"]).0;
    assert!(waits.contains("j1 must fail first"), "{waits}");
    let detail = scheduler.job("report").expect("it is there");
    assert_eq!(detail["dependencies"][0]["on"], "ended", "{detail}");
    assert_eq!(cli(&scheduler, &["cancel", "train", "--yes"]).2, Some(0));
    scheduler.wait_for_all(LIMIT).expect("it ends");
    let states = named(&scheduler);
    for (name, state) in [
        ("train", "cancelled"),
        ("publish", "cancelled"),
        ("announce", "cancelled"),
        ("mend", "cancelled"),
        ("report", "succeeded"),
    ] {
        assert_eq!(states[name].0, state, "{name}: {states:?}");
    }
    assert!(states["announce"].1.contains("was cancelled"), "{states:?}");
    // By number, after the fact: what can never run is refused, what can is taken.
    let late = |after: &str| {
        let text = format!(
            "name: late\ncommand: [\"true\"]\nwork: {{duration: 1m}}\n\
             resources: {{cpus: 0.1, memory: 32MB}}\nafter: [{after}]\n"
        );
        let body = Body { kind: "application/yaml", key: None, bytes: text.as_bytes() };
        scheduler.call("POST", "/jobs", Some(body)).expect("an answer")
    };
    for never in ["j1", "{job: j1, on: failed}", "{job: report, on: failed}"] {
        assert_eq!(late(never).status, 400, "{never}");
    }
    let refused = late("j4, {job: j1, on: failed}").text;
    assert!(refused.contains("failed_dependency") && refused.contains("after[1]"), "{refused}");
    assert_eq!(late("{job: j1, on: ended}").status, 201);
    assert_eq!(scheduler.wait_for_all(LIMIT).expect("it ends")["j6"], "succeeded");
}

/// Slurm says aftercorr: one slow or failed element holds up nobody but its own.
#[test]
fn element_by_element_between_arrays() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let first = step("shards", "test $SPOTWISE_ARRAY_INDEX != 1", "array: {size: 3}");
    let second = step(
        "score",
        "true",
        "sweep: {lr: [1, 2, 3]}\n    after: [{job: shards, elementwise: true}]",
    );
    let third = step("gather", "true", "after: [{job: score, on: ended}]");
    scheduler.submit(&format!("jobs:\n{first}{second}{third}"), "one").expect("accepted");
    let job = scheduler.job("j5").expect("it is there");
    assert_eq!(job["after"], serde_json::json!(["j2"]), "element 1 after element 1 alone");
    scheduler.wait_for_all(LIMIT).expect("it ends");
    let states = named(&scheduler);
    let state = |name: &str| states[name].0.as_str();
    assert_eq!(
        ["score[0]", "score[1]", "score[2]"].map(state),
        ["succeeded", "cancelled", "succeeded"]
    );
    assert_eq!(state("gather"), "succeeded");

    // Behind an array of an earlier submission, by the number of any of its elements.
    let behind = |size: u32| {
        let text = format!(
            "name: behind\ncommand: [\"true\"]\nwork: {{duration: 1m}}\narray: {{size: {size}}}\n\
             resources: {{cpus: 0.1, memory: 32MB}}\n\
             after: [{{job: j6, on: ended, elementwise: true}}]\n"
        );
        let body = Body { kind: "application/yaml", key: None, bytes: text.as_bytes() };
        scheduler.call("POST", "/jobs", Some(body)).expect("an answer")
    };
    let refused = behind(4).text;
    assert!(refused.contains("array_size_mismatch"), "{refused}");
    assert!(refused.contains("an array of 3") && refused.contains("an array of 4"), "{refused}");
    let taken = behind(3).json().expect("JSON");
    let id = taken["jobs"][1]["id"].as_str().expect("an id").to_owned();
    assert_eq!(scheduler.job(&id).expect("there")["after"], serde_json::json!(["j5"]));
    scheduler.wait_for_all(LIMIT).expect("it ends");
}

/// Slurm's afternotok of an array: one failure is enough. What was not needed does not stand
/// in the way of what comes back.
#[test]
fn a_job_runs_after_a_failure_in_an_array_and_the_failed_element_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let mended = folder.path().join("mended");
    let fails = format!("test -e {} || test $SPOTWISE_ARRAY_INDEX != 1", mended.display());
    let document = ["jobs:\n".to_owned()]
        .into_iter()
        .chain([
            step("shards", &fails, "array: {size: 3}"),
            step("calm", "true", "array: {size: 2}"),
            step("alert", "true", "after: [{job: shards, on: failed}]"),
            step("never", "true", "after: [{job: calm, on: failed}]"),
            step("either", "true", "after: [{job: calm, on: failed}, {job: shards, on: failed}]"),
            step("gather", "true", "after: [shards]"),
        ])
        .collect::<String>();
    scheduler.submit(&document, "one").expect("accepted");
    let why = cli(&scheduler, &["explain", "alert"]).0;
    assert!(why.contains("must end first"), "all of the array: {why}");
    let names = ["shards[1]", "alert", "never", "either", "gather"];
    let states = || {
        scheduler.wait_for_all(LIMIT).expect("it ends");
        let states = named(&scheduler);
        names.map(|name| states[name].0.clone())
    };
    assert_eq!(states(), ["failed", "succeeded", "skipped", "skipped", "cancelled"]);

    std::fs::write(mended, "").expect("written");
    let said = cli(&scheduler, &["resubmit", "--failed", "--group", "j1", "-o", "json"]);
    assert_eq!(said.2, Some(0), "{} {}", said.0, said.1);
    let came: serde_json::Value = serde_json::from_str(&said.0).expect("JSON");
    let came = came["submissions"][0]["jobs"].as_array().expect("jobs");
    let came: Vec<&str> = came.iter().map(|job| job["name"].as_str().expect("a name")).collect();
    assert_eq!(came, ["shards[1]", "alert", "gather"], "what was not needed stays so");
    assert_eq!(states(), ["succeeded", "skipped", "skipped", "skipped", "succeeded"]);
}

/// The examples of both kinds do what they say.
#[test]
fn the_examples_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let examples = spotwise_tests::workspace().join("examples");
    let [conditions, elementwise] = ["conditions.yaml", "elementwise.yaml"]
        .map(|name| examples.join(name).display().to_string());
    let said = cli(&scheduler, &["submit", &conditions, &elementwise, "--yes", "--wait"]);
    assert_eq!(said.2, Some(0), "{} {}", said.0, said.1);
    let states = named(&scheduler);
    assert_eq!(states["salvage"].0, "skipped", "{states:?}");
    for job in ["train-draft", "tell", "score[0]", "score[3]"] {
        assert_eq!(states[job].0, "succeeded", "{states:?}");
    }
}
