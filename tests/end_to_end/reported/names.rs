//! Names, words and environments mean what users expect.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use spotwise_model::spec::MAX_DOCUMENT_BYTES;
use spotwise_tests::{Body, Scheduler, spotwise};

const LIMIT: Duration = Duration::from_secs(60);
const ARGUMENTS: [&str; 4] = ["--market", "synthetic", "--speed", "60"];

/// Standard output, standard error and exit code of a command line.
pub(super) fn run(scheduler: &Scheduler, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output =
        spotwise().args(arguments).args(["--server", &scheduler.url]).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("job.yaml");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn the_name_of_an_array_is_all_its_elements_and_an_element_has_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let big = "name: big\ndeadline: 30m\nwork: {duration: 10m}\narray: {size: 3}\n\
        resources: {cpus: 0.1, memory: 32MB}\ncommand: [sleep, '600']\n";
    let ids = scheduler.submit(big, "big").expect("accepted");
    let listed = run(&scheduler, &["ps"]).0;
    assert!(listed.contains("big[0]") && listed.contains("big[2]"), "{listed}");
    for (index, id) in ids.iter().enumerate() {
        let (out, err, _) = run(&scheduler, &["get", &format!("big[{index}]"), "-o", "json"]);
        let job: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        assert_eq!(job["job"]["id"], id.as_str());
    }
    let rest = scheduler.call("GET", "/jobs/big%5B1%5D/explain", None).expect("an answer");
    assert_eq!(rest.status, 200, "{}", rest.text);
    let (_, err, code) = run(&scheduler, &["get", "big"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("big[0] (j1) to big[2] (j3)"), "{err}");
    assert_eq!(run(&scheduler, &["get", "big[3]"]).2, Some(4));

    let one = run(&scheduler, &["cancel", "big[1]", "--yes", "-o", "json"]).0;
    let one: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(one["jobs"].as_array().map(Vec::len), Some(1));
    let (out, err, code) = run(&scheduler, &["cancel", "big", "--yes"]);
    assert_eq!(code, Some(0), "{err}");
    // The one that was cancelled before may not be over yet.
    assert!(out.contains("j1 big[0]") && out.contains("j3 big[2]"), "{out}");
    let states = scheduler.wait_for_all(LIMIT).expect("they end");
    assert!(states.values().all(|state| state == "cancelled"), "{states:?}");
}

#[test]
fn what_is_public_may_be_in_the_environment_and_what_is_secret_has_a_way_round() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let env = |lines: &str| {
        format!(
            "name: env\ndeadline: 30m\nwork: {{duration: 1m}}\n\
             resources: {{cpus: 0.1, memory: 32MB}}\n\
             command: [sh, -c, 'echo \"$AWS_REGION $KEY\"; echo \"$CA\"']\nenv:\n{lines}"
        )
    };
    let good = env("  AWS_REGION: eu-central-1\n  \
        KEY: {value: AKIAIOSFODNN7EXAMPLE, not_secret: the example of AWS's manual}\n  \
        CA: |\n    -----BEGIN CERTIFICATE-----\n    MIIB\n    -----END CERTIFICATE-----\n");
    let ids = scheduler.submit(&good, "good").expect("accepted");
    scheduler.wait_for_all(LIMIT).expect("it ends");
    let logs = run(&scheduler, &["logs", &ids[0]]).0;
    assert!(logs.contains("eu-central-1 AKIAIOSFODNN7EXAMPLE"), "{logs}");
    assert!(logs.contains("-----END CERTIFICATE-----"), "{logs}");
    let job = scheduler.job(&ids[0]).expect("it is there");
    assert!(job["document"].to_string().contains("the example of AWS's manual"), "{job}");

    for (lines, code, way) in [
        ("  AWS_SECRET_ACCESS_KEY: x\n", "reserved_variable", "secrets: {AWS_SECRET_ACCESS_KEY:"),
        ("  LD_PRELOAD: /x.so\n", "reserved_variable", "another name"),
        ("  SPOTWISE_JOB_ID: j1\n", "reserved_variable", "another name"),
        ("  KEY: AKIAIOSFODNN7EXAMPLE\n", "secret_in_plain_text", "not_secret"),
    ] {
        let path = file(folder.path(), &env(lines));
        let (_, err, exit) = run(&scheduler, &["validate", &path]);
        assert_eq!(exit, Some(2), "{err}");
        assert!(err.contains(code) && err.contains(way), "{err}");
        let body = env(lines);
        let body = Body { kind: "application/yaml", key: None, bytes: body.as_bytes() };
        let refused = scheduler.call("POST", "/jobs", Some(body)).expect("an answer");
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains(code) && refused.text.contains("env."), "{}", refused.text);
    }
}

#[test]
fn words_and_figures_are_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let fails = "name: fails\ndeadline: 30m\nwork: {duration: 1m}\nretries: {errors: 0}\n\
        tags: {Team: vision}\nresources: {cpus: 0.1, memory: 32MB}\ncommand: [sh, -c, 'exit 3']\n";
    let ids = scheduler.submit(fails, "fails").expect("accepted");
    scheduler.wait_for_all(LIMIT).expect("it ends");
    let why = run(&scheduler, &["explain", &ids[0]]).0;
    assert!(why.contains("failed once, with no retry allowed"), "{why}");

    let (table, warned, code) = run(&scheduler, &["cost", "--by", "team"]);
    assert_eq!(code, Some(0), "{warned}");
    let hint = "no charge here has the tag `team`; did you mean `Team`?";
    assert!(warned.contains(hint), "{table}{warned}");
    let json = scheduler.call("GET", "/costs?group_by=team", None).expect("an answer");
    assert_eq!(json.json().expect("JSON")["warnings"], serde_json::json!([hint]));
    assert_eq!(run(&scheduler, &["cost", "--by", "Team"]).1, "", "nothing to warn of");
}

#[test]
fn a_thousand_jobs_fit_into_one_submission() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    // They wait for more processors than there are: none of them runs.
    let job = |n: usize| {
        format!(
            "- {{name: job-{n:04}, command: [x], resources: {{cpus: 500, memory: 32MB}}, \
             env: {{SHARD: '{n}', NOTE: {}}}}}\n",
            "x".repeat(850)
        )
    };
    let text: String = std::iter::once("jobs:\n".to_owned()).chain((0..1_000).map(job)).collect();
    assert!(text.len() > 900_000, "{}", text.len());
    let path = file(folder.path(), &text);
    let (out, err, code) = run(&scheduler, &["submit", &path, "--yes", "-o", "json"]);
    assert_eq!(code, Some(0), "{err}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(answer["submissions"][0]["jobs"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(scheduler.submit(&text, "rest").expect("the same by REST").len(), 1_000);

    let beyond = format!("{text}#{}", " ".repeat(MAX_DOCUMENT_BYTES - text.len()));
    let path = file(folder.path(), &beyond);
    let (_, err, code) = run(&scheduler, &["validate", &path]);
    assert_eq!(code, Some(2));
    assert!(err.contains("1048577 bytes are more than 1048576"), "{err}");
}
