//! What has not changed is in the store once, stays as long as a checkpoint names it, and
//! is told from what only looks the same.

use std::os::unix::fs::FileExt;

use super::*;

fn shards(bench: &Bench) -> Vec<String> {
    let mut found = Vec::new();
    for checkpoint in fs::read_dir(bench.dir.path().join("store")).unwrap() {
        let checkpoint = checkpoint.unwrap().path();
        for part in fs::read_dir(&checkpoint).unwrap() {
            let name = part.unwrap().file_name().to_string_lossy().into_owned();
            if name.ends_with(".shard") {
                let checkpoint = checkpoint.file_name().unwrap().to_string_lossy();
                found.push(format!("{checkpoint}/{name}"));
            }
        }
    }
    found.sort();
    found
}

fn frozen(bench: &Bench) -> Option<String> {
    fs::read_to_string(bench.dir.path().join("restored/frozen")).ok()
}

#[tokio::test]
async fn unchanged_shards_are_sent_once_and_outlive_the_checkpoint_that_sent_them() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    bench.write("frozen", "weights that never change");
    let mut sent = Vec::new();
    for n in 1..=4 {
        bench.write("model", &"x".repeat(n));
        let committed = committer.commit(step(1)).await.unwrap().unwrap();
        assert_eq!(committed.bytes, 25 + n as u64);
        sent.push(committed.sent_bytes);
    }
    assert_eq!(sent, [26, 2, 3, 4], "bytes that were sent");
    let frozen_shard = "j17.1-000001/00000.shard";
    assert_eq!(
        shards(&bench),
        [frozen_shard, "j17.1-000003/00001.shard", "j17.1-000004/00001.shard"]
    );
    assert!(!bench.stored("j17.1-000001/manifest.json").exists(), "it is none any more");
    for (name, text) in [("j17.1-000004", "xxxx"), ("j17.1-000003", "xxx")] {
        let (loaded, rejected, model) = bench.restore(name).await;
        assert_eq!((loaded.as_deref(), rejected), (Some(name), 0));
        assert_eq!(model.as_deref(), Some(text));
        assert_eq!(frozen(&bench).as_deref(), Some("weights that never change"));
    }
    // Nobody names it any more.
    for text in ["other", "others", "and others"] {
        bench.write("frozen", text);
        committer.commit(step(1)).await.unwrap().unwrap();
    }
    assert!(!bench.stored("j17.1-000001").exists());
}

/// The next attempt does not send what it has restored, and the shards of an attempt that
/// is over stay where they are.
#[tokio::test]
async fn what_was_restored_is_not_sent_again() {
    let bench = Bench::new();
    let mut first = bench.committer("j17.1", 1).await;
    bench.write("frozen", "weights");
    bench.write("model", "one");
    first.commit(step(1)).await.unwrap().unwrap();
    let (folder, staging) = (bench.dir.path().join("second"), bench.dir.path().join("staging"));
    let wanted = Wanted::This("j17.1-000001".parse().unwrap());
    let restored = restore(&bench.store(), wanted, &staging, &folder).await.unwrap();
    let acked = AckedCheckpoints::default();
    let (attempt, fence) = ("j17.2".parse().unwrap(), CancellationToken::new());
    let new = Committer::new(bench.store(), attempt, folder.clone(), 1, fence, acked).await;
    let mut second = new.unwrap().after(&restored);
    for text in ["two!", "three"] {
        write_whole(&folder.join("model"), text);
        let committed = second.commit(step(2)).await.unwrap().unwrap();
        assert_eq!(committed.sent_bytes, text.len() as u64);
    }
    assert_eq!(shards(&bench), ["j17.1-000001/00000.shard", "j17.2-000002/00001.shard"]);
    let (loaded, rejected, text) = bench.restore("j17.2-000002").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.2-000002"), 0));
    assert_eq!((text.as_deref(), frozen(&bench).as_deref()), (Some("three"), Some("weights")));
}

/// Same file, same size, same time: another content is found by its hash.
#[tokio::test]
async fn a_file_that_only_looks_the_same_is_sent() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 3).await;
    bench.write("frozen", "before");
    bench.write("model", "1");
    committer.commit(step(1)).await.unwrap().unwrap();
    let file = fs::OpenOptions::new().write(true).open(bench.folder().join("frozen")).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.write_at(b"after!", 0).unwrap();
    file.set_modified(time).unwrap();
    bench.write("model", "22");
    assert_eq!(committer.commit(step(1)).await.unwrap().unwrap().sent_bytes, 8);
    bench.restore("j17.1-000002").await;
    assert_eq!(frozen(&bench).as_deref(), Some("after!"));
    bench.restore("j17.1-000001").await;
    assert_eq!(frozen(&bench).as_deref(), Some("before"));
}

/// Somebody has removed the folder of an old checkpoint by hand: all is sent again.
#[tokio::test]
async fn a_shard_that_is_gone_is_sent_again() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    bench.write("frozen", "weights");
    bench.write("model", "1");
    committer.commit(step(1)).await.unwrap().unwrap();
    fs::remove_dir_all(bench.stored("j17.1-000001")).unwrap();
    bench.write("model", "22");
    assert_eq!(committer.commit(step(1)).await.unwrap().unwrap().sent_bytes, 9);
    let (loaded, rejected, text) = bench.restore("before j17.2").await;
    assert!(loaded.is_some() && rejected == 0, "{loaded:?}");
    assert_eq!((text.as_deref(), frozen(&bench).as_deref()), (Some("22"), Some("weights")));
}

/// A bad shard makes all that name it bad, and the restore falls back to one that does not.
#[tokio::test]
async fn a_torn_shard_is_found_through_every_checkpoint_that_names_it() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 9).await;
    for (frozen, model) in [("old", "1"), ("weights", "22"), ("weights", "333")] {
        if frozen == "old" || model == "22" {
            bench.write("frozen", frozen);
        }
        bench.write("model", model);
        committer.commit(step(1)).await.unwrap().unwrap();
    }
    fs::write(bench.stored("j17.1-000002/00000.shard"), "WEIGHTS").unwrap();
    let (loaded, rejected, text) = bench.restore("j17.1-000003").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000001"), 2));
    assert_eq!(text.as_deref(), Some("1"));
}

/// What an old checkpoint of format 3 holds can be named by a new one, and is checked by
/// the hash that it has.
#[tokio::test]
async fn a_checkpoint_of_the_format_before_is_gone_on_from() {
    let bench = Bench::new();
    let stored = bench.stored("j17.1-000001");
    fs::create_dir_all(&stored).unwrap();
    let body = r#"{
  "format": 3,
  "attempt": "j17.1",
  "sequence": 1,
  "step": 40,
  "total_steps": 0,
  "entries": [
    {
      "kind": "file",
      "path": "frozen",
      "mode": 420,
      "mtime": [
        1792188000,
        5
      ],
      "shard": 0,
      "size": 3,
      "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    }
  ]"#;
    let seal = hex(&<sha2::Sha256 as sha2::Digest>::digest(format!("{body}\n}}")));
    let manifest = format!("{body},\n  \"sha256\": \"{seal}\"\n}}");
    fs::write(stored.join("manifest.json"), manifest).unwrap();
    fs::write(stored.join("00000.shard"), "one").unwrap();
    let (folder, staging) = (bench.dir.path().join("second"), bench.dir.path().join("staging"));
    let wanted = Wanted::This("j17.1-000001".parse().unwrap());
    let restored = restore(&bench.store(), wanted, &staging, &folder).await.unwrap();
    assert_eq!((restored.bytes, restored.rejected), (3, 0));
    let acked = AckedCheckpoints::default();
    let (attempt, fence) = ("j17.2".parse().unwrap(), CancellationToken::new());
    let new = Committer::new(bench.store(), attempt, folder.clone(), 1, fence, acked).await;
    let mut second = new.unwrap().after(&restored);
    write_whole(&folder.join("model"), "two!");
    assert_eq!(second.commit(step(2)).await.unwrap().unwrap().sent_bytes, 4);
    let manifest = fs::read_to_string(bench.stored("j17.2-000001/manifest.json")).unwrap();
    for part in ["\"format\": 4", "\"checkpoint\": \"j17.1-000001\"", "\"blake3\"", "7692c3ad"] {
        assert!(manifest.contains(part), "{part}: {manifest}");
    }
    let (loaded, rejected, _) = bench.restore("j17.2-000001").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.2-000001"), 0));
    assert_eq!(frozen(&bench).as_deref(), Some("one"));
}

/// Files of every size around that of a piece, restored as they were.
#[tokio::test]
async fn many_shards_at_once_are_each_whole() {
    let bench = Bench::in_memory();
    let mut committer = bench.committer("j17.1", 1).await;
    let sizes: Vec<usize> = [0, 1, 4095, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 17 << 20]
        .into_iter()
        .chain((0..40).map(|n| n * 37))
        .collect();
    for (n, size) in sizes.iter().enumerate() {
        let text: String = (0..*size).map(|at| char::from(b'a' + ((at + n) % 23) as u8)).collect();
        bench.write(&format!("shard-{n}"), &text);
    }
    bench.write("model", "x");
    committer.commit(step(1)).await.unwrap().unwrap();
    let (_, rejected, _) = bench.restore("j17.1-000001").await;
    assert_eq!(rejected, 0);
    for n in 0..sizes.len() {
        let of = |folder: &str| fs::read(bench.dir.path().join(folder).join(format!("shard-{n}")));
        assert!(of("checkpoint").unwrap() == of("restored").unwrap(), "shard {n}");
    }
}
