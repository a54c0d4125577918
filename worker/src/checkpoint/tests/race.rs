//! Old checkpoints are removed while another worker reads one of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;

use super::*;

/// Commits something new.
async fn commit_more(bench: &Bench, committer: &Mutex<Committer>) -> u32 {
    let mut committer = committer.lock().await;
    let next = committer.last().map_or(0, |last| last.sequence);
    bench.write("model", &format!("{} after {next}", "x".repeat(next as usize)));
    committer.commit(step(1)).await.unwrap().unwrap().sequence
}

/// Restores `assigned`, while `committer` commits before every operation from one on, for
/// every one of them; `heard` says whether the scheduler receives it.
async fn read_while_committing(assigned: &str, text: &str, attempt: &'static str, heard: bool) {
    for first in 0.. {
        let bench = Arc::new(two().await);
        let acked = AckedCheckpoints::default();
        match attempt {
            "j17.1" => {
                acked.reporting(1);
                acked.acked(1);
                // Taken in, but the answer was lost.
                acked.reporting(2);
            }
            _ => acked.restored(Some(assigned.parse().unwrap()), true),
        }
        let committer = bench.committer_of(bench.store(), attempt, 1, acked.clone()).await;
        let (other, committer) = (Arc::clone(&bench), Arc::new(Mutex::new(committer)));
        let (store, operations) = bench.hooked(move |now| {
            let (bench, committer) = (Arc::clone(&other), Arc::clone(&committer));
            let acked = acked.clone();
            Box::pin(async move {
                if now >= first {
                    let sequence = commit_more(&bench, &committer).await;
                    if heard && acked.reporting(sequence) {
                        acked.acked(sequence);
                    }
                }
            })
        });
        let (loaded, rejected, read) = bench.restore_from(&store, assigned).await;
        assert_eq!((loaded.as_deref(), rejected), (Some(assigned), 0), "from {first} on");
        assert_eq!(read.as_deref(), Some(text), "from {first} on");
        if operations.load(Ordering::Relaxed) <= first {
            assert!(first > 3, "{first} operations");
            break;
        }
    }
}

/// The older attempt continues without a scheduler, and keeps only one.
#[tokio::test]
async fn ckpt_gc_race_an_attempt_that_nobody_hears_removes_nothing_that_may_be_assigned() {
    read_while_committing("j17.1-000002", "two!", "j17.1", false).await;
    read_while_committing("j17.1-000001", "one", "j17.1", false).await;
}

/// Node 0 of a gang commits while node 1 still reads.
#[tokio::test]
async fn ckpt_gc_race_a_gang_keeps_what_its_other_nodes_read() {
    read_while_committing("j17.1-000002", "two!", "j17.2", true).await;
}

#[tokio::test]
async fn ckpt_gc_race_what_was_resumed_from_stays_until_the_next_one_is_heard() {
    let bench = two().await;
    let acked = AckedCheckpoints::default();
    acked.restored(Some("j17.1-000002".parse().unwrap()), false);
    let mut committer = bench.committer_of(bench.store(), "j17.2", 1, acked.clone()).await;
    for text in ["three", "four"] {
        bench.write("model", text);
        committer.commit(step(1)).await.unwrap().unwrap();
    }
    assert_eq!(bench.restore("j17.1-000002").await.2.as_deref(), Some("two!"));
    assert!(!acked.reporting(1), "removed before it was said");
    assert!(acked.reporting(2));
    acked.acked(2);
    bench.write("model", "five!");
    committer.commit(step(1)).await.unwrap().unwrap();
    let left: Vec<_> = bench.store().list().await.unwrap();
    assert_eq!(
        left.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["j17.2-000002", "j17.2-000003"]
    );
}

/// The one that verifies stays, however many newer ones do not.
#[tokio::test]
async fn ckpt_gc_race_the_last_good_one_is_never_removed() {
    let bench = two().await;
    let mut committer = bench.committer("j17.1", 2).await;
    for sequence in 3..6 {
        bench.write("model", &"y".repeat(sequence));
        committer.commit(step(1)).await.unwrap().unwrap();
        fs::write(bench.stored(&format!("j17.1-{sequence:06}/00000.shard")), "").unwrap();
    }
    let (loaded, rejected, text) = bench.restore("j17.1-000005").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000002"), 1));
    assert_eq!(text.as_deref(), Some("two!"));
}
