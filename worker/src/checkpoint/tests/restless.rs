//! Folders that never stop changing.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;

/// Writes until it is dropped.
struct Writer(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Writer {
    fn every(pause: u64, mut write: impl FnMut(u64) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for round in 0.. {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                write(round);
                std::thread::sleep(Duration::from_millis(pause));
            }
        });
        Self(over, Some(thread))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().unwrap().join();
    }
}

/// A line every 20 ms, with its own number.
fn log(bench: &Bench, name: &str) -> Writer {
    let path = bench.folder().join(name);
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    Writer::every(20, move |round| writeln!(file, "line {round}").unwrap())
}

/// Pairs that belong together, under new names and renamed into place.
fn weights(bench: &Bench) -> Writer {
    let folder = bench.folder();
    Writer::every(150, move |round| {
        let step = folder.join(format!(".tmp-step-{round}"));
        fs::create_dir(&step).unwrap();
        for part in ["model", "optimizer"] {
            fs::write(step.join(part), format!("{part} of {round}")).unwrap();
        }
        fs::rename(&step, folder.join(format!("step-{round}"))).unwrap();
        let old = folder.join(format!("step-{}", round.saturating_sub(2)));
        if round >= 2 {
            fs::remove_dir_all(old).unwrap();
        }
    })
}

/// Tries until something is committed, as the worker does.
async fn until_committed(committer: &mut Committer) -> u32 {
    let begun = Instant::now();
    loop {
        match committer.commit(step(1)).await {
            Ok(Some(committed)) => return committed.sequence,
            Ok(None) | Err(CheckpointError::Unstable) => {
                assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", committer.remarks());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{}", error.line()),
        }
    }
}

async fn committer(bench: &Bench) -> Committer {
    bench.committer("j17.1", 2).await.with_room(bench.dir.path().join("saving"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_log_does_not_keep_the_weights_from_being_saved() {
    let bench = Bench::new();
    let mut committer = committer(&bench).await;
    let _writers = (log(&bench, "events.log"), weights(&bench));
    // By chance the first may have come in between two lines.
    for _ in 0..3 {
        until_committed(&mut committer).await;
    }
    let sequence = committer.last().unwrap().sequence;
    let (loaded, rejected, _) = bench.restore(&format!("j17.1-{sequence:06}")).await;
    assert_eq!((loaded, rejected), (Some(format!("j17.1-{sequence:06}")), 0));
    let into = bench.dir.path().join("restored");
    let lines = fs::read_to_string(into.join("events.log")).unwrap();
    assert!(lines.starts_with("line 0\nline 1\n"), "{lines}");
    let mut steps = 0;
    for entry in fs::read_dir(&into).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(step) = name.strip_prefix("step-") else { continue };
        steps += 1;
        for part in ["model", "optimizer"] {
            let text = fs::read_to_string(into.join(&name).join(part)).unwrap();
            assert_eq!(text, format!("{part} of {step}"));
        }
    }
    assert!(steps >= 1, "{:?}", fs::read_dir(&into).unwrap().collect::<Vec<_>>());
    assert!(!bench.dir.path().join("saving").exists(), "the room is emptied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_is_rewritten_is_whole_in_the_checkpoint() {
    let bench = Bench::new();
    let mut committer = committer(&bench).await;
    let status = bench.folder().join("status.json");
    let _writers = (
        Writer::every(30, move |round| {
            fs::write(&status, format!("{{\"round\":{round}}}")).unwrap();
        }),
        weights(&bench),
    );
    for _ in 0..2 {
        until_committed(&mut committer).await;
    }
    let sequence = committer.last().unwrap().sequence;
    bench.restore(&format!("j17.1-{sequence:06}")).await;
    let text = fs::read_to_string(bench.dir.path().join("restored/status.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(value["round"].is_u64(), "{text}");
}

/// The command writes its weights slowly and in place: half of them are not a checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_being_written_in_place_are_waited_for() {
    let bench = Bench::new();
    bench.write("config", "x");
    let mut committer = committer(&bench).await;
    let _log = log(&bench, "events.log");
    let path = bench.folder().join("weights");
    let mut weights = fs::File::create(&path).unwrap();
    let begun = Instant::now();
    let writer = std::thread::spawn(move || {
        for _ in 0..80 {
            weights.write_all(&vec![7; 400_000]).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let whole = 80 * 400_000;
    until_committed(&mut committer).await;
    assert!(begun.elapsed() >= Duration::from_secs(8), "{:?}", begun.elapsed());
    writer.join().unwrap();
    bench.restore("j17.1-000001").await;
    let sequence = committer.last().unwrap().sequence;
    bench.restore(&format!("j17.1-{sequence:06}")).await;
    let restored = fs::metadata(bench.dir.path().join("restored/weights")).unwrap();
    assert_eq!(restored.len(), whole);
}

/// Nobody waits for what is still writing when the command has ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_commit_takes_what_there_is() {
    let bench = Bench::new();
    let mut committer = committer(&bench).await;
    let _log = log(&bench, "events.log");
    bench.write("model", "at the end");
    committer.ended();
    until_committed(&mut committer).await;
    let (_, _, text) = bench.restore("j17.1-000001").await;
    let sequence = committer.last().unwrap().sequence;
    let text = match sequence {
        1 => text,
        _ => bench.restore(&format!("j17.1-{sequence:06}")).await.2,
    };
    assert_eq!(text.as_deref(), Some("at the end"));
}
