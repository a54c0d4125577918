//! Scripts are users: output is complete or says that it is not.

use std::time::{Duration, Instant};

use spotwise_tests::{Scheduler, spotwise};

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
