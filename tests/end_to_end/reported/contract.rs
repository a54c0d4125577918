//! The REST contract: validators, generators of clients and fuzzers accept it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use spotwise_tests::{Scheduler, http, token_of, workspace};

/// The tools of `tests/contract/requirements.txt`, which `make tools` installs. Without
/// them there is nothing to see, and in CI that is a failure.
fn tools() -> Option<PathBuf> {
    let tools = workspace().join("target/contract/bin");
    if tools.join("schemathesis").exists() {
        return Some(tools);
    }
    assert!(std::env::var_os("CI").is_none(), "the tools are missing: make tools");
    println!("skipped: the tools are missing, make tools installs them");
    None
}

fn start(folder: &Path) -> Scheduler {
    let scheduler = Scheduler::start(folder, &["--outside-workers"]).expect("it starts");
    let array = "name: many\ncommand: ['true']\nwork: {duration: 1h}\narray: {size: 3}\n";
    scheduler.submit(array, "many").expect("accepted");
    // One that is over, for those that read or bring back what is: it never ran.
    let over = "name: over\ncommand: ['true']\nafter: [j1]\n";
    scheduler.submit(over, "over").expect("accepted");
    scheduler.call("POST", "/jobs/j4/cancel", None).expect("an answer");
    scheduler
}

fn token(scheduler: &Scheduler) -> String {
    token_of(&scheduler.url).expect("it leads")
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("it runs");
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}{}", said[0], said[1]);
    output
}

/// The document as it is served, in a file.
fn document(scheduler: &Scheduler, folder: &Path) -> PathBuf {
    let url = format!("{}/openapi.json", scheduler.url);
    let path = folder.join("openapi.json");
    let answer = http("GET", &url, None).expect("an answer");
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"));
    std::fs::write(&path, answer.text).expect("it is written");
    path
}

#[test]
fn a_validator_accepts_the_document() {
    let Some(tools) = tools() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let document = document(&scheduler, folder.path());
    succeeds(Command::new(tools.join("openapi-spec-validator")).arg(document));
}

#[test]
fn a_generated_client_works() {
    let Some(tools) = tools() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let document = document(&scheduler, folder.path());
    let path = std::env::var("PATH").unwrap_or_default();
    let package = folder.path().join("spotwise_client");
    let generated = succeeds(
        Command::new(tools.join("openapi-python-client"))
            .args(["generate", "--meta", "none", "--path"])
            .arg(&document)
            .arg("--output-path")
            .arg(&package)
            .current_dir(folder.path())
            .env("PATH", format!("{}:{path}", tools.display())),
    );
    let said = String::from_utf8_lossy(&generated.stdout);
    assert!(!said.contains("Unable to parse"), "{said}");
    succeeds(
        Command::new(tools.join("python"))
            .arg(workspace().join("tests/contract/client.py"))
            .arg(&scheduler.url)
            .arg(token(&scheduler))
            .env("PYTHONPATH", folder.path())
            .env("NO_PROXY", "*"),
    );
}

#[test]
fn a_fuzzer_finds_no_answer_that_is_not_in_the_document() {
    let Some(tools) = tools() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    succeeds(
        Command::new(tools.join("schemathesis"))
            .arg("--config-file")
            .arg(workspace().join("tests/contract/schemathesis.toml"))
            .arg("run")
            .arg(format!("{}/openapi.json", scheduler.url))
            .arg("--header")
            .arg(format!("Authorization: Bearer {}", token(&scheduler)))
            .current_dir(folder.path())
            .env("SCHEMATHESIS_HOOKS", workspace().join("tests/contract/checks.py"))
            .env("NO_PROXY", "*"),
    );
}
