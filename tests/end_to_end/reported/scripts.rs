//! Scripts are users: complete answers, ids at once, honest exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use spotwise_tests::{Scheduler, spotwise, text};

use super::cli;

const MARKET: [&str; 4] = ["--market", "synthetic", "--speed", "60"];

fn document(name: &str, script: &str, more: &str) -> String {
    format!(
        "name: {name}\ncommand: [sh, -c, '{script}']\nretries: {{errors: 0}}\ndeadline: 9h\n\
         work: {{duration: 1m}}\nresources: {{cpus: 0.1, memory: 32MB}}\n{more}"
    )
}

/// Jobs that are there already are waited for by whatever `ps` shows, over a restart of
/// the scheduler; the exit codes are those of `submit --wait`.
#[test]
fn existing_jobs_are_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scheduler = Scheduler::start(folder.path(), &MARKET).expect("it starts");
    let go = folder.path().join("go");
    let gate = format!("while [ ! -e {} ]; do sleep 0.1; done", go.display());
    scheduler.submit(&document("one", &gate, ""), "a").expect("accepted");
    let many = format!("{gate}; test $SPOTWISE_ARRAY_INDEX != 1");
    scheduler.submit(&document("many", &many, "array: {size: 3}\n"), "b").expect("accepted");
    let wait = |scheduler: &Scheduler, arguments: &[&str]| {
        cli(scheduler, &[&["wait"][..], arguments].concat())
    };
    assert_eq!(wait(&scheduler, &["one", "--timeout", "1s"]).2, Some(6));
    assert_eq!(wait(&scheduler, &["nobody"]).2, Some(4));
    assert_eq!(wait(&scheduler, &["j99"]).2, Some(4));
    assert_eq!(wait(&scheduler, &["many[7]"]).2, Some(4));
    assert_eq!(wait(&scheduler, &["A b"]).2, Some(4));
    assert_eq!(wait(&scheduler, &[]).2, Some(2));
    let mut waiting = spotwise();
    waiting.args(["wait", "j1", "many[0]", "-o", "json", "--server", &scheduler.url]);
    let waiting = waiting.stdout(std::process::Stdio::piped()).spawn().expect("it runs");
    std::thread::sleep(Duration::from_millis(1_500));
    scheduler.kill();
    scheduler.restart().expect("it starts again");
    std::fs::write(&go, "").expect("written");
    let done = waiting.wait_with_output().expect("it ends");
    let said: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(done.status.code(), Some(0), "{said}");
    let names: Vec<&str> =
        said["ended"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "many[0]"], "in the order asked for");
    assert_eq!(said["open"], serde_json::json!([]));
    let all = wait(&scheduler, &["many", "one", "j1"]);
    assert_eq!(all.2, Some(1), "one element failed: {} {}", all.0, all.1);
    assert!(all.0.contains("many[1]: failed") && all.0.matches(": ").count() >= 4, "{}", all.0);
    let begun = Instant::now();
    assert_eq!(wait(&scheduler, &["many[2]", "one"]).2, Some(0), "what is over is over");
    assert!(begun.elapsed() < Duration::from_secs(30));

    // A budget that no price can hold: nobody has to wait for ever to hear of it.
    let text = document("dear", "true", "budget_usd: 0.000001\n");
    scheduler.submit(&text, "c").expect("accepted");
    let held = wait(&scheduler, &["dear", "--timeout", "60s"]);
    assert_eq!(held.2, Some(3), "{} {}", held.0, held.1);
    assert!(held.0.contains("spotwise edit j5 --budget"), "{}", held.0);
}

/// A scheduler on which nothing runs: jobs stay where they are.
fn start(folder: &Path) -> Scheduler {
    Scheduler::start(folder, &["--outside-workers"]).expect("it starts")
}

fn run(scheduler: &Scheduler, arguments: &[&str]) -> Output {
    let mut command = spotwise();
    command.args(["--server", &scheduler.url]).args(arguments).stdin(Stdio::null());
    command.output().expect("it runs")
}

fn file(folder: &Path, name: &str, document: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, document).expect("it is written");
    path
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("standard output is one JSON document")
}

#[test]
fn lists_are_complete_or_say_that_they_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let array = "name: many\ncommand: ['true']\nwork: {duration: 1h}\narray: {size: 702}\n";
    scheduler.submit(array, "many").expect("accepted");
    let listed = json(&run(&scheduler, &["ps", "-o", "json"]));
    let ids: std::collections::BTreeSet<_> =
        listed.as_array().expect("a list").iter().map(|job| job["id"].to_string()).collect();
    assert_eq!(ids.len(), 702, "each of them, once");
    let some = run(&scheduler, &["ps", "-o", "json", "--limit", "5"]);
    assert_eq!(json(&some).as_array().map(Vec::len), Some(5), "what was asked for");
    assert!(String::from_utf8_lossy(&some.stderr).contains("the first 5 jobs only"));
    let table = text(&run(&scheduler, &["ps"]));
    assert!(table.contains("\n200 of 702 shown: --limit 0 shows all\n"), "{table}");
    let whole = text(&run(&scheduler, &["ps", "--limit", "0"]));
    assert_eq!(whole.lines().filter(|line| line.contains("many[")).count(), 702);
    assert!(!whole.contains(" shown"));
}

#[test]
fn ids_of_all_that_was_accepted_are_printed_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let good =
        file(folder.path(), "good.yaml", "name: good\ncommand: ['true']\nwork: {duration: 1h}\n");
    // Valid by itself: only the scheduler knows that there is no such job to wait for.
    let bad = file(
        folder.path(),
        "bad.yaml",
        "name: bad\ncommand: ['true']\nwork: {duration: 1h}\nafter: [j999]\n",
    );
    let broken = file(folder.path(), "broken.yaml", "name: broken\ncomand: x\n");
    let [good, bad, broken] = [&good, &bad, &broken].map(|path| path.to_str().expect("text"));

    let partly = run(&scheduler, &["submit", "-y", "-o", "json", good, good, bad, good]);
    let answer = json(&partly);
    let ids: Vec<_> = answer["submissions"].as_array().expect("a list").iter().collect();
    assert_eq!(ids.len(), 2, "{answer}");
    assert_eq!((&ids[0]["jobs"][0]["id"], &ids[1]["jobs"][0]["id"]), (&"j1".into(), &"j2".into()));
    assert_eq!(answer["error"]["file"].as_str(), Some(bad));
    assert!(!answer["error"]["message"].as_str().unwrap_or_default().is_empty());
    assert_eq!(partly.status.code(), Some(8), "a part was submitted");
    assert!(String::from_utf8_lossy(&partly.stderr).contains("bad.yaml"));
    let people = run(&scheduler, &["submit", "-y", good, bad]);
    assert_ne!(people.status.code(), Some(0));

    let none = run(&scheduler, &["submit", "-y", "-o", "json", bad]);
    assert_eq!(none.status.code(), Some(2));
    assert_eq!(json(&none)["submissions"], serde_json::json!([]));
    let before = scheduler.states().expect("jobs").len();
    let checked = run(&scheduler, &["submit", "-y", "-o", "json", good, broken]);
    assert_eq!(
        (checked.status.code(), checked.stdout.len()),
        (Some(2), 0),
        "all are checked first"
    );
    assert_eq!(scheduler.states().expect("jobs").len(), before);

    // While it waits, the script knows already.
    let mut waiting = spotwise()
        .args(["--server", &scheduler.url, "submit", "-y", "-o", "json", "--wait", good])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(waiting.stdout.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("\"id\"") {
        assert!(lines.read_line(&mut said).expect("a line") > 0, "it ended: {said}");
    }
    let id = said.rsplit('"').nth(1).expect("an id").to_owned();
    let cancelled = run(&scheduler, &["cancel", "-y", "-o", "json", &id]);
    assert_eq!(cancelled.status.code(), Some(0));
    lines.read_to_string(&mut said).expect("the rest");
    let whole: Value = serde_json::from_str(&said).expect("one document in all");
    assert_eq!(whole["ended"][0]["state"].as_str(), Some("cancelled"));
    assert_eq!(waiting.wait().expect("it ends").code(), Some(1));
}

#[test]
fn json_is_alone_on_standard_output_and_errors_have_a_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let good =
        file(folder.path(), "good.yaml", "name: good\ncommand: ['true']\nwork: {duration: 1h}\n");
    let good = good.to_str().expect("text");
    for (arguments, code) in [
        (vec!["submit", "-y", good], 0),
        (vec!["validate", good], 0),
        (vec!["quote", good], 0),
        (vec!["ps"], 0),
        (vec!["ps", "--name", "nobody"], 0),
        (vec!["get", "j1"], 0),
        (vec!["explain", "j1"], 0),
        (vec!["cost"], 0),
        (vec!["offers", "--all"], 0),
        (vec!["version"], 0),
        (vec!["schema"], 0),
        (vec!["cancel", "-y", "j1"], 0),
        (vec!["resubmit", "j1"], 0),
    ] {
        if arguments[0] == "resubmit" {
            scheduler.wait_for_all(std::time::Duration::from_secs(120)).expect("it ends");
        }
        let output = run(&scheduler, &[&["-o", "json"], arguments.as_slice()].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        json(&output);
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
    for (arguments, code) in [
        (vec!["get", "j99"], 4),
        (vec!["logs", "j99"], 4),
        (vec!["cancel", "-y", "j99"], 4),
        (vec!["get", "No Such"], 2),
        (vec!["logs", "j1", "--offset", "5"], 2),
        (vec!["logs", "j1", "--attempt", "7"], 4),
    ] {
        let output = run(&scheduler, &[&["-o", "json"], arguments.as_slice()].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("error: "), "{arguments:?}: {said}");
    }
    let nobody = ["-o", "json", "--server", "http://127.0.0.1:1", "ps"];
    let output = spotwise().args(nobody).output().expect("it runs");
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(7), ""));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let array = "name: many\ncommand: ['true']\nwork: {duration: 1h}\narray: {size: 600}\n";
    scheduler.submit(array, "many").expect("accepted");
    let program = spotwise_tests::programs().join("spotwise");
    for command in ["ps", "ps -o json", "offers --all", "schema", "completions bash", "--help"] {
        let script = format!(
            "set -o pipefail; {} --server {} {command} | head -c 1 > /dev/null",
            program.display(),
            scheduler.url
        );
        let mut shell = Command::new("bash");
        shell.env("XDG_CONFIG_HOME", spotwise_tests::config_folder());
        let output = shell.args(["-c", &script]).output().expect("a shell");
        assert!(output.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{command}");
    }
}
