//! An attempt that has ended writes nothing that counts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;

#[tokio::test]
async fn ckpt_fence_an_older_attempt_commits_nothing() {
    let bench = two().await;
    let mut old = bench.committer("j17.1", 2).await;
    let mut new = bench.committer("j17.2", 2).await;
    bench.write("model", "three");
    assert_eq!(new.commit(step(1)).await.unwrap().unwrap().sequence, 1);
    bench.write("model", "four");
    assert!(matches!(old.commit(step(1)).await, Err(CheckpointError::Fenced(_))));
    assert!(!bench.stored("j17.1-000003").exists());
}

/// Each operation of the older attempt's commit is held up until the newer one
/// has committed. Its manifest is late then, or is not written at all; either
/// way the newer checkpoint stands, and is what is restored.
#[tokio::test]
async fn ckpt_fence_a_late_manifest_loses_wherever_its_commit_was_held_up() {
    let mut fenced_midway = 0;
    for held_up in 0.. {
        let bench = Arc::new(two().await);
        let other = Arc::clone(&bench);
        let (store, operations) = bench.hooked(move |now| {
            let bench = Arc::clone(&other);
            Box::pin(async move {
                if now == held_up {
                    newer_commits(&bench).await;
                }
            })
        });
        // The scheduler has heard of the second checkpoint: the newer attempt
        // may be reading it.
        let acked = AckedCheckpoints::default();
        acked.reporting(2);
        acked.acked(2);
        let mut old = bench.committer_of(store, "j17.1", 2, acked).await;
        bench.write("model", "of the older attempt");
        let late = old.commit(step(1)).await;
        if operations.load(Ordering::Relaxed) <= held_up {
            assert!(late.is_ok(), "nobody disturbed it: {late:?}");
            assert!(held_up > 5, "{held_up} operations");
            break;
        }
        if matches!(late, Err(CheckpointError::Fenced(_))) {
            fenced_midway += 1;
            assert!(!bench.stored("j17.1-000003").exists(), "{held_up}: its shards are removed");
        }
        let (loaded, rejected, text) = bench.restore("j17.2-000001").await;
        assert_eq!((loaded.as_deref(), rejected), (Some("j17.2-000001"), 0), "{held_up}");
        assert_eq!(text.as_deref(), Some("of the newer attempt"), "{held_up}");
        bench.write("model", "more of the older attempt");
        let next = old.commit(step(1)).await;
        assert!(matches!(next, Err(CheckpointError::Fenced(_))), "{held_up}: {next:?}");
    }
    // At the start, before each of the two looks, and before the shard.
    assert_eq!(fenced_midway, 4, "up to the last look before the manifest");
}

async fn newer_commits(bench: &Bench) {
    let folder = bench.dir.path().join("newer");
    fs::create_dir(&folder).unwrap();
    let (attempt, fence) = ("j17.2".parse().unwrap(), CancellationToken::new());
    let store = bench.store();
    let new = Committer::new(store, attempt, folder.clone(), 2, fence, AckedCheckpoints::default());
    let mut new = new.await.unwrap();
    write_whole(&folder.join("model"), "of the newer attempt");
    new.commit(step(9)).await.unwrap().unwrap();
}

#[tokio::test]
async fn ckpt_fence_an_existing_manifest_is_never_overwritten() {
    let bench = two().await;
    let store = bench.store();
    let id = "j17.1-000002".parse().unwrap();
    let manifest = store.manifest(id).await.unwrap().unwrap();
    let before = fs::read(bench.stored("j17.1-000002/manifest.json")).unwrap();
    assert!(store.finish(&manifest).await.is_err());
    assert_eq!(fs::read(bench.stored("j17.1-000002/manifest.json")).unwrap(), before);
}

#[tokio::test]
async fn ckpt_fence_a_lost_lease_commits_nothing() {
    let bench = Bench::new();
    let fence = CancellationToken::new();
    let attempt = "j17.1".parse().unwrap();
    let (store, folder, acked) = (bench.store(), bench.folder(), AckedCheckpoints::default());
    let made = Committer::new(store, attempt, folder, 2, fence.clone(), acked).await;
    let mut committer = made.unwrap();
    bench.write("model", "x");
    fence.cancel();
    assert!(matches!(committer.commit(step(1)).await, Err(CheckpointError::Fenced(_))));
    assert!(bench.store().list().await.unwrap().is_empty());
}
