//! A disk without room: for checkpoints, and for the worker itself.

#![allow(clippy::print_stdout)] // Figures, and what was skipped and why.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spotwise_api::v1::CheckpointName;
use support::Bench;

/// A file system of 1 MiB in memory, gone at the end of the test.
struct Small(PathBuf);

impl Small {
    /// None where this process may not mount anything.
    fn at(folder: PathBuf) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: mounting a file system of 1 MiB needs root");
            return None;
        }
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(&folder)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: a file system of 1 MiB cannot be mounted here");
            return None;
        }
        Some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}

#[tokio::test]
async fn ckpt_enospc_leaves_the_checkpoint_before_and_the_job_goes_on() {
    let bench = Bench::new(
        "wait_for() { while [ ! -e $1 ]; do sleep 0.02; done; }
         save() { head -c $1 /dev/zero | tr '\\0' $1 > .tmp; mv .tmp $SPOTWISE_CHECKPOINT_DIR/model; }
         ls -l \"${SPOTWISE_RESUME_FROM:-/none}/model\" 2>/dev/null | awk '{print $5}'
         [ -n \"$SPOTWISE_RESUME_FROM\" ] && exit 0
         save 300000; wait_for large; save 900000; wait_for small; save 200000; wait_for end; exit 0",
    )
    .await;
    let Some(small) = Small::at(bench.dir.path().join("store")) else { return };
    bench.change(|it| it.checkpoint.as_mut().unwrap().interval_ms = 100);
    let mut worker = bench.worker("j17.1");
    let go = |name: &str| fs::write(worker.folder.join("work").join(name), "").unwrap();
    let committed =
        |bench: &Bench| bench.checkpoints().iter().map(|it| it.bytes).collect::<Vec<_>>();

    bench.until("a checkpoint", |it| it.reports.iter().any(|it| it.checkpoint.is_some())).await;
    go("large");
    bench.until_logged("[spotwise: no checkpoint was committed: ").await;
    assert!(bench.log().contains("No space left on device"), "the owner is told why");
    assert_eq!(committed(&bench), [300_000]);
    assert!(exists(&small.0.join("j17.1-000001/manifest.json")));
    assert!(bench.exits().is_empty(), "the command runs on");

    go("small");
    bench
        .until("room again", |it| {
            it.reports.iter().filter(|it| it.checkpoint.is_some()).count() == 2
        })
        .await;
    assert_eq!(committed(&bench), [300_000, 200_000]);
    go("end");
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.exit().code, 0);

    for (sequence, size) in [(1, "300000\n"), (bench.checkpoints()[1].sequence, "200000\n")] {
        bench.fake.with(|it| it.log.clear());
        let from = CheckpointName { attempt: "j17.1".to_owned(), sequence };
        bench.change(|it| it.restore = Some(from));
        bench.worker(&format!("j17.{}", sequence + 1)).ended().await;
        assert_eq!(bench.log(), size, "checkpoint {sequence} is whole");
    }
}

/// The command fills the disk on which the worker keeps its final report.
#[tokio::test]
async fn ckpt_enospc_on_the_worker_s_own_disk_still_reports_the_end() {
    let bench = Bench::new("cat /dev/zero > fill; echo full; exit 6").await;
    let Some(small) = Small::at(bench.folder("j17.1")) else { return };
    let mut worker = bench.worker("j17.1");
    worker.ended().await;
    assert!(!exists(&small.0.join("exit.json")), "there was no room");
    assert_eq!(bench.exit().code, 6);
}

/// Without the mark the command could be started twice, so it is not started;
/// and the scheduler hears that at once.
#[tokio::test]
async fn a_start_that_cannot_be_marked_is_a_failed_start() {
    let bench = Bench::new("echo never").await;
    bench.change(|it| it.ready = false);
    let mut worker = bench.worker("j17.1");
    bench.until("registered", |it| it.registers > 0).await;
    fs::create_dir(worker.folder.join("started")).unwrap();
    bench.change(|it| it.ready = true);
    worker.ended().await;
    assert!(bench.start_failed().contains("marking the start"), "{}", bench.start_failed());
    assert_eq!(bench.log(), "");
}
