//! Room is kept for who must run, and others fill what is left.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use spotwise_tests::{Scheduler, spotwise, text};

const LIMIT: Duration = Duration::from_secs(120);

/// More machines than anybody asks for; a market minute is a second.
const MARKET: &str = "seconds,zone,instance_type,available,spot_usd_per_hour\n\
    0,us-east-1a,p3.2xlarge,40,0.05\n\
    3600000,us-east-1a,p3.2xlarge,40,0.05\n";

fn on_two_cpus(folder: &Path) -> Scheduler {
    let file = folder.join("market.csv");
    std::fs::write(&file, MARKET).expect("written");
    let file = file.display().to_string();
    let market = ["--market", &file, "--market-start", "2026-03-07T00:00:00Z", "--speed", "60"];
    let arguments = [&market[..], &["--cpus", "2", "--memory", "2GB"]].concat();
    Scheduler::start(folder, &arguments).expect("it starts")
}

/// A job that says that it takes so many market minutes, and takes so many seconds.
fn job(name: &str, cpus: &str, work: &str, seconds: &str, more: &str) -> String {
    format!(
        "name: {name}\nwork: {{duration: {work}}}\nresources: {{cpus: {cpus}, memory: 32MB}}\n\
         {more}\ncommand: [sleep, \"{seconds}\"]\n"
    )
}

fn submit(scheduler: &Scheduler, name: &str, document: &str) -> String {
    scheduler.submit(document, name).expect("accepted").remove(0)
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {LIMIT:?}: {what}");
}

fn state(scheduler: &Scheduler, id: &str) -> String {
    let job = scheduler.job(id).expect("it is there");
    job["job"]["state"].as_str().unwrap_or_default().to_owned()
}

/// When the first attempt of a job was launched.
fn launched(scheduler: &Scheduler, id: &str) -> Timestamp {
    let job = scheduler.job(id).expect("it is there");
    let at = job["attempts"][0]["launched"].as_str().map(str::parse);
    at.expect("an attempt").expect("a time")
}

/// Waits until a job runs or is over.
fn started(scheduler: &Scheduler, id: &str) {
    until(id, || (state(scheduler, id) != "waiting").then_some(()));
}

fn explain(scheduler: &Scheduler, id: &str) -> String {
    let mut cli = spotwise();
    text(&cli.args(["explain", id, "--server", &scheduler.url]).output().expect("it runs"))
}

/// Waits until the explanation of a job says something; until then it is no lie.
fn explained(scheduler: &Scheduler, id: &str, says: &str) -> String {
    until(says, || {
        let told = explain(scheduler, id);
        told.contains(says).then_some(told)
    })
}

/// Small jobs run and others like them wait; a large one of higher priority gets the room
/// that they leave, and who is gone by then runs before it.
#[test]
fn a_large_job_gets_its_room_behind_a_stream_of_small_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on_two_cpus(folder.path());
    let small = |n: u32, work: &str, seconds: &str| {
        let name = format!("small-{n}");
        submit(&scheduler, &name, &job(&name, "0.5", work, seconds, "deadline: 100h"))
    };
    for n in 0..3 {
        started(&scheduler, &small(n, "15m", "15"));
    }
    let large = job("large", "2", "1m", "1", "priority: 100\ndeadline: 3h");
    let large = submit(&scheduler, "large", &large);
    let told =
        explained(&scheduler, &large, "room is being kept for it: expected start 2026-03-07");
    assert!(told.contains("j1") && told.contains("j3"), "{told}");
    assert!(!told.contains("would start now"), "{told}");
    // Half a CPU is free: not for what stays, but for what is gone by then.
    let late = small(4, "6h", "2");
    let soon = small(5, "1m", "0.1");
    let told = explained(&scheduler, &late, &format!("room is reserved for {large} (priority 100"));
    assert!(!told.contains("would start now"), "{told}");
    started(&scheduler, &soon);
    assert_eq!(state(&scheduler, &late), "waiting", "{}", explain(&scheduler, &late));
    let preview = folder.path().join("preview.yaml");
    std::fs::write(&preview, job("preview", "0.5", "6h", "1", "deadline: 100h")).expect("written");
    let mut cli = spotwise();
    let quote = cli.arg("quote").arg(&preview).args(["--server", &scheduler.url]).output();
    let quote = text(&quote.expect("it runs"));
    assert!(!quote.contains("would start now"), "{quote}");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    assert!(launched(&scheduler, &large) < launched(&scheduler, &late));
}

/// Of equal priority the one whose deadline is near has the room, long before it is late.
#[test]
fn a_near_deadline_has_the_room_among_equals() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on_two_cpus(folder.path());
    let small = |n: u32| {
        let name = format!("small-{n}");
        submit(&scheduler, &name, &job(&name, "1", "20h", "3", "deadline: 100h"))
    };
    started(&scheduler, &small(0));
    let large = submit(&scheduler, "large", &job("large", "2", "1m", "0.2", "deadline: 6h"));
    explained(&scheduler, &large, "room is being kept for it");
    let late = small(1);
    explained(&scheduler, &late, &format!("room is reserved for {large}"));
    scheduler.wait_for_all(LIMIT).expect("all end");
    assert!(launched(&scheduler, &large) < launched(&scheduler, &late));
}
