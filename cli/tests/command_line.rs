//! The command line as a person or a script meets it, without a scheduler:
//! help, messages, exit codes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Nobody listens there: the port is reserved.
const NOBODY: &str = "http://127.0.0.1:1";

/// Runs `spotwise` in a folder of its own, with no configuration.
struct Line {
    home: tempfile::TempDir,
}

impl Line {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spotwise"));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .env_remove("SPOTWISE_SERVER")
            .env_remove("SPOTWISE_PROFILE")
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        Answer::from(self.command(arguments).output().unwrap())
    }
}

#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

const GOOD: &str = "name: train\ncommand: [python3, train.py]\nresources: {gpus: 'V100:1'}\n";

#[test]
fn help() {
    let line = Line::new();
    for command in [
        "",
        "submit",
        "serve",
        "demo",
        "cost",
        "logs",
        "validate",
        "pools",
        "pools validate",
        "machines",
        "backtest",
        "backtest single",
        "backtest workload",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let answer = line.run(&arguments);
        assert_eq!(answer.code, Some(0), "{command}");
        let name = format!("help {command}").trim_end().replace(' ', "-");
        insta::assert_snapshot!(name, answer.out);
    }
}

#[test]
fn a_valid_file_needs_no_scheduler() {
    let line = Line::new();
    line.write("good.yaml", GOOD);
    let answer = line.run(&["validate", "good.yaml"]);
    assert_eq!((answer.code, answer.out.as_str()), (Some(0), "ok: 1 job\n"), "{answer:?}");
}

#[test]
fn mistakes_are_located() {
    let line = Line::new();
    line.write("good.yaml", GOOD);
    line.write("field.yaml", &format!("{GOOD}bugdet_usd: 2\n"));
    line.write("twice.yaml", &format!("{GOOD}name: other\n"));
    line.write("money.json", r#"{"name": "train", "command": ["true"], "budget_usd": -1}"#);
    line.write("large.yaml", &"#".repeat(2_000_000));
    line.write("folder/x.yaml", "");
    let files = [
        "good.yaml",
        "field.yaml",
        "twice.yaml",
        "money.json",
        "large.yaml",
        "folder",
        "none.yaml",
    ];
    let answer = line.run(&[&["validate"], &files[..]].concat());
    assert_eq!(answer.code, Some(2));
    insta::assert_snapshot!("validate", format!("{}---\n{}", answer.out, answer.err));

    let answer = line.run(&["validate", "field.yaml", "--output", "json"]);
    assert_eq!((answer.code, answer.err.as_str()), (Some(2), ""));
    let json: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(json[0]["error"]["code"], "unknown_field");
    assert_eq!(json[0]["error"]["line"], 4);
}

#[test]
fn mistakes_of_a_pools_file_are_told_at_once() {
    let line = Line::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/operator/pools.yaml");
    let answer = line.run(&["pools", "validate", example.to_str().unwrap()]);
    assert_eq!((answer.code, answer.out.as_str()), (Some(0), "ok: 3 pools\n"), "{answer:?}");

    let good = std::fs::read_to_string(example).unwrap();
    line.write("good.yaml", &good);
    let wrong = [
        ("kind: local", "kind: lokal"),
        ("us-east-1c]", "us-west-1c]"),
        ("gpus: 32", "gpu: 32"),
        ("0.5 %", "0.5"),
        ("keep: 30m", "keep: -30m"),
        ("dollars_per_hour: 25", "dollars_per_hour: .nan"),
    ];
    let bad = wrong.iter().fold(good, |text, (from, to)| text.replacen(from, to, 1));
    line.write("bad.yaml", &bad);
    line.write("bytes.yaml", "");
    std::fs::write(line.home.path().join("bytes.yaml"), b"version: \xff").unwrap();
    let answer =
        line.run(&["pools", "validate", "good.yaml", "bad.yaml", "bytes.yaml", "none.yaml"]);
    assert_eq!(answer.code, Some(2));
    insta::assert_snapshot!("pools-validate", format!("{}---\n{}", answer.out, answer.err));

    let answer = line.run(&["pools", "validate", "bad.yaml", "--output", "json"]);
    assert_eq!((answer.code, answer.err.as_str()), (Some(2), ""));
    let json: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(json[0]["errors"].as_array().unwrap().len(), wrong.len());
    assert_eq!(json[0]["errors"][0]["code"], "invalid_percentage");
    assert_eq!(json[0]["valid"], false);
}

#[test]
fn an_escape_in_a_file_name_does_not_reach_the_terminal() {
    let answer = Line::new().run(&["validate", "\x1b[2J.yaml"]);
    assert_eq!(answer.err, "\\x1b[2J.yaml: no such file [unreadable_file]\n");
}

#[test]
fn without_a_scheduler_the_code_is_seven() {
    let line = Line::new();
    line.write("good.yaml", GOOD);
    for arguments in [
        &["ps"][..],
        &["get", "j1"],
        &["logs", "j1"],
        &["explain", "j1"],
        &["cancel", "j1", "--yes"],
        &["resubmit", "j1"],
        &["cost"],
        &["offers"],
        &["pools"],
        &["pools", "show", "local"],
        &["machines"],
        &["machines", "explain", "i5"],
        &["machines", "drain", "i5"],
        &["quote", "good.yaml"],
        &["submit", "good.yaml", "--yes"],
    ] {
        let answer = line.run(&[arguments, &["--server", NOBODY]].concat());
        assert_eq!(answer.code, Some(7), "{arguments:?}: {answer:?}");
        assert_eq!(answer.out, "", "{arguments:?}");
        assert_eq!(answer.err.lines().count(), 1, "{arguments:?}: {}", answer.err);
        assert!(answer.err.starts_with("error: no scheduler answers at http://127.0.0.1:1"));
    }
}

#[test]
fn the_own_version_needs_no_scheduler() {
    let answer = Line::new().run(&["version", "--server", NOBODY]);
    assert_eq!(answer.code, Some(0));
    assert!(answer.out.contains("scheduler at http://127.0.0.1:1: does not answer"), "{answer:?}");
}

#[test]
fn configuration_mistakes_are_one_clear_line() {
    for (file, arguments, expected) in [
        ("profils: {}\n", &["ps"][..], "profils"),
        ("default_profile: moon\n", &["ps"], "no profile `moon`"),
        ("profiles: {lab: {server: 'ftp://x'}}\n", &["ps", "--profile", "lab"], "write http://"),
        ("profiles: {lab: {server: a, token: b}}\n", &["ps", "--profile", "lab"], "token"),
        (": [", &["ps"], "config.yaml"),
    ] {
        let line = Line::new();
        line.write("spotwise/config.yaml", file);
        let answer = line.run(arguments);
        assert_eq!(answer.code, Some(2), "{file}: {answer:?}");
        assert_eq!(answer.err.lines().count(), 1, "{file}: {}", answer.err);
        assert!(answer.err.contains(expected), "{file}: {}", answer.err);
    }
}

#[test]
fn the_environment_names_the_scheduler() {
    let line = Line::new();
    let output = line.command(&["ps"]).env("SPOTWISE_SERVER", NOBODY).output().unwrap();
    let answer = Answer::from(output);
    assert!(answer.err.contains("127.0.0.1:1"), "{answer:?}");
}

#[test]
fn nobody_can_be_asked_without_a_terminal() {
    let line = Line::new();
    line.write("good.yaml", GOOD);
    for arguments in [&["submit", "good.yaml"][..], &["cancel", "j1"]] {
        let answer = line.run(arguments);
        assert_eq!(answer.code, Some(2));
        assert!(answer.err.contains("add --yes"), "{}", answer.err);
    }
}

#[test]
fn wrong_use_is_two() {
    let line = Line::new();
    line.write("good.yaml", GOOD);
    for arguments in [
        &["submit"][..],
        &["ps", "--state", "asleep"],
        &["ps", "--tag", "x"],
        &["machines", "--state", "asleep"],
        &["machines", "--all", "drain", "i5"],
        &["logs", "j1", "--tail", "0"],
        &["frobnicate"],
        &["submit", "good.yaml", "good.yaml", "--yes", "--idempotency-key", "k"],
        &["serve", "--listen", "0.0.0.0:7717"],
        &["serve", "--speed", "240"],
        &["serve", "--policy", "good.yaml"],
        &["demo", "--examples", "missing"],
    ] {
        let answer = line.run(arguments);
        assert_eq!(answer.code, Some(2), "{arguments:?}: {answer:?}");
        assert!(!answer.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn schema_and_completions_are_for_programs() {
    let line = Line::new();
    let schema: serde_json::Value = serde_json::from_str(&line.run(&["schema"]).out).unwrap();
    assert!(schema.is_object());
    let schema = line.run(&["pools", "schema"]).out;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["title"], "spotwise pools");
    for shell in ["bash", "zsh", "fish"] {
        let answer = line.run(&["completions", shell]);
        assert!(answer.out.contains("validate"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let line = Line::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = line.command(&["schema"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn every_example_is_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            seen += 1;
            let answer = Line::new().run(&["validate", path.to_str().unwrap()]);
            assert_eq!(answer.code, Some(0), "{answer:?}");
        }
    }
    assert!(seen > 0, "no examples in {}", examples.display());
}

/// Two zones for two days: the cheap one comes and goes.
const RECORDING: &str = "seconds,zone,instance_type,available,spot_usd_per_hour
0,a,p3.2xlarge,1,0.90
0,b,p3.2xlarge,1,1.20
20000,a,p3.2xlarge,0,0.90
40000,a,p3.2xlarge,1,0.95
90000,b,p3.2xlarge,0,1.20
110000,a,p3.2xlarge,0,0.95
130000,b,p3.2xlarge,1,1.10
";
const RECORDINGS: &str = r#"[{"file": "m.csv", "step_seconds": 600, "steps": 288,
    "instance_types": {"p3.2xlarge": 3.06}, "start_date": "2023-02-15"}]"#;

fn with_recording() -> Line {
    let line = Line::new();
    line.write("m.csv", RECORDING);
    line.write("index.json", RECORDINGS);
    line
}

const SINGLE: [&str; 14] = [
    "backtest",
    "single",
    "--market",
    "m.csv",
    "--index",
    "index.json",
    "--type",
    "p3.2xlarge",
    "--hours",
    "8",
    "--deadline-factor",
    "1.2,2",
    "--windows",
    "3",
];

#[test]
fn one_job_in_windows_of_a_recording() {
    let line = with_recording();
    let policies = ["--policies", "greedy,uniform-progress,on-demand,optimal"];
    let answer = line.run(&[&SINGLE[..], &policies].concat());
    assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("backtest-single", answer.out);

    let json = [&policies[..], &["--decisions", "d.csv", "--output", "json"]].concat();
    let answer = line.run(&[&SINGLE[..], &json].concat());
    let rows: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2 * 3 * 4);
    let keys: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    let expected = [
        "deadline_factor",
        "start_step",
        "policy",
        "cost_fraction",
        "missed",
        "interruptions",
        "moves",
    ];
    assert_eq!(keys, expected);
    let decisions = std::fs::read_to_string(line.home.path().join("d.csv")).unwrap();
    let first: Vec<&str> = decisions.lines().take(2).collect();
    assert_eq!(first, ["deadline_factor,start_step,policy,step,choice", "1.2,0,greedy,0,a"]);
}

#[test]
fn mistakes_of_a_backtest_are_one_line_and_code_two() {
    let line = with_recording();
    for (arguments, expected) in [
        (["--zones", "a,x"], "error: m.csv has no p3.2xlarge in zone `x`; it has a, b\n"),
        (["--windows", "0"], "error: `windows` must be a number from 1 to 100000, not 0\n"),
        (["--hours", "NaN"], "error: the hours of work must be a number above 0"),
        (["--policies", "best"], "error: no policy is called `best`"),
        (["--index", "none.json"], "error: cannot read none.json: No such file"),
    ] {
        let kept = SINGLE.chunks(2).filter(|pair| pair[0] != arguments[0]);
        let kept: Vec<&str> = kept.flatten().copied().collect();
        let answer = line.run(&[&kept[..], &arguments].concat());
        assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""), "{answer:?}");
        assert!(answer.err.starts_with(expected), "{answer:?}");
    }
}

#[test]
fn a_workload_on_a_recording() {
    let line = with_recording();
    let mut jobs = "submit_s,duration_s,num_gpus,virtual_cluster\n".to_owned();
    for n in 0..12 {
        jobs += &format!("{},{},1,x\n", n * 4_000, 7_200 + n * 900);
    }
    line.write("jobs.csv", &jobs);
    line.write("policy.yaml", "interruption_waiver: 1s\n");
    let workload = [
        "backtest",
        "workload",
        "--market",
        "m.csv",
        "--index",
        "index.json",
        "--jobs",
        "jobs.csv",
        "--capacity",
        "2",
        "--start-after",
        "1h",
        "--planners",
        "greedy,uniform-progress",
        "--plot",
        "plot.svg",
    ];
    let answer = line.run(&workload);
    assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("backtest-workload", answer.out);
    let plot = std::fs::read_to_string(line.home.path().join("plot.svg")).unwrap();
    assert_eq!(plot.matches("<polyline").count(), 4);

    let what_if = ["--policy-file", "policy.yaml", "--output", "json"];
    let answer = line.run(&[&workload[..], &what_if].concat());
    let report: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(report["results"][2]["planner"], "spotwise, policy.yaml");
    assert_eq!(report["results"][2]["unfinished"], 0);
}
