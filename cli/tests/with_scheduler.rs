//! The command line against a scheduler that answers what the test wants: what
//! is printed, and with which code it ends. The real scheduler is met in the
//! end-to-end tests.

mod scripted;

use std::process::Stdio;

use scripted::{Scripted, job};

const GOOD: &str = "name: train\ncommand: [python3, train.py]\n";

struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn run(server: &Scripted, arguments: &[&str]) -> Answer {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("good.yaml"), GOOD).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_spotwise"))
        .args(arguments)
        .current_dir(home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .env("SPOTWISE_SERVER", server.address())
        .env_remove("SPOTWISE_PROFILE")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn a_submission_shows_its_price_first() {
    let server = Scripted::start(&["succeeded"]).await;
    let answer = run(&server, &["submit", "good.yaml", "--yes"]).await;
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    insta::assert_snapshot!("submit", answer.out);
}

#[tokio::test]
async fn the_end_of_a_job_is_the_exit_code() {
    for (states, code) in [
        (&["waiting", "active", "succeeded"][..], 0),
        (&["active", "failed"], 1),
        (&["cancelled"], 1),
        (&["skipped"], 0),
        (&["rejected"], 3),
    ] {
        let server = Scripted::start(states).await;
        let answer = run(&server, &["submit", "good.yaml", "--yes", "--wait"]).await;
        assert_eq!(answer.code, Some(code), "{states:?}: {} {}", answer.out, answer.err);
        let last = states.last().unwrap();
        assert!(answer.out.contains(&format!("j7 train: {last}")), "{}", answer.out);
    }
}

#[tokio::test]
async fn waiting_has_an_end() {
    let server = Scripted::start(&["active"]).await;
    let line = ["submit", "good.yaml", "--yes", "--wait", "--timeout", "1s", "-o", "json"];
    let answer = run(&server, &line).await;
    assert_eq!(answer.code, Some(6));
    assert!(answer.err.contains("1 job not done in time"), "{}", answer.err);
    let json: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(json["submissions"][0]["jobs"][0]["id"], "j7");
    assert!(json["ended"].is_null());
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let server = Scripted::start(&["active"]).await;
    for (name, code, message) in [
        ("missing", 4, "missing does not exist"),
        ("denied", 5, "not yours"),
        ("bad", 2, "job: is not a name [invalid_value]"),
        ("busy", 7, "overloaded"),
        ("broken", 1, "internal"),
    ] {
        let answer = run(&server, &["get", name]).await;
        assert_eq!(answer.code, Some(code), "{name}: {}", answer.err);
        assert!(answer.err.contains(message), "{name}: {}", answer.err);
    }
}

#[tokio::test]
async fn lists_are_aligned_and_escaped() {
    let server = Scripted::start(&["active"]).await;
    for (name, line) in [
        ("ps", &["ps"][..]),
        ("get", &["get", "j7"]),
        ("explain", &["explain", "j7"]),
        ("offers", &["offers"]),
        ("cost", &["cost", "--by", "model,Team"]),
        ("pools", &["pools"]),
        ("pools-show", &["pools", "show", "east-small"]),
        ("pools-show-local", &["pools", "show", "local"]),
        ("machines", &["machines", "--all"]),
        ("machines-explain", &["machines", "explain", "i5"]),
        ("machines-drain", &["machines", "drain", "i5"]),
        ("freeze", &["freeze", "--reason", "the budget of June"]),
        ("unfreeze", &["unfreeze"]),
    ] {
        let answer = run(&server, line).await;
        assert_eq!(answer.code, Some(0), "{name}: {}", answer.err);
        assert!(!answer.out.contains('\x1b'), "{name}: {}", answer.out);
        insta::assert_snapshot!(name, answer.out);
    }
}

#[tokio::test]
async fn json_is_the_whole_answer() {
    let server = Scripted::start(&["active"]).await;
    let answer = run(&server, &["get", "j7", "--output", "json"]).await;
    let detail: spotwise_api::v1::JobDetail = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(detail.job, Some(job("active")));
}

#[tokio::test]
async fn pools_and_machines_that_are_not_there_have_their_codes() {
    let server = Scripted::start(&["active"]).await;
    for (line, code, message) in [
        (&["pools", "show", "moon"][..], 4, "no pool `moon`"),
        (&["machines", "explain", "i9"], 4, "no machine i9"),
        (&["machines", "drain", "i1"], 2, "i1 is a slot"),
        (&["machines", "--all", "drain", "i5"], 2, "--pool, --state and --all"),
    ] {
        let answer = run(&server, line).await;
        assert_eq!(answer.code, Some(code), "{line:?}: {}", answer.err);
        assert!(answer.err.contains(message), "{line:?}: {}", answer.err);
    }
    let answer = run(&server, &["machines", "--all", "-o", "json"]).await;
    let all: Vec<spotwise_api::v1::MachineView> = serde_json::from_str(&answer.out).unwrap();
    assert_eq!((all.len(), answer.err.as_str()), (3, "settled ones are not listed\n"));
}

#[tokio::test]
async fn a_pipe_gets_logs_as_they_were_written() {
    let server = Scripted::start(&["active"]).await;
    let answer = run(&server, &["logs", "j7"]).await;
    assert_eq!(answer.out, "\x1b[31mstep 1\x1b[0m\nstep 2");
    let named = run(&server, &["logs", "j7", "--all-attempts"]).await;
    assert_eq!(named.out, "j7.1 | \x1b[31mstep 1\x1b[0m\nj7.1 | step 2");
}

#[tokio::test]
async fn a_report_that_does_not_add_up_is_not_passed_on_as_good() {
    let server = Scripted::start(&["active"]).await;
    let answer = run(&server, &["cost", "--by", "wrong"]).await;
    assert_eq!(answer.code, Some(1));
    assert!(answer.err.contains("does not add up"), "{}", answer.err);
}
