//! Memory is measured and shown, and want of it told apart from other failures.

use std::time::Duration;

use super::endings::{STAYS, on};
use spotwise_tests::{Scheduler, spotwise, text};

const LIMIT: Duration = Duration::from_secs(120);
const MB: u64 = 1_000_000;

fn cli(scheduler: &Scheduler, arguments: &[&str]) -> String {
    let mut cli = spotwise();
    text(&cli.args(arguments).args(["--server", &scheduler.url]).output().expect("it runs"))
}

fn job(name: &str, memory: &str, script: &str) -> String {
    format!(
        "name: {name}\ndeadline: 40h\nwork: {{duration: 30m}}\nretries: {{errors: 0}}\n\
         resources: {{cpus: 0.1, memory: {memory}}}\ncommand: [sh, -c, '{script}']\n"
    )
}

/// 300 MB in a child of the command, for less time than lies between two looks at `/proc`;
/// killed by somebody else, as the kernel does it; and a kill that memory does not explain.
#[test]
fn the_peak_is_measured_and_a_kill_at_the_request_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on(folder.path(), STAYS, &[]);
    // `tail` keeps what has no line end.
    let takes = "head -c 300000000 /dev/zero | tail -n 1 | wc -c";
    let documents = [
        job("fits", "400MB", takes),
        job("killed", "64MB", &format!("{takes}; kill -9 $$")),
        job("modest", "64MB", "kill -9 $$"),
    ];
    let mut ids = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        ids.extend(scheduler.submit(document, &number.to_string()).expect("accepted"));
    }
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    let peaks: Vec<u64> = ids
        .iter()
        .map(|id| {
            let job = scheduler.job(id).expect("it is there");
            job["attempts"][0]["peak_memory_bytes"].as_u64().unwrap_or(0)
        })
        .collect();
    assert_eq!(
        [&states[&ids[0]], &states[&ids[1]], &states[&ids[2]]],
        ["succeeded", "failed", "failed"]
    );
    for peak in &peaks[..2] {
        assert!((300 * MB..500 * MB).contains(peak), "{peaks:?}");
    }
    assert!(peaks[2] < 58 * MB, "{peaks:?}");
    let shown = cli(&scheduler, &["get", &ids[0]]);
    assert!(shown.contains("peak 3") && shown.contains("measured, not limited"), "{shown}");
    for command in ["get", "explain"] {
        let why = cli(&scheduler, &[command, &ids[1]]);
        assert!(why.contains("probably out of memory: peak 3"), "{why}");
        assert!(why.contains("ask for `memory: "), "it suggests a request: {why}");
    }
    let why = cli(&scheduler, &["explain", &ids[2]]);
    assert!(why.contains("signal 9") && !why.contains("out of memory"), "{why}");
}
