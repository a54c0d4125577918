//! A checkpoint torn anywhere, by anything, is never loaded.

#![allow(clippy::print_stdout)] // Figures, and what was skipped and why.

use super::*;

const PARTS: [&str; 3] = ["00000.shard", "00001.shard", "manifest.json"];

/// Two checkpoints of two files each.
async fn pair() -> Bench {
    let bench = Bench::in_memory();
    let mut committer = bench.committer("j17.1", 3).await;
    for text in ["one", "two!"] {
        bench.write("model", text);
        bench.write("opt/state", &format!("state of {text}"));
        committer.commit(step(7)).await.unwrap().unwrap();
    }
    bench
}

/// Every way to tear a part at every byte: cut there, a bit turned, one byte
/// or all the rest zero; and one byte too many.
fn tears(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut tears = vec![("one more byte".to_owned(), [whole, b"\n"].concat())];
    for at in 0..whole.len() {
        tears.push((format!("cut at {at}"), whole[..at].to_vec()));
        let rest = vec![0; whole.len() - at];
        tears.push((format!("zeros from {at}"), [&whole[..at], &rest].concat()));
        for flip in [0x01, 0x20, 0x80, whole[at]] {
            let mut torn = whole.to_vec();
            torn[at] ^= flip;
            tears.push((format!("byte {at} turned by {flip:#04x}"), torn));
        }
    }
    tears.retain(|(_, torn)| torn != whole);
    tears
}

async fn falls_back(bench: &Bench, part: &str, how: &str) {
    let (loaded, rejected, text) = bench.restore("j17.1-000002").await;
    assert_eq!(loaded.as_deref(), Some("j17.1-000001"), "{part}: {how}");
    assert_eq!((rejected, text.as_deref()), (1, Some("one")), "{part}: {how}");
    let state = fs::read_to_string(bench.dir.path().join("restored/opt/state"));
    assert_eq!(state.unwrap(), "state of one", "{part}: {how}");
    let found = fs::read_dir(bench.dir.path().join("restored")).unwrap().count();
    assert_eq!(found, 2, "{part}: {how}: nothing else is there");
}

#[tokio::test]
async fn ckpt_torn_every_byte_falls_back_and_never_loads_bad() {
    let bench = pair().await;
    let mut tried = 0;
    for part in PARTS {
        let path = bench.stored("j17.1-000002").join(part);
        let whole = fs::read(&path).unwrap();
        for (how, torn) in tears(&whole) {
            fs::write(&path, torn).unwrap();
            falls_back(&bench, part, &how).await;
            tried += 1;
        }
        fs::remove_file(&path).unwrap();
        falls_back(&bench, part, "removed").await;
        fs::write(&path, whole).unwrap();
    }
    println!("torn in {tried} ways");
    let (loaded, rejected, text) = bench.restore("j17.1-000002").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000002"), 0), "whole again");
    assert_eq!(text.as_deref(), Some("two!"));
}

/// The pointer is the name that the scheduler assigns, from its database. One of another
/// job must not be loaded either, even if both share a store.
#[tokio::test]
async fn ckpt_torn_every_byte_of_the_pointer_loads_only_what_the_job_wrote() {
    let bench = pair().await;
    for other in ["j16.1", "j7.1", "j1.1"] {
        let address = format!("file://{}", bench.dir.path().join("store").display());
        let attempt: AttemptId = other.parse().unwrap();
        let store = Store::open(&address, attempt.job).unwrap();
        let mut committer = bench.committer_of(store, other, 2, AckedCheckpoints::default()).await;
        for text in ["not", "ours"] {
            bench.write("model", text);
            committer.commit(step(1)).await.unwrap().unwrap();
        }
    }
    for (how, torn) in tears(b"j17.1-000002") {
        let Some(name) =
            String::from_utf8(torn).ok().filter(|it| CheckpointId::from_str(it).is_ok())
        else {
            // No name of a checkpoint: the attempt does not start.
            continue;
        };
        let (loaded, _, text) = bench.restore(&name).await;
        match loaded.as_deref() {
            Some("j17.1-000001") => assert_eq!(text.as_deref(), Some("one"), "{how}: {name}"),
            Some("j17.1-000002") => assert_eq!(text.as_deref(), Some("two!"), "{how}: {name}"),
            None => assert_eq!(text, None, "{how}: {name}"),
            Some(other) => panic!("{how}: {name}: loaded {other}"),
        }
    }
}
