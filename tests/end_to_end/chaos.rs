//! `kill -9` of the scheduler and of workers, under load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_model::attempt::{Outcome, StopReason};
use spotwise_model::ledger::LineKind;
use spotwise_model::{AttemptId, InstanceId, JobId, LedgerEntry, Money, Price};
use spotwise_store::{LedgerFilter, Location, Store};
use spotwise_tests::{Scheduler, workers};

use super::object_storage;

const SCHEDULER_KILLS: u32 = 50;
const WORKER_KILLS: u32 = 20;
const SEED: u64 = 11;

/// Everything is over within this, on two busy cores.
const LIMIT: Duration = Duration::from_secs(240);

/// A market minute a second; on-demand is always free, so nothing waits long.
const ARGUMENTS: [&str; 6] = ["--market", "synthetic", "--speed", "60", "--notice-lead", "5s"];

/// A command that writes down when it begins and ends, once each.
fn short_job(name: &str, log: &Path) -> String {
    format!(
        "name: {name}\nclass: dev\ndeadline: 30m\nwork: {{duration: 1m}}\n\
         resources: {{cpus: 0.1, memory: 32MB}}\n\
         command: [sh, -c, 'echo start $SPOTWISE_ATTEMPT_ID >> \"$0\"; sleep 0.7; \
         echo end $SPOTWISE_ATTEMPT_ID >> \"$0\"', '{}']\n",
        log.display()
    )
}

#[test]
fn kill9_scheduler_loop_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("spotwise.db").display().to_string();
    kill9_scheduler_loop(folder.path(), &database);
}

#[test]
fn kill9_scheduler_loop_on_postgresql() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = spotwise_test_postgres::shared().database();
    kill9_scheduler_loop(folder.path(), &database.url());
}

fn kill9_scheduler_loop(folder: &Path, database: &str) {
    let log = folder.join("lines");
    let arguments = [&["--database", database][..], &ARGUMENTS].concat();
    let mut scheduler = Scheduler::start(folder, &arguments).expect("it starts");
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut accepted: BTreeMap<String, String> = BTreeMap::new();
    let (mut unanswered, mut replayed) = (0, 0);
    for round in 0..SCHEDULER_KILLS {
        let mut open = Vec::new();
        for n in 0..3 {
            let key = format!("key-{round}-{n}");
            let document = short_job(&format!("job-{round}-{n}"), &log);
            // The last one races with the kill.
            if n == 2 {
                let pause = Duration::from_millis(rng.random_range(0..120));
                let url = scheduler.url.clone();
                let racing = (document.clone(), key.clone());
                let call = std::thread::spawn(move || post(&url, &racing.0, &racing.1));
                std::thread::sleep(pause);
                scheduler.kill();
                match call.join().expect("it does not panic") {
                    Some(id) => drop(accepted.insert(key, id)),
                    None => open.push((key, document)),
                }
            } else if let Ok(ids) = scheduler.submit(&document, &key) {
                accepted.insert(key, ids[0].clone());
            } else {
                open.push((key, document));
            }
        }
        scheduler.restart().unwrap_or_else(|error| panic!("kill {round}: {error:#}"));
        // What was not answered is asked again with the same key.
        for (key, document) in open {
            unanswered += 1;
            let id = post(&scheduler.url, &document, &key).expect("it is up");
            replayed += u32::from(accepted.insert(key, id).is_some());
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..250)));
    }
    assert_eq!(replayed, 0, "a key had two answers");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    let ids: BTreeSet<&String> = accepted.values().collect();
    assert_eq!(ids.len(), accepted.len(), "two keys share a job");
    let lost: Vec<_> = ids.iter().filter(|id| !states.contains_key(**id)).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    let failed: Vec<_> = states.iter().filter(|(_, state)| *state != "succeeded").collect();
    assert!(failed.is_empty(), "not done: {failed:?}");
    assert_eq!(states.len(), accepted.len(), "jobs that nobody was told of");
    wait_until_settled(&mut scheduler, database);
    let (books, interrupted) = books(database);
    let doubled = started_twice(&log, &interrupted);
    assert!(doubled.is_empty(), "started twice: {doubled:?}");
    println!(
        "scheduler killed {SCHEDULER_KILLS} times: {} jobs accepted, {unanswered} answers lost and \
         asked again, 0 lost, 0 run twice, {} machines charged, 0 lost, 0 doubled, {} in all",
        accepted.len(),
        books.machines,
        books.total.human()
    );
}

/// A submission; none where no answer came.
fn post(url: &str, document: &str, key: &str) -> Option<String> {
    let body = spotwise_tests::Body {
        kind: "application/yaml",
        key: Some(key),
        bytes: document.as_bytes(),
    };
    let answer = spotwise_tests::http("POST", &format!("{url}/api/v1/jobs"), Some(body)).ok()?;
    let json = answer.json().ok().filter(|_| answer.status < 300)?;
    json["jobs"][0]["id"].as_str().map(str::to_owned)
}

/// Attempts that began more than once, and jobs that began more often than the
/// market took their machines away and once.
fn started_twice(log: &Path, interrupted: &BTreeMap<JobId, u32>) -> Vec<String> {
    let text = std::fs::read_to_string(log).expect("jobs have written");
    let mut attempts: BTreeMap<AttemptId, u32> = BTreeMap::new();
    let mut jobs: BTreeMap<JobId, u32> = BTreeMap::new();
    for attempt in text.lines().filter_map(|line| line.strip_prefix("start ")) {
        let attempt: AttemptId = attempt.parse().expect("j17.2");
        *attempts.entry(attempt).or_default() += 1;
        *jobs.entry(attempt.job).or_default() += 1;
    }
    let again = attempts.into_iter().filter(|(_, n)| *n > 1).map(|(id, n)| format!("{id} x {n}"));
    let may = |id: &JobId| 1 + interrupted.get(id).copied().unwrap_or_default();
    let often =
        jobs.into_iter().filter(|(id, n)| *n > may(id)).map(|(id, n)| format!("{id} x {n}"));
    again.chain(often).collect()
}

/// Ends the scheduler when nothing is left to charge: a machine that the market
/// is taking back lives on for the lead of its notice after its last job.
pub(super) fn wait_until_settled(scheduler: &mut Scheduler, database: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    for _ in 0..20 {
        scheduler.kill();
        let open = runtime.block_on(async {
            let store = open(database).await;
            let open = store.load().await.expect("its state").into_state().instances.len();
            store.close().await;
            open
        });
        if open == 0 {
            return;
        }
        scheduler.restart().expect("it starts");
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("machines are still not settled");
}

pub(super) async fn open(database: &str) -> Store {
    let location: Location = database.parse().expect("a place");
    Store::open(location).await.expect("its database")
}

pub(super) struct Books {
    pub(super) machines: usize,
    pub(super) total: Money,
}

/// Reads the ledger as the scheduler left it: every attempt's machines are
/// charged, each without gap or overlap, and jobs carry what was charged. Also how
/// often the market took a job's machine away.
pub(super) fn books(database: &str) -> (Books, BTreeMap<JobId, u32>) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let store = open(database).await;
        let entries = store.ledger(&LedgerFilter::default()).await.expect("its ledger");
        let mut machines: BTreeMap<InstanceId, Vec<&LedgerEntry>> = BTreeMap::new();
        let mut spent: BTreeMap<JobId, Money> = BTreeMap::new();
        for entry in &entries {
            machines.entry(entry.instance).or_default().push(entry);
            if let Some(job) = entry.job() {
                *spent.entry(job).or_default() += entry.amount;
            }
        }
        for (id, entries) in &machines {
            check_machine(*id, entries);
        }
        let mut used: BTreeSet<InstanceId> = BTreeSet::new();
        let mut interrupted = BTreeMap::new();
        let last = store.load().await.expect("its state").into_state().last_job;
        for number in 1..=last {
            let job = store.job(JobId(number)).await.expect("readable").expect("no gaps");
            assert_eq!(job.spent, spent.remove(&job.id).unwrap_or_default(), "{}", job.id);
            for attempt in store.attempts(job.id).await.expect("readable") {
                if attempt.state.outcome().is_some_and(taken_away) {
                    *interrupted.entry(job.id).or_default() += 1;
                }
                used.extend(attempt.instances);
            }
        }
        let charged: BTreeSet<InstanceId> = machines.keys().copied().collect();
        assert_eq!(used, charged, "machines used, and machines charged");
        assert!(spent.is_empty(), "charges of no job: {spent:?}");
        let total = entries.iter().map(|entry| entry.amount).sum();
        (Books { machines: charged.len(), total }, interrupted)
    })
}

/// By the market, and not because nobody had heard of it.
fn taken_away(outcome: &Outcome) -> bool {
    let reason = StopReason::Interrupted;
    matches!(outcome, Outcome::Interrupted) || *outcome == Outcome::Stopped { reason }
}

/// A machine's charges come to its price times its time, once: a gap, an
/// overlap or an entry twice would show.
fn check_machine(id: InstanceId, entries: &[&LedgerEntry]) {
    if entries.iter().any(|entry| entry.kind == LineKind::Waiver) {
        let sum: Money = entries.iter().map(|entry| entry.amount).sum();
        assert_eq!(sum, Money::ZERO, "{id} was waived");
        return;
    }
    // The synthetic market never comes back to a price within one short life.
    let mut spans: BTreeMap<Price, (i64, i64, Money)> = BTreeMap::new();
    for entry in entries {
        let (from, to) = (entry.from.as_second(), entry.to.as_second());
        let span = spans.entry(entry.price).or_insert((from, to, Money::ZERO));
        *span = (span.0.min(from), span.1.max(to), span.2 + entry.amount);
    }
    for (price, (from, to, booked)) in spans {
        let seconds = u64::try_from(to - from).expect("time runs forward");
        assert_eq!(booked, price.charge(seconds), "{id}, {seconds} s at {price}");
    }
}

/// Counts to 150 in at least 15 s, saving each number; writes down every step it
/// takes. Twenty kills take about as long.
fn counting_job(name: &str, log: &Path) -> String {
    let script = "n=0; [ -f $SPOTWISE_CHECKPOINT_DIR/n ] && n=$(cat $SPOTWISE_CHECKPOINT_DIR/n); \
        echo start $SPOTWISE_ATTEMPT_ID $n >> \"$0\"; \
        while [ $n -lt 150 ]; do n=$((n+1)); sleep 0.1; echo $n > $SPOTWISE_CHECKPOINT_DIR/.tmp-n; \
        mv $SPOTWISE_CHECKPOINT_DIR/.tmp-n $SPOTWISE_CHECKPOINT_DIR/n; \
        echo \"{\\\"step\\\":$n,\\\"total\\\":150}\" >> $SPOTWISE_PROGRESS_FILE; \
        echo step $SPOTWISE_ATTEMPT_ID $n >> \"$0\"; done";
    format!(
        "name: {name}\nclass: training\ndeadline: 2h\nwork: {{duration: 15m}}\n\
         resources: {{cpus: 0.1, memory: 32MB}}\ncheckpoint: {{interval: 30s, grace: 2s}}\n\
         command: [sh, -c, '{script}', '{}']\n",
        log.display()
    )
}

#[test]
fn kill9_worker_loop() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    kill9_workers(&scheduler, 8, WORKER_KILLS);
}

/// The same with checkpoints in an object store.
#[test]
fn kill9_worker_loop_on_a_bucket() {
    kill9_workers_on_a_bucket(4, WORKER_KILLS / 2);
}

#[test]
#[ignore = "minutes: figures for docs/reliability.md"]
fn kill9_worker_loop_on_a_bucket_a_hundred_times() {
    kill9_workers_on_a_bucket(80, 100);
}

fn kill9_workers_on_a_bucket(jobs: u32, kills: u32) {
    let Some(store) = object_storage::store() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = object_storage::scheduler(&store, folder.path(), &store.url, &[]);
    kill9_workers(&scheduler, jobs, kills);
    object_storage::is_tidy(&store);
}

/// Kills workers of counting jobs while any is left.
fn kill9_workers(scheduler: &Scheduler, jobs: u32, most: u32) {
    let log = scheduler.folder().join("lines");
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for n in 0..jobs {
        let document = counting_job(&format!("count-{n}"), &log);
        scheduler.submit(&document, &format!("count-{n}")).expect("accepted");
    }
    let mut kills = 0;
    while kills < most {
        std::thread::sleep(Duration::from_millis(rng.random_range(400..900)));
        let running = workers(scheduler.folder());
        let states = scheduler.states().expect("it answers");
        assert!(states.values().any(|s| s != "succeeded"), "all done after {kills} kills");
        if running.is_empty() {
            continue;
        }
        let (pid, _) = running[rng.random_range(0..running.len())];
        kills += u32::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
    }
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    let history = Lines::read(&log);
    history.check_order();
    let resumed = history.resumed_beyond_zero();
    assert!(resumed > 0, "nothing ever went on where it was");
    println!(
        "workers killed {kills} times: {} attempts of {} jobs, {resumed} went on from a \
         checkpoint, 0 lost, 0 beside each other",
        history.attempts(),
        states.len()
    );
}

/// What the counting jobs wrote, in the order of writing.
struct Lines(Vec<(String, AttemptId, u32)>);

impl Lines {
    fn read(log: &Path) -> Self {
        let text = std::fs::read_to_string(log).expect("jobs have written");
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let what = words.next()?.to_owned();
            Some((what, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        });
        Self(lines.collect())
    }

    /// An older attempt never writes after a newer one has begun, and each goes
    /// on from a number that one before it had reached.
    fn check_order(&self) {
        let mut newest: BTreeMap<JobId, (u32, u32)> = BTreeMap::new();
        for (what, attempt, n) in &self.0 {
            let (number, reached) = newest.entry(attempt.job).or_default();
            assert!(attempt.number >= *number, "{attempt} wrote after attempt {number} had begun");
            if what == "start" {
                assert!(attempt.number > *number, "{attempt} began twice");
                assert!(n <= reached, "{attempt} began at {n}, nobody had been beyond {reached}");
            }
            *number = attempt.number;
            *reached = (*reached).max(*n);
        }
    }

    fn attempts(&self) -> usize {
        self.0.iter().filter(|(what, ..)| what == "start").count()
    }

    fn resumed_beyond_zero(&self) -> usize {
        self.0.iter().filter(|(what, _, n)| what == "start" && *n > 0).count()
    }
}
