//! The database goes away, and the network between workers and scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spotwise_test_postgres::{Server, shared};
use spotwise_tests::proxy::{Network, Proxy, Target};
use spotwise_tests::{Body, Scheduler, free_port, http, workers};

pub(super) const LIMIT: Duration = Duration::from_secs(240);
pub(super) const MARKET: [&str; 6] =
    ["--market", "synthetic", "--speed", "60", "--notice-lead", "5s"];

/// How long PostgreSQL is away. The catalogue says 120 s; half a minute shows
/// the same, as every limit of ours is shorter than that but the worker's lease.
fn outage() -> Duration {
    let seconds = std::env::var("SPOTWISE_TEST_OUTAGE_S").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// A job that writes down each second of its life.
pub(super) fn counting(name: &str, log: &Path, seconds: u32) -> String {
    format!(
        "name: {name}\nclass: dev\ndeadline: 3h\nwork: {{duration: 5m}}\n\
         resources: {{cpus: 0.05, memory: 16MB}}\ncheckpoint: {{interval: 10m, grace: 1s}}\n\
         command: [sh, -c, 'trap \"echo stop $SPOTWISE_ATTEMPT_ID $(date +%s%N) >> $0; exit 143\" TERM; \
         i=0; while [ $i -lt {seconds} ]; do i=$((i+1)); \
         echo at $SPOTWISE_ATTEMPT_ID $(date +%s%N) >> \"$0\"; sleep 1; done', '{}']\n",
        log.display()
    )
}

/// A job that writes down each second of its life until the file `end` is there.
/// Nothing moves it.
pub(super) fn writing(name: &str, log: &Path, end: &Path) -> String {
    format!(
        "name: {name}\nclass: dev\ninterruptible: false\ndeadline: 900h\nwork: {{duration: 1h}}\n\
         resources: {{cpus: 0.02, memory: 8MB}}\ncheckpoint: {{interval: 100h, grace: 1s}}\n\
         command: [sh, -c, 'while [ ! -e \"$1\" ]; do \
         echo at $SPOTWISE_ATTEMPT_ID $(date +%s%N) >> \"$0\"; sleep 1; done', '{}', '{}']\n",
        log.display(),
        end.display()
    )
}

/// Attempts, with the first and last moment (ns) at which each wrote.
pub(super) type Lives = BTreeMap<String, (u64, u64)>;

pub(super) fn lives(log: &Path) -> Lives {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut lives = Lives::new();
    for line in text.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(attempt), Some(Ok(at))) = (words.next(), words.next().map(str::parse)) else {
            continue;
        };
        let life = lives.entry(attempt.to_owned()).or_insert((at, at));
        *life = (life.0.min(at), life.1.max(at));
    }
    lives
}

pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}

fn submission<'a>(document: &'a str, key: &'a str) -> Body<'a> {
    Body { kind: "application/yaml", key: Some(key), bytes: document.as_bytes() }
}

#[test]
fn pg_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("lines");
    let server = Server::start().expect("a server of its own");
    server.psql("postgres", "CREATE DATABASE spotwise").expect("a database");
    let url = server.url("spotwise");
    let arguments = [&["--database", &url][..], &MARKET].concat();
    let mut scheduler = Scheduler::start(folder.path(), &arguments).expect("it starts");
    let away = outage();
    for n in 0..5 {
        let seconds = u32::try_from(away.as_secs()).expect("short") + 15;
        let document = counting(&format!("long-{n}"), &log, seconds);
        scheduler.submit(&document, &format!("long-{n}")).expect("accepted");
    }
    until("all run", || lives(&log).len() == 5);
    server.crash().expect("it is gone");
    let begun = Instant::now();
    let (mut refused, mut slowest) = (0, Duration::ZERO);
    while begun.elapsed() < away {
        assert!(scheduler.answers("/healthz"), "the process lives");
        let asked = Instant::now();
        let document = counting("meanwhile", &log, 1);
        let answer = scheduler.call("POST", "/jobs", Some(submission(&document, "meanwhile")));
        slowest = slowest.max(asked.elapsed());
        assert_eq!(answer.expect("an answer").status, 503);
        refused += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(!scheduler.answers("/readyz"), "not ready without its database");
    let running = lives(&log).len();
    server.resume().expect("it is back");
    let recovered = Instant::now();
    scheduler.wait_for("/readyz", LIMIT).expect("it recovers");
    let recovery = recovered.elapsed();
    let document = counting("meanwhile", &log, 1);
    scheduler.submit(&document, "meanwhile").expect("accepted now");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert_eq!(states.len(), 6);
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    assert_eq!(lives(&log).len(), 6, "every job ran once: {running} ran in the outage");
    println!(
        "PostgreSQL gone for {} s: {refused} submissions refused with 503 (slowest {} ms), 5 running \
         jobs, 0 restarted, ready again {:.1} s after it",
        away.as_secs(),
        slowest.as_millis(),
        recovery.as_secs_f64()
    );
}

#[test]
fn pg_terminate_storm() {
    const STORM: Duration = Duration::from_secs(12);
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("lines");
    let database = shared().database();
    let url = database.url();
    let arguments = [&["--database", &url][..], &MARKET].concat();
    let scheduler = Scheduler::start(folder.path(), &arguments).expect("it starts");
    let over = AtomicBool::new(false);
    let (mut accepted, mut asked_again, mut killed) = (BTreeSet::new(), 0, 0);
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut killed = 0;
            while !over.load(Ordering::Relaxed) {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                killed += database.psql(sql).map_or(0, |n| n.parse::<u32>().unwrap_or(0));
                std::thread::sleep(Duration::from_millis(100));
            }
            killed
        });
        let begun = Instant::now();
        let mut n = 0;
        while begun.elapsed() < STORM {
            let key = format!("key-{n}");
            let document = counting(&format!("job-{n}"), &log, 1);
            // What is not answered well is asked again with the same key.
            loop {
                match scheduler.submit(&document, &key) {
                    Ok(ids) => break accepted.extend(ids),
                    Err(_) => asked_again += 1,
                }
                std::thread::sleep(Duration::from_millis(50));
                // The storm ends with the test, also where it fails.
                let through = begun.elapsed() < LIMIT;
                over.store(!through, Ordering::Relaxed);
                assert!(through, "nothing gets through any more: {}", scheduler.log());
            }
            n += 1;
        }
        over.store(true, Ordering::Relaxed);
        assert_eq!(accepted.len(), n, "two keys share a job");
        killed = storm.join().expect("it does not panic");
    });
    // A scheduler that is refused again and again waits longer and longer: few are open.
    assert!(killed >= 5, "that was no storm: {killed} connections ended");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert_eq!(states.keys().cloned().collect::<BTreeSet<_>>(), accepted, "lost, or of nobody");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    let attempts = lives(&log).len();
    assert_eq!(attempts, accepted.len(), "each ran once");
    println!(
        "{killed} connections ended by the server in {} s: {} jobs accepted, {asked_again} calls \
         repeated, 0 lost, 0 run twice",
        STORM.as_secs(),
        accepted.len()
    );
}

#[test]
fn submit_same_key_race() {
    let database = shared().database();
    let url = database.url();
    for place in [&[][..], &["--database", &url][..]] {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = [place, &["--market", "synthetic", "--speed", "60"]].concat();
        let scheduler = Scheduler::start(folder.path(), &arguments).expect("it starts");
        let document = counting("once", &folder.path().join("lines"), 1);
        let ids: BTreeSet<String> = std::thread::scope(|scope| {
            let call = || scheduler.submit(&document, "the-same").expect("accepted").remove(0);
            let calls: Vec<_> = (0..64).map(|_| scope.spawn(call)).collect();
            calls.into_iter().map(|call| call.join().expect("it does not panic")).collect()
        });
        assert_eq!(ids.len(), 1, "64 calls with one key made {ids:?}");
        assert_eq!(scheduler.states().expect("a list").len(), 1);
    }
}

/// Runs one long job whose worker reaches the scheduler through a network that
/// breaks for longer than the worker's lease. Answers the lives of its attempts.
fn partition(how: Network) -> (Lives, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("lines");
    let port = free_port().expect("a port");
    let network = Proxy::start(Target::Tcp(([127, 0, 0, 1], port).into())).expect("a proxy");
    let advertise = format!("http://{}", network.address());
    let own = ["--worker-lease", "5s", "--advertise", &advertise];
    let mut scheduler = Scheduler::on_port(port, folder.path(), &[&own[..], &MARKET].concat());
    scheduler.restart().expect("it starts");
    scheduler.submit(&counting("far", &log, 40), "far").expect("accepted");
    until("it runs", || lives(&log).len() == 1);
    std::thread::sleep(Duration::from_secs(2));
    network.set(how);
    until("a second attempt is launched", || {
        workers(folder.path()).len() > 1 || {
            let job = scheduler.job("far").expect("a job");
            job["attempts"].as_array().is_some_and(|attempts| attempts.len() > 1)
        }
    });
    let swallowed = network.swallowed();
    network.set(Network::Whole);
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    (lives(&log), swallowed)
}

fn assert_apart(lives: Lives) {
    assert!(lives.len() >= 2, "nobody was replaced: {lives:?}");
    let lives: Vec<_> = lives.into_iter().collect();
    for pair in lives.windows(2) {
        let ((old, (_, ended)), (new, (begun, _))) = (&pair[0], &pair[1]);
        assert!(ended < begun, "{old} still wrote after {new} had begun");
    }
}

#[test]
fn worker_partition() {
    let (lives, _) = partition(Network::Cut);
    assert_apart(lives);
}

#[test]
fn worker_partition_oneway() {
    let (lives, swallowed) = partition(Network::NoAnswers);
    assert!(swallowed > 0, "no answer was lost");
    assert_apart(lives);
}

/// A scheduler that is asked while it starts refuses, and loses nothing.
#[test]
fn a_row_that_cannot_be_read_is_set_aside_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("lines");
    let database = shared().database();
    let url = database.url();
    let arguments = [&["--database", &url][..], &MARKET].concat();
    let mut scheduler = Scheduler::start(folder.path(), &arguments).expect("it starts");
    let bad = scheduler.submit(&counting("bad", &log, 600), "bad").expect("accepted").remove(0);
    scheduler.kill();
    let id = bad.trim_start_matches('j');
    database
        .psql(&format!("UPDATE jobs SET document = '{{}}' WHERE id = {id}"))
        .expect("a poisoned row");
    scheduler.restart().expect("it starts all the same");
    let good = scheduler.submit(&counting("good", &log, 1), "good").expect("accepted");
    let answer = http("GET", &format!("{}/api/v1/jobs/{}", scheduler.url, good[0]), None);
    assert_eq!(answer.expect("an answer").status, 200);
    until("the good one succeeds", || {
        scheduler.job(&good[0]).is_ok_and(|job| job.to_string().contains("\"succeeded\""))
    });
    assert!(scheduler.log().contains("could not be read and was left aside"));
}
