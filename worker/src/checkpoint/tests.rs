//! Commit, restore, and every way in which a checkpoint can be torn.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use spotwise_api::v1::{EarlierCheckpoints, Progress};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;

mod bucket;
mod faulty;
mod fence;
mod hooked;
mod kept;
mod kill;
mod race;
mod rates;
mod restless;
mod torn;
mod unchanged;

struct Bench {
    dir: TempDir,
}

/// As if written a while ago: it does not count as half written.
fn write_whole(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    let file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(1)).unwrap();
}

impl Bench {
    fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory if there is such a folder: for tests of contents that write thousands of
    /// files, and would wait for a disk most of the time.
    fn in_memory() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::within(dir.unwrap())
    }

    fn within(dir: TempDir) -> Self {
        let bench = Self { dir };
        fs::create_dir(bench.folder()).unwrap();
        bench
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("checkpoint")
    }

    fn stored(&self, name: &str) -> PathBuf {
        self.dir.path().join("store").join(name)
    }

    fn store(&self) -> Store {
        let address = format!("file://{}", self.dir.path().join("store").display());
        Store::open(&address, "j17".parse().unwrap()).unwrap()
    }

    async fn committer(&self, attempt: &str, keep: u32) -> Committer {
        self.committer_of(self.store(), attempt, keep, AckedCheckpoints::default()).await
    }

    async fn committer_of(
        &self,
        store: Store,
        attempt: &str,
        keep: u32,
        acked: AckedCheckpoints,
    ) -> Committer {
        let (attempt, fence) = (attempt.parse().unwrap(), CancellationToken::new());
        Committer::new(store, attempt, self.folder(), keep, fence, acked).await.unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        write_whole(&self.folder().join(path), text);
    }

    /// Restores from `assigned`; returns the result and the text of `model`.
    async fn restore(&self, assigned: &str) -> (Option<String>, u32, Option<String>) {
        self.restore_from(&self.store(), assigned).await
    }

    async fn restore_from(
        &self,
        store: &Store,
        assigned: &str,
    ) -> (Option<String>, u32, Option<String>) {
        let into = self.dir.path().join("restored");
        let staging = self.dir.path().join("staging");
        let _ = fs::remove_dir_all(&into);
        let wanted = match assigned.strip_prefix("before ") {
            Some(own) => Wanted::NewestBefore(own.parse().unwrap()),
            None => Wanted::This(assigned.parse().unwrap()),
        };
        let it = restore(store, wanted, &staging, &into).await.unwrap();
        assert!(!staging.exists(), "staging is cleared");
        let text = fs::read_to_string(into.join("model")).ok();
        (it.loaded.map(|id| id.to_string()), it.rejected, text)
    }
}

fn step(step: u64) -> impl Fn(SystemTime) -> Option<Progress> {
    move |_| Some(Progress { step, ..Progress::default() })
}

/// Two checkpoints of `j17.1`, holding `one` and `two`.
async fn two() -> Bench {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 3).await;
    for text in ["one", "two!"] {
        bench.write("model", text);
        committer.commit(step(7)).await.unwrap().unwrap();
    }
    bench
}

#[tokio::test]
async fn what_is_committed_is_restored() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    assert!(committer.commit(step(0)).await.unwrap().is_none(), "an empty folder is no checkpoint");
    bench.write("model", "weights");
    bench.write("deep/er/state", "");
    let committed = committer.commit(step(120)).await.unwrap().unwrap();
    assert_eq!((committed.sequence, committed.bytes), (1, 7));
    assert_eq!(committed.progress.unwrap().step, 120);
    assert!(committer.commit(step(121)).await.unwrap().is_none(), "nothing is new");

    let (loaded, rejected, text) = bench.restore("j17.1-000001").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000001"), 0));
    assert_eq!(text.as_deref(), Some("weights"));
    assert!(bench.dir.path().join("restored/deep/er/state").is_file());
}

#[tokio::test]
async fn shards_larger_than_a_piece_survive() {
    let bench = Bench::new();
    let text = "0123456789abcdef".repeat(9 * 1024 * 1024 / 16 + 1);
    let mut committer = bench.committer("j17.1", 2).await;
    bench.write("model", &text);
    committer.commit(step(1)).await.unwrap().unwrap();
    let (_, rejected, restored) = bench.restore("j17.1-000001").await;
    assert_eq!(rejected, 0);
    assert!(restored.unwrap() == text);
}

#[tokio::test]
async fn when_none_verifies_the_start_is_fresh() {
    let bench = two().await;
    for id in ["j17.1-000001", "j17.1-000002"] {
        fs::write(bench.stored(id).join("00000.shard"), "junk").unwrap();
    }
    assert_eq!(bench.restore("j17.1-000002").await, (None, 2, None));
}

#[tokio::test]
async fn nothing_newer_than_assigned_is_loaded_and_unfinished_ones_do_not_count() {
    let bench = two().await;
    fs::create_dir_all(bench.stored("j17.1-000003")).unwrap();
    fs::write(bench.stored("j17.1-000003").join("00000.shard"), "x").unwrap();
    let (loaded, rejected, _) = bench.restore("j17.1-000001").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000001"), 0));
    let (loaded, rejected, _) = bench.restore("j17.2-000001").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000002"), 1), "only the assigned one");
}

#[tokio::test]
async fn the_newest_of_earlier_attempts_is_found_without_being_named() {
    let bench = two().await;
    assert_eq!(bench.restore("before j17.1").await, (None, 0, None), "its own are no earlier ones");
    for (attempt, text) in [("j17.2", "three"), ("j17.4", "of another life")] {
        let mut committer = bench.committer(attempt, 9).await;
        bench.write("model", text);
        committer.commit(step(9)).await.unwrap().unwrap();
    }
    fs::create_dir_all(bench.stored("j17.2-000007")).unwrap();
    let (loaded, rejected, text) = bench.restore("before j17.3").await;
    assert_eq!(
        (loaded.as_deref(), rejected),
        (Some("j17.2-000001"), 0),
        "unfinished ones are none"
    );
    assert_eq!(text.as_deref(), Some("three"));
    fs::write(bench.stored("j17.2-000001").join("00000.shard"), "torn!").unwrap();
    let (loaded, rejected, _) = bench.restore("before j17.3").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000002"), 1));
}

#[tokio::test]
async fn what_is_loaded_is_told_with_its_size_and_progress() {
    let bench = two().await;
    let (staging, into) = (bench.dir.path().join("staging"), bench.dir.path().join("restored"));
    let wanted = Wanted::This("j17.1-000002".parse().unwrap());
    let it = restore(&bench.store(), wanted, &staging, &into).await.unwrap();
    assert_eq!((it.bytes, it.progress.step), (4, 7));
}

/// A resubmitted job reads what the old one has saved, writes its own, and falls back to
/// the old one's if its own is bad. The old one's folder stays unchanged.
#[tokio::test]
async fn a_job_that_comes_back_reads_the_old_one_and_never_writes_there() {
    let bench = two().await;
    let place = |job: &str| format!("file://{}", bench.dir.path().join(job).display());
    let earlier =
        |job: &str, folder: &str| EarlierCheckpoints { job: job.to_owned(), store: place(folder) };
    let line = [earlier("j21", "never"), earlier("j17", "store")];
    let open = || {
        let own = Store::open(&place("own"), "j25".parse().unwrap()).unwrap();
        own.after(&line).unwrap()
    };
    let all = |folder: &str| {
        let mut all: Vec<PathBuf> = fs::read_dir(bench.dir.path().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        all.sort();
        all
    };
    let before = all("store");
    let (loaded, rejected, text) = bench.restore_from(&open(), "j17.1-000002").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000002"), 0));
    assert_eq!(text.as_deref(), Some("two!"));
    let mut committer = bench.committer_of(open(), "j25.1", 1, AckedCheckpoints::default()).await;
    for text in ["three", "four"] {
        bench.write("model", text);
        committer.commit(step(9)).await.unwrap().unwrap();
    }
    assert_eq!(all("own").len(), 1, "its own are pruned");
    assert_eq!(all("store"), before, "the old job's are not");
    assert!(!bench.dir.path().join("never").exists());
    let (loaded, ..) = bench.restore_from(&open(), "before j25.2").await;
    assert_eq!(loaded.as_deref(), Some("j25.1-000002"), "newer than all of the old job");
    fs::write(bench.dir.path().join("own/j25.1-000002/00000.shard"), "torn").unwrap();
    let (loaded, rejected, _) = bench.restore_from(&open(), "j25.1-000002").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000002"), 1));
    // Not of the line: nobody's checkpoint is read by its name alone.
    let alone = Store::open(&place("own"), "j25".parse().unwrap()).unwrap();
    let (loaded, rejected, _) = bench.restore_from(&alone, "j17.1-000002").await;
    assert_eq!((loaded, rejected), (None, 1));
}

#[tokio::test]
async fn the_manifest_of_another_is_not_believed() {
    let bench = two().await;
    let other = fs::read(bench.stored("j17.1-000001/manifest.json")).unwrap();
    fs::write(bench.stored("j17.1-000002/manifest.json"), other).unwrap();
    let (loaded, rejected, _) = bench.restore("j17.1-000002").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000001"), 1));
}

#[tokio::test]
async fn links_pipes_and_unfinished_files_are_left_out() {
    let bench = Bench::new();
    bench.write("model", "x");
    bench.write(".tmp-step-2/model", "half");
    std::os::unix::fs::symlink("/etc/passwd", bench.folder().join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", bench.folder().join("dir")).unwrap();
    nix::unistd::mkfifo(&bench.folder().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut committer = bench.committer("j17.1", 2).await;
    // What is there at the start counts as restored: only a change is saved.
    assert!(committer.commit(step(1)).await.unwrap().is_none());
    bench.write("model", "xy");
    committer.commit(step(1)).await.unwrap().unwrap();
    let manifest = fs::read_to_string(bench.stored("j17.1-000001/manifest.json")).unwrap();
    assert_eq!(manifest.matches("\"path\"").count(), 1, "{manifest}");
    let [remark] = committer.remarks().try_into().unwrap();
    for left in ["\"dir\" (a link to \"/etc\"", "\"link\" (a link", "\"pipe\" (a named pipe)"] {
        assert!(remark.contains(left), "{remark}");
    }
    assert!(!remark.contains("tmp"), "that is its owner's wish: {remark}");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_leaves_the_one_before() {
    let bench = two().await;
    let mut committer = bench.committer("j17.1", 1).await;
    // A file where the next folder would be: the same path as a full disk.
    fs::write(bench.stored("j17.1-000003"), "in the way").unwrap();
    bench.write("model", "three");
    assert!(committer.commit(step(1)).await.is_err());
    let (loaded, rejected, text) = bench.restore("j17.1-000002").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000002"), 0));
    assert_eq!(text.as_deref(), Some("two!"));
    let committed = committer.commit(step(1)).await.unwrap().unwrap();
    assert_eq!(committed.sequence, 4, "a number is used once");
}

#[tokio::test]
async fn the_newest_whole_ones_are_kept() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    for text in ["1", "22", "333"] {
        bench.write("model", text);
        committer.commit(step(1)).await.unwrap().unwrap();
    }
    let names = |ids: Vec<CheckpointId>| ids.into_iter().map(|id| id.sequence).collect::<Vec<_>>();
    assert_eq!(names(bench.store().list().await.unwrap()), [2, 3]);

    // Of the kept ones, the last is torn: it does not count as one of two.
    fs::write(bench.stored("j17.1-000003/00000.shard"), "").unwrap();
    bench.write("model", "4444");
    committer.commit(step(1)).await.unwrap().unwrap();
    assert_eq!(names(bench.store().list().await.unwrap()), [2, 4]);
}

#[test]
fn names_have_one_spelling_and_an_order() {
    let id = |text: &str| text.parse::<CheckpointId>();
    assert!(id("j17.2-000001").unwrap() > id("j17.1-000009").unwrap());
    assert!(id("j17.10-000001").unwrap() > id("j17.9-000001").unwrap());
    for text in ["j17.1", "j17.1-1", "j17.1-000000", "j17-000001", "j17.1-0000001", "x"] {
        assert!(id(text).is_err(), "{text}");
    }
    assert!(matches!(
        Store::open("s3://bucket/x", "j1".parse().unwrap()),
        Err(CheckpointError::Unsupported(..))
    ));
}
