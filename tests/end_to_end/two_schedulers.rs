//! Two schedulers on one PostgreSQL: one leads, the other takes over, and a
//! leader that comes back from the dead writes nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use spotwise_test_postgres::{Database, shared};
use spotwise_tests::proxy::{Network, Proxy, Target};
use spotwise_tests::{Body, Scheduler, free_port, http, spotwise};

/// What a takeover may take at the most on a machine that does other things.
const TAKEOVER: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(180);

/// A pair that knows each other, on one database and one folder.
struct Pair {
    schedulers: [Scheduler; 2],
    database: Database,
}

impl Pair {
    /// The first one leads.
    fn start(folder: &Path) -> Self {
        let database = shared().database();
        let ports = [free_port().expect("a port"), free_port().expect("another port")];
        let mut schedulers = [0, 1].map(|n| {
            let peer = format!("http://127.0.0.1:{}", ports[1 - n]);
            let url = database.url();
            let arguments = ["--database", &url, "--peer", &peer, "--speed", "60"];
            let market = ["--market", "synthetic", "--notice-lead", "5s"];
            Scheduler::on_port(ports[n], folder, &[&arguments[..], &market].concat())
        });
        schedulers[0].restart().expect("the first one leads");
        schedulers[1].spawn().expect("the second one starts");
        schedulers[1].wait_for("/healthz", TAKEOVER).expect("the second one lives");
        Self { schedulers, database }
    }

    fn urls(&self) -> String {
        let [first, second] = &self.schedulers;
        format!("{},{}", first.url, second.url)
    }

    /// One value of the row that says who leads.
    fn leader(&self, column: &str) -> String {
        self.database.psql(&format!("SELECT {column} FROM leader")).expect("a leader")
    }

    fn jobs_stored(&self) -> usize {
        let count = self.database.psql("SELECT count(*) FROM jobs").expect("a table");
        count.parse().expect("a number")
    }
}

/// A job that writes down when it begins and ends.
fn job(name: &str, log: &Path, seconds: f32) -> String {
    format!(
        "name: {name}\nclass: dev\ndeadline: 2h\nwork: {{duration: 5m}}\n\
         resources: {{cpus: 0.1, memory: 32MB}}\n\
         command: [sh, -c, 'echo start $SPOTWISE_ATTEMPT_ID >> \"$0\"; sleep {seconds}; \
         echo end $SPOTWISE_ATTEMPT_ID >> \"$0\"', '{}']\n",
        log.display()
    )
}

fn lines(log: &Path, word: &str) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix(word)).map(str::to_owned).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < TAKEOVER, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

#[test]
fn two_schedulers_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::start(folder.path());
    let [first, second] = &pair.schedulers;
    assert!(first.answers("/readyz") && !second.answers("/readyz"));
    assert_eq!(pair.leader("epoch"), "1");
    assert_eq!(pair.leader("address"), first.url);
    let document = job("one", &folder.path().join("lines"), 0.1);
    let body = Body { kind: "application/yaml", key: None, bytes: document.as_bytes() };
    let refused = second.call("POST", "/jobs", Some(body)).expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains("\"standby\"") && refused.text.contains(&first.url));
    assert_eq!(pair.jobs_stored(), 0, "a standby writes nothing");
    // The command line finds the leader, whichever is named first.
    let list = format!("{},{}", second.url, first.url);
    let output = spotwise().args(["ps", "--server", &list]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(pair.leader("epoch"), "1", "nobody else has led meanwhile");
}

#[test]
fn a_standby_takes_over_and_running_jobs_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("lines");
    let mut pair = Pair::start(folder.path());
    for n in 0..4 {
        let document = job(&format!("long-{n}"), &log, 12.0);
        pair.schedulers[0].submit(&document, &format!("key-{n}")).expect("accepted");
    }
    until("all four run", || lines(&log, "start ").len() == 4);
    pair.schedulers[0].kill();
    let took = until("the second one leads", || pair.schedulers[1].answers("/readyz"));
    assert_eq!(pair.leader("epoch"), "2");
    let states = pair.schedulers[1].wait_for_all(LIMIT).expect("all end");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    assert_eq!(lines(&log, "start ").len(), 4, "a takeover restarts nothing");
    let output = spotwise().args(["ps", "--server", &pair.urls()]).output().expect("it runs");
    assert!(output.status.success(), "the command line goes to the one that lives: {output:?}");
    println!("takeover after kill -9: {:.1} s; 4 running jobs, 0 restarted", took.as_secs_f64());
}

#[test]
fn zombie_leader() {
    const TIMES: usize = 3;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("lines");
    let pair = Pair::start(folder.path());
    let (mut leading, mut accepted, mut refused) = (0, BTreeSet::new(), 0);
    for round in 0..TIMES {
        let old = leading;
        pair.schedulers[old].signal(Signal::SIGSTOP).expect("it stops");
        // What it is asked meanwhile it hears when it wakes up.
        let url = format!("{}/api/v1/jobs", pair.schedulers[old].url);
        let document = job(&format!("zombie-{round}"), &log, 0.1);
        let asked = std::thread::spawn(move || {
            let body = Body { kind: "application/yaml", key: None, bytes: document.as_bytes() };
            http("POST", &url, Some(body))
        });
        leading = 1 - leading;
        until("the other one leads", || pair.schedulers[leading].answers("/readyz"));
        let document = job(&format!("living-{round}"), &log, 0.1);
        let ids = pair.schedulers[leading].submit(&document, &format!("key-{round}"));
        accepted.extend(ids.expect("accepted"));
        pair.schedulers[old].signal(Signal::SIGCONT).expect("it goes on");
        match asked.join().expect("it does not panic") {
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
            Err(error) => println!("the zombie hung up: {error}"),
        }
        refused += 1;
        until("the zombie stands by", || {
            pair.schedulers[old].log().matches("another scheduler leads now").count()
                == round / 2 + 1
        });
        assert_eq!(pair.jobs_stored(), accepted.len(), "a zombie has written a job");
    }
    let states = pair.schedulers[leading].wait_for_all(LIMIT).expect("all end");
    assert_eq!(states.keys().cloned().collect::<BTreeSet<_>>(), accepted);
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    assert_eq!(pair.leader("epoch"), (TIMES + 1).to_string());
    println!("zombie leaders: {refused} writes refused, 0 let through");
}

/// The database is behind a black hole for the leader alone: it must stop by
/// itself, and nothing that it had begun may keep the next one waiting.
#[test]
fn lease_lock_cancel() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = shared().database();
    let network = Proxy::start(Target::Unix(shared().socket())).expect("a proxy");
    let far =
        format!("postgres://spotwise@{}/{}?sslmode=disable", network.address(), database.name());
    let near = database.url();
    let market = ["--market", "synthetic", "--speed", "60"];
    let start = |url: &str| {
        let arguments = [&["--database", url][..], &market].concat();
        Scheduler::start_beside(folder.path(), &arguments).expect("it lives")
    };
    let mut first = start(&far);
    first.wait_for("/readyz", TAKEOVER).expect("it leads");
    let second = start(&near);
    assert!(!second.answers("/readyz"));
    network.set(Network::Stalled);
    let took = until("the second one leads", || second.answers("/readyz"));
    assert!(network.swallowed() > 0, "nothing was lost on the way");
    let document = job("one", &folder.path().join("lines"), 0.1);
    let body = Body { kind: "application/yaml", key: None, bytes: document.as_bytes() };
    let answer = first.call("POST", "/jobs", Some(body)).expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text);
    second.submit(&document, "key").expect("accepted");
    network.set(Network::Whole);
    until("the first one stands by", || first.log().contains("another scheduler leads now"));
    second.wait_for_all(LIMIT).expect("all end");
    println!("takeover from a leader whose database is a black hole: {:.1} s", took.as_secs_f64());
}
