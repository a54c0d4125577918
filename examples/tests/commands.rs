//! The commands as a worker runs them: as processes, with an environment, files
//! and signals.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The program with nothing of a worker in its environment but `pairs`.
fn example<V: AsRef<OsStr>>(arguments: &[&str], pairs: &[(&str, V)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotwise-example"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPOTWISE_") {
            command.env_remove(name);
        }
    }
    for (name, value) in pairs {
        command.env(format!("SPOTWISE_{name}"), value);
    }
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end: exit code, what it printed, and its complaint.
fn finish(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Reads its output up to the first line that starts with `start`, which is
/// returned with the reader, so that the pipe stays open.
fn read_until(child: &mut Child, start: &str) -> (String, impl BufRead + use<>) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with(start) {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "it ended before {start:?}");
    }
    (line, reader)
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn training_stopped_by_sigterm_goes_on_to_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let arguments = ["train", "--steps", "60", "--hidden", "24"];

    // An hour a step, if the signal did not end the rest.
    let slow = [&arguments[..], &["--log-every", "1", "--pace", "3600s"]].concat();
    let first = [("CHECKPOINT_DIR", at("first")), ("PROGRESS_FILE", at("progress"))];
    let mut child = example(&slow, &first).spawn().unwrap();
    let (_, reader) = read_until(&mut child, "step 1/60");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let rest: Vec<String> = reader.lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(rest.last().unwrap().starts_with("stopped at step 1 "), "{rest:?}");
    let progress = fs::read_to_string(at("progress")).unwrap();
    assert!(progress.lines().last().unwrap().starts_with(r#"{"step":1,"total":60,"loss":"#));

    // The second attempt finds what the worker restored, and writes elsewhere.
    let second = [
        ("RESUME_FROM", at("first")),
        ("CHECKPOINT_DIR", at("second")),
        ("OUTPUT_DIR", at("resumed")),
    ];
    let (code, output, complaint) = finish(example(&arguments, &second));
    assert_eq!(code, Some(0), "{complaint}");
    assert!(output.contains("resumed from step 1 (loss "), "{output}");
    assert!(at("second/step-000060/meta.json").exists());

    let (code, ..) = finish(example(&arguments, &[("OUTPUT_DIR", at("undisturbed"))]));
    assert_eq!(code, Some(0));
    let model = |run: &str| fs::read(at(run).join("model/model.safetensors")).unwrap();
    assert!(model("resumed") == model("undisturbed"), "the weights differ");
    assert_eq!(json(&at("resumed/metrics.json")), json(&at("undisturbed/metrics.json")));
}

#[test]
fn a_notice_saves_at_once_and_work_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let notice = dir.path().join("notice");
    fs::write(&notice, "{}").unwrap();
    let pairs = [("INTERRUPTION_FILE", notice), ("CHECKPOINT_DIR", dir.path().join("saved"))];
    let (code, output, _) = finish(example(&["train", "--steps", "3", "--hidden", "8"], &pairs));
    assert_eq!(code, Some(0));
    assert!(output.contains("interruption notice at step 0: saved, going on"), "{output}");
    assert!(dir.path().join("saved/step-000000").exists());
}

#[test]
fn the_pipeline_hands_its_results_on() {
    let dir = tempfile::tempdir().unwrap();
    let pairs =
        [("SHARED_DIR", dir.path().join("shared")), ("OUTPUT_DIR", dir.path().join("output"))];
    let steps: [&[&str]; 3] =
        [&["prepare"], &["train", "--prepared", "--steps", "40"], &["evaluate"]];

    // In the wrong order each says what is missing.
    let (code, _, complaint) = finish(example(steps[1], &pairs));
    assert_eq!(code, Some(1));
    assert!(complaint.contains("vocab.json"), "{complaint}");

    for arguments in steps {
        let (code, _, complaint) = finish(example(arguments, &pairs));
        assert_eq!(code, Some(0), "{arguments:?}: {complaint}");
    }
    let report = json(&dir.path().join("output/report.json"));
    let loss = report["loss"].as_f64().unwrap();
    // Below even odds over some 80 characters (ln 80 is 4.4): it has learnt.
    assert!((1.0..4.0).contains(&loss), "{report}");
    assert_eq!(report["better_than_trigram"], false);
}

#[test]
fn a_trained_model_scores_texts() {
    let dir = tempfile::tempdir().unwrap();
    let output = [("OUTPUT_DIR", dir.path().to_owned())];
    assert_eq!(finish(example(&["train", "--steps", "20"], &output)).0, Some(0));
    let model = dir.path().join("model");
    let prompts = concat!(env!("CARGO_MANIFEST_DIR"), "/data/prompts");
    let arguments = ["infer", "--model", model.to_str().unwrap(), "--input", prompts];
    let (code, _, complaint) = finish(example(&arguments, &output));
    assert_eq!(code, Some(0), "{complaint}");
    let score = json(&dir.path().join("12-sand.json"));
    assert_eq!(score["model"], "char-mlp");
    assert!(score["perplexity"].as_f64().unwrap() > 1.0);
}

#[test]
fn a_sweep_sets_rate_and_seed() {
    let pairs = [("PARAM_LR", "0.01"), ("PARAM_SEED", "5")];
    let (code, output, _) = finish(example(&["train", "--steps", "1"], &pairs));
    assert_eq!(code, Some(0));
    assert!(output.contains("lr 0.01, seed 5"), "{output}");
}

#[test]
fn the_python_example_compiles_and_says_what_it_needs() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pytorch/train.py");
    let cache = tempfile::tempdir().unwrap();
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(arguments).env("PYTHONPYCACHEPREFIX", cache.path()).output()
    };
    let Ok(compiled) = python(&["-m", "py_compile", script]) else {
        println!("skipped: there is no python3 here");
        return;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let with_torch = python(&["-c", "import torch"]).unwrap().status.success();
    let output = python(&[script, "--steps", "2"]).unwrap();
    if with_torch {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    } else {
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("needs PyTorch"));
    }
}
