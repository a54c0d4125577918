//! The store when the process ends, or the disk fills up.
#![expect(clippy::print_stdout, reason = "a child speaks to its test; figures; what is skipped")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use spotwise_model::JobId;
use spotwise_test_postgres::shared;

use super::build::*;
use super::postgres;
use crate::check::check;
use crate::{Location, Round, Store, StoreError};
use spotwise_control::core::Change;

/// Set for the child: the file that it writes.
const FILE: &str = "SPOTWISE_TEST_TORN_FILE";

/// How many times the child is killed.
const KILLS: &str = "SPOTWISE_TEST_KILLS";

/// Killed with SIGKILL while it commits, many times: every acknowledged round is there and
/// the file is sound.
#[tokio::test]
async fn sqlite_kill9_torn() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(30_u64);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spotwise.db");
    let begun = Instant::now();
    let (mut acknowledged, mut done) = (0, 0);
    for kill in 0..kills {
        if begun.elapsed() > Duration::from_secs(20) && std::env::var_os(KILLS).is_none() {
            break;
        }
        acknowledged =
            commit_and_die(&file, Duration::from_millis(kill * 7 % 90)).max(acknowledged);
        let store = Store::open(&file).await.unwrap();
        let loaded = store.load().await.unwrap();
        assert!(loaded.last_round >= acknowledged, "round {acknowledged} was acknowledged");
        let last = loaded.last_round;
        assert_eq!(loaded.into_state().last_job, last, "a round is whole");
        store.close().await;
        drop(store);
        assert_eq!(check(&file.as_path().into()).await.unwrap().findings, []);
        done += 1;
    }
    assert!(acknowledged > 0 && done > 0);
    println!("{done} kills, {acknowledged} rounds acknowledged, none lost");
}

/// Starts the child, kills it some time after its first round, and returns the last round
/// that it called durable.
fn commit_and_die(file: &Path, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tests::crashes::commits_until_killed", "--exact", "--ignored", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut rounds = lines.map_while(Result::ok).filter_map(|line| {
        line.rsplit("durable ").next().and_then(|number| number.trim().parse::<u64>().ok())
    });
    let first = rounds.next().expect("the child commits a round");
    std::thread::sleep(after);
    child.kill().unwrap();
    let last = rounds.last().unwrap_or(first);
    child.wait().unwrap();
    last
}

/// The child of `sqlite_kill9_torn`.
#[tokio::test]
#[ignore = "the child of another test"]
async fn commits_until_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let store = Store::open(Path::new(&file)).await.unwrap();
    let epoch = store.lead("child", at(1)).await.unwrap();
    let mut round = store.load().await.unwrap().last_round;
    loop {
        round += 1;
        let changes = [job(round).into(), Change::Event(event(round, round, None))];
        store.commit(&Round { epoch, id: round, changes: &changes }).await.unwrap();
        println!("durable {round}");
    }
}

/// Creating the schema is abandoned at each of its waits; the next opening continues from
/// there.
async fn given_up_at_each_wait(locations: impl Fn() -> (Location, Box<dyn std::any::Any>)) {
    for polls in 1.. {
        let (location, _keep) = locations();
        let finished = only_polls(Store::open(&location), polls).await;
        let store = open_when_free(&location).await;
        put(&store, vec![job(1).into()]).await.unwrap();
        assert_eq!(store.job(JobId(1)).await.unwrap(), Some(job(1)), "{polls} polls");
        store.close().await;
        if finished {
            assert!(polls > 3, "it was given up on its way");
            return;
        }
    }
}

/// A file's lock is released together with the last thing that holds it.
async fn open_when_free(location: &Location) -> Store {
    for _ in 0..500 {
        match Store::open(location).await {
            Ok(store) => return store,
            Err(error) if error.is_retryable() || matches!(error, StoreError::Locked { .. }) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("{location} stays locked");
}

/// Polls a future this many times, then drops it. Returns whether it was done.
async fn only_polls(future: impl Future, mut polls: u64) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let done = future.as_mut().poll(context).is_ready();
        polls -= 1;
        if done || polls == 0 { Poll::Ready(done) } else { Poll::Pending }
    })
    .await
}

#[tokio::test]
async fn migration_cancelled_on_sqlite() {
    given_up_at_each_wait(|| {
        let folder = tempfile::tempdir().unwrap();
        (folder.path().join("spotwise.db").into(), Box::new(folder))
    })
    .await;
}

#[tokio::test]
async fn migration_cancelled_on_postgres() {
    given_up_at_each_wait(|| {
        let database = shared().database();
        (postgres::location(&database), Box::new(database))
    })
    .await;
}

/// A full file system: writing fails cleanly, reading continues, and after growth the same
/// round is accepted.
#[tokio::test]
async fn sqlite_disk_full() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = |options: &str| {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    };
    if !nix::unistd::geteuid().is_root() || !mounted("size=1m") {
        println!("skipped: only root may mount a small file system");
        return;
    }
    let store = Store::open(folder.path().join("spotwise.db")).await.unwrap();
    let epoch = put(&store, vec![job(1).into()]).await.unwrap();
    let changes: Vec<Change> = (2..=2_000).map(|id| job(id).into()).collect();
    let round = Round { epoch, id: 2, changes: &changes };
    let error = store.commit(&round).await.unwrap_err();
    let read = store.job(JobId(1)).await;
    let grown = mounted("remount,size=64m");
    let again = store.commit(&round).await;
    let loaded = store.load().await;
    store.close().await;
    drop(store);
    let _ = Command::new("umount").arg(folder.path()).status();
    assert!(matches!(error, StoreError::DiskFull { .. }) && error.is_retryable(), "{error:?}");
    assert_eq!(read.unwrap(), Some(job(1)), "reads go on");
    assert!(grown);
    again.unwrap();
    assert_eq!(loaded.unwrap().into_state().last_job, 2_000);
}
