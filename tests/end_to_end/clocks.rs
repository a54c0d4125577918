//! The machine's clock is set under a running scheduler: an hour forward, an hour
//! back, a day forward, right again. Needs libfaketime (`make tools`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use spotwise_model::{InstanceId, Money};
use spotwise_store::LedgerFilter;
use spotwise_test_postgres::shared;
use spotwise_tests::{Scheduler, free_port};

use crate::chaos::{books, open, wait_until_settled};
use crate::outages::{LIMIT, MARKET, lives, until, writing};

/// Market seconds in a second, as `MARKET` says.
const SPEED: u64 = 60;
/// By how much the clock is off, one after the other.
const JUMPS: [&str; 4] = ["+3600", "-3600", "+86400", "+0"];
/// How long each of them lasts: several heartbeats, looks and renewals.
const EACH: Duration = Duration::from_secs(7);
/// The library, for programs of several threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Where Debian and others keep it: below a folder of the architecture, or not.
fn library() -> Option<PathBuf> {
    let own = std::env::var_os("SPOTWISE_TEST_FAKETIME").map(PathBuf::from);
    let roots = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let below = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|e| e.path());
    let places = roots.into_iter().chain(below).map(|folder| folder.join(LIBRARY));
    own.into_iter().chain(places).find(|path| path.is_file())
}

/// What makes a program's clock follow the file, and its monotonic one not.
fn variables(library: &Path, file: &Path) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Sets the clock, and sees that it is set.
fn set(library: &Path, file: &Path, offset: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{offset}\n")).expect("a note");
    std::fs::rename(&next, file).expect("a file at once");
    let seconds = |variables: &[(&str, String)]| -> i64 {
        let date = Command::new("date").arg("+%s").envs(variables.iter().cloned()).output();
        String::from_utf8_lossy(&date.expect("it runs").stdout).trim().parse().expect("seconds")
    };
    let off = seconds(&variables(library, file)) - seconds(&[]);
    let wanted: i64 = offset.parse().expect("seconds");
    assert!((off - wanted).abs() <= 2, "the clock is off by {off} s instead of {wanted} s");
}

#[test]
fn clock_jump_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("spotwise.db").display().to_string();
    clock_jump(folder.path(), &database);
}

#[test]
fn clock_jump_on_postgresql() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = shared().database();
    if clock_jump(folder.path(), &database.url()) {
        // One for each start of the scheduler, and none for a lost lease.
        let epoch = database.psql("SELECT epoch FROM leader").expect("a leader");
        println!("led {epoch} times in all");
    }
}

/// False where the library is not there.
fn clock_jump(folder: &Path, database: &str) -> bool {
    let Some(library) = library() else {
        println!("skipped: no {LIBRARY}; `make tools` installs it");
        return false;
    };
    let (log, end, clock) = (folder.join("lines"), folder.join("end"), folder.join("clock"));
    set(&library, &clock, "+0");
    let arguments = [&["--database", database][..], &MARKET].concat();
    let mut scheduler = Scheduler::on_port(free_port().expect("a port"), folder, &arguments);
    for (name, value) in variables(&library, &clock) {
        scheduler.set_variable(name, &value);
    }
    scheduler.restart().expect("it starts");
    let begun = Instant::now();
    let mut submitted = 0;
    let submit = |scheduler: &Scheduler, submitted: &mut usize| {
        let name = format!("job-{submitted}");
        scheduler.submit(&writing(&name, &log, &end), &name).expect("accepted");
        *submitted += 1;
        let all = *submitted;
        until("all run", || lives(&log).len() >= all);
    };
    for _ in 0..3 {
        submit(&scheduler, &mut submitted);
    }
    for jump in JUMPS {
        set(&library, &clock, jump);
        submit(&scheduler, &mut submitted);
        std::thread::sleep(EACH);
        let lives = lives(&log);
        assert_eq!(lives.len(), submitted, "the clock is off by {jump} s: {lives:?}");
        let states = scheduler.states().expect("a list");
        assert!(states.values().all(|state| state == "active"), "{jump} s: {states:?}");
        assert!(scheduler.answers("/readyz"), "it leads although its clock is off by {jump} s");
    }
    let seen = scheduler.log().matches("the machine's clock was set").count();
    assert!(seen >= JUMPS.len() - 1, "it has seen {seen} of the jumps: {}", scheduler.log());
    let leads = scheduler.log().matches("leads").count();
    assert_eq!(leads, 1, "its lease was lost: {}", scheduler.log());
    std::fs::write(&end, "").expect("a file");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    assert_eq!(lives(&log).len(), submitted, "each ran once");
    wait_until_settled(&mut scheduler, database);
    check_charges(database, begun.elapsed());
    true
}

/// Nothing is charged backwards, and no machine for longer than it can have been
/// there.
fn check_charges(database: &str, elapsed: Duration) {
    let (all, _) = books(database);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let entries = runtime.block_on(async {
        let store = open(database).await;
        let entries = store.ledger(&LedgerFilter::default()).await.expect("its ledger");
        store.close().await;
        entries
    });
    let mut spans: BTreeMap<InstanceId, (i64, i64)> = BTreeMap::new();
    for entry in &entries {
        let (from, to) = (entry.from.as_second(), entry.to.as_second());
        assert!(from <= to, "{entry:?}");
        let span = spans.entry(entry.instance).or_insert((from, to));
        *span = (span.0.min(from), span.1.max(to));
    }
    let most = i64::try_from(elapsed.as_secs() * SPEED + SPEED).expect("short");
    let longest = spans.values().map(|(from, to)| to - from).max().unwrap_or(0);
    assert!(longest <= most, "a machine was charged {longest} s of the market's {most} s");
    assert!(all.total >= Money::ZERO);
    println!(
        "the clock was set {} times: {} machines charged, {} in all, the longest for {longest} of \
         {most} market seconds, 0 lost, 0 run twice",
        JUMPS.len(),
        all.machines,
        all.total.human()
    );
}
