//! A quote knows dependencies, and cycles are found before anything is submitted.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use spotwise_tests::{Body, Scheduler};

use super::names::run;

const LIMIT: Duration = Duration::from_secs(60);
const ARGUMENTS: [&str; 4] = ["--market", "synthetic", "--speed", "60"];

/// Three jobs of two hours, one after the other.
fn chain(last: &str) -> String {
    let job = |name: &str, more: &str| {
        format!(
            "- {{name: {name}, command: [sleep, '7200'], work: {{duration: 2h}}, \
             resources: {{cpus: 0.1, memory: 32MB}}{more}}}\n"
        )
    };
    let second = job("p2", ", after: [p1]");
    format!("jobs:\n{}{second}{}", job("p1", ""), job("p3", &format!(", after: [p2]{last}")))
}

fn body(text: &str) -> Option<Body<'_>> {
    Some(Body { kind: "application/yaml", key: None, bytes: text.as_bytes() })
}

fn quote(scheduler: &Scheduler, document: &str) -> Value {
    let answer = scheduler.call("POST", "/quotes", body(document)).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json().expect("JSON")
}

fn time(job: &Value, name: &str) -> Timestamp {
    let text = job[name].as_str().expect("a text");
    text.parse().unwrap_or_else(|_| panic!("{name} of {job}"))
}

#[test]
fn a_chain_is_quoted_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let answer = quote(&scheduler, &chain(", deadline: 3h"));
    let jobs = answer["jobs"].as_array().expect("jobs");
    let (p1, p2, p3) = (&jobs[0], &jobs[1], &jobs[2]);
    for (before, then) in [(p1, p2), (p2, p3)] {
        assert_eq!(then["after"], serde_json::json!([before["name"]]));
        assert_eq!(time(then, "start"), time(before, "finish_p50"), "{answer}");
        let took = time(then, "finish_p50").duration_since(time(then, "start"));
        assert!(took.as_hours() >= 2, "{took}: {answer}");
        assert!(time(then, "finish_p90") >= time(before, "finish_p90"), "{answer}");
        assert_eq!(then["offer"], "", "it cannot start now: {answer}");
    }
    let warnings = p3["warnings"].to_string();
    assert!(warnings.contains("cannot be met"), "{answer}");
    assert!(warnings.contains("p1 -> p2 -> p3 take 6h"), "{answer}");
    for name in ["finish_p50", "finish_p90"] {
        assert_eq!(time(&answer, name), time(p3, name), "the last one ends all: {answer}");
    }
    let micros = |value: &Value, name: &str| value[name].as_i64().expect("micro-dollars");
    for name in ["p50_micros", "p90_micros"] {
        let sum: i64 = jobs.iter().map(|job| micros(job, name)).sum();
        assert_eq!(micros(&answer, name), sum);
    }

    // With a deadline that can be met there is no warning; the deadlines of those before
    // are pulled forward, as they will be when it is submitted.
    let answer = quote(&scheduler, &chain(", deadline: 9h"));
    let jobs = answer["jobs"].as_array().expect("jobs");
    assert!(jobs.iter().all(|job| !job["warnings"].to_string().contains("deadline")), "{answer}");
    assert!(time(&jobs[0], "deadline") < time(&jobs[1], "deadline"), "{answer}");
    let submitted = scheduler.submit(&chain(", deadline: 9h"), "chain").expect("accepted");
    for (job, id) in jobs.iter().zip(submitted) {
        let made = scheduler.job(&id).expect("it is there");
        let apart = time(&made["job"], "deadline").duration_since(time(job, "deadline"));
        assert!(apart.as_secs() >= 0 && apart.as_hours() < 3, "later by the time between: {made}");
        assert_eq!(made["deadline_source"], job["deadline_source"]);
    }
    let path = folder.path().join("chain.yaml");
    std::fs::write(&path, chain("")).expect("written");
    let table = run(&scheduler, &["quote", &path.display().to_string()]).0;
    assert!(table.contains("after p1") && table.contains("all 3 jobs: est."), "{table}");
}

#[test]
fn a_circle_is_named_by_every_entrance() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let circle = "jobs:\n- {name: a, command: [x]}\n- {name: x, command: [x], after: [a, z]}\n\
        - {name: y, command: [x], after: [x]}\n- {name: z, command: [x], after: [y]}\n";
    let named = "x -> z -> y -> x";
    let path = folder.path().join("circle.yaml");
    std::fs::write(&path, circle).expect("written");
    let path = path.display().to_string();
    for command in [&["validate", &path][..], &["quote", &path], &["submit", &path, "--yes"]] {
        let (out, err, code) = run(&scheduler, command);
        assert_eq!(code, Some(2), "{command:?}: {out}{err}");
        assert!(err.contains(named) && err.contains("dependency_cycle"), "{command:?}: {err}");
        assert!(err.contains("circle.yaml:3:"), "located: {err}");
    }
    for path in ["/quotes", "/jobs"] {
        let refused = scheduler.call("POST", path, body(circle)).expect("an answer");
        assert_eq!(refused.status, 400, "{}", refused.text);
        let problem = refused.json().expect("JSON");
        assert_eq!(problem["code"], "dependency_cycle");
        assert_eq!(problem["field"], "jobs[1].after[1]");
        assert!(problem["detail"].as_str().expect("words").contains(named), "{problem}");
    }
    assert!(scheduler.states().expect("it answers").is_empty());
}

#[test]
fn a_deadline_that_can_no_longer_be_met_is_told_at_once_and_along_the_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let ids = scheduler.submit(&chain(", deadline: 3h"), "late").expect("accepted");
    let last = ids.last().expect("three");
    let begun = Instant::now();
    let lost = |job: &Value| {
        let events = job["events"].as_array().expect("events").clone();
        events.into_iter().filter(|event| event["kind"] == "deadline-lost").collect::<Vec<_>>()
    };
    let told = loop {
        let job = scheduler.job(last).expect("it is there");
        let told = lost(&job);
        if !told.is_empty() {
            assert_eq!(job["job"]["deadline_outcome"], "out-of-reach", "{job}");
            break told;
        }
        assert!(begun.elapsed() < LIMIT, "never told: {job}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let message = told[0]["message"].as_str().expect("words");
    assert!(message.contains("can no longer be met"), "{message}");
    let why = run(&scheduler, &["explain", last]).0;
    assert!(why.contains("can no longer be met"), "{why}");
    assert!(run(&scheduler, &["ps"]).0.contains("out-of-reach"));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lost(&scheduler.job(last).expect("it is there")).len(), 1, "told once");
    run(&scheduler, &["cancel", "p1", "--group", "--yes"]);
    scheduler.wait_for_all(LIMIT).expect("they end");
}
