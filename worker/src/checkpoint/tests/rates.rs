//! How fast checkpoints are, beside what the same disk and the same store do without us, in
//! one run: figures for `docs/benchmarks.md`.

#![allow(clippy::print_stdout)] // A benchmark prints its figures.

use std::process::Command;
use std::time::Instant;

use futures::stream::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, WriteMultipart};
use spotwise_storage::Storage;

use super::bucket::bucket;
use super::*;

const SHARDS: u64 = 4;

/// Bytes of a shard; `SPOTWISE_BENCH_MB` says how many MB all of them have.
fn shard_size() -> u64 {
    let all = std::env::var("SPOTWISE_BENCH_MB").ok().and_then(|it| it.parse().ok());
    all.unwrap_or(4_000) * 1_000_000 / SHARDS
}

/// Bytes that do not compress, and differ from shard to shard.
fn fill(path: &Path, seed: u64) {
    let mut file = fs::File::create(path).unwrap();
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut left = usize::try_from(shard_size()).unwrap();
    let mut block = vec![0; 1 << 20];
    while left > 0 {
        let part = &mut block[..left.min(1 << 20)];
        reader.fill(part);
        std::io::Write::write_all(&mut file, part).unwrap();
        left -= part.len();
    }
    file.sync_all().unwrap();
}

fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program}");
}

/// Seconds that it takes, until all of it is on the disk.
async fn timed<T>(work: impl Future<Output = T>) -> (f64, T) {
    run("sync", &[]);
    let begun = Instant::now();
    let done = work.await;
    run("sync", &[]);
    (begun.elapsed().as_secs_f64(), done)
}

fn report(what: &str, seconds: f64, bytes: u64, reference: Option<f64>) {
    #[allow(clippy::cast_precision_loss, reason = "a figure")]
    let rate = bytes as f64 / 1e6 / seconds;
    let beside = reference.map_or(String::new(), |of| format!(", {:.0} %", 100. * of / seconds));
    println!("  {what:<38} {seconds:6.2} s  {rate:6.0} MB/s{beside}");
}

/// A committer, whose folder then gets its shards.
async fn committer_of(bench: &Bench, store: Store) -> Committer {
    let committer = bench.committer_of(store, "j17.1", 9, AckedCheckpoints::default()).await;
    for n in 0..SHARDS {
        let from = bench.dir.path().join(format!("source/shard-{n}"));
        fs::rename(from, bench.folder().join(format!("shard-{n}"))).unwrap();
    }
    committer
}

/// Commit, commit with one changed shard, restore; the references are of the same bytes.
async fn measure(bench: &Bench, store: Store, put: f64, get: f64) {
    let all = shard_size() * SHARDS;
    let mut committer = committer_of(bench, store.clone()).await;
    let (seconds, done) = timed(committer.commit(step(1))).await;
    assert_eq!(done.unwrap().unwrap().sent_bytes, all);
    report("commit", seconds, all, Some(put));
    fill(&bench.folder().join(".tmp-next"), 99);
    fs::rename(bench.folder().join(".tmp-next"), bench.folder().join("shard-0")).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (seconds, done) = timed(committer.commit(step(2))).await;
    let sent = done.unwrap().unwrap().sent_bytes;
    assert_eq!(sent, shard_size(), "what is unchanged is not sent");
    report("commit, 3 of 4 shards unchanged", seconds, all, Some(put));
    let (staging, into) = (bench.dir.path().join("staging"), bench.dir.path().join("restored"));
    let wanted = Wanted::This("j17.1-000002".parse().unwrap());
    let (seconds, done) = timed(restore(&store, wanted, &staging, &into)).await;
    assert_eq!(done.unwrap().bytes, all);
    report("restore", seconds, all, Some(get));
    fs::remove_dir_all(&into).unwrap();
}

fn sources(bench: &Bench) -> PathBuf {
    let source = bench.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    (0..SHARDS).for_each(|n| fill(&source.join(format!("shard-{n}")), n));
    source
}

/// Disks of virtual machines are fast for a while and then are not: what is compared takes
/// turns.
const ROUNDS: u32 = 4;

#[tokio::test]
#[ignore = "minutes, and 16 GB of disk: a benchmark"]
async fn rates_of_checkpoints_in_a_folder() {
    let all = shard_size() * SHARDS;
    println!("\n{SHARDS} shards of {} MB in a folder, {ROUNDS} rounds", shard_size() / 1_000_000);
    let mut sums = [0.; 4];
    for round in 0..ROUNDS {
        let bench = Bench::new();
        let (source, copy) = (sources(&bench), bench.dir.path().join("copy"));
        let copying = async { run("cp", &[Path::new("-r"), &source, &copy]) };
        sums[0] += timed(copying).await.0;
        fs::remove_dir_all(&copy).unwrap();
        let store = bench.store();
        let mut committer = committer_of(&bench, store.clone()).await;
        let (seconds, done) = timed(committer.commit(step(1))).await;
        assert_eq!(done.unwrap().unwrap().sent_bytes, all);
        sums[1] += seconds;
        let copying = async { run("cp", &[Path::new("-r"), &bench.stored(""), &copy]) };
        // Whoever is first reads what nobody has read since it was written.
        if round % 2 == 0 {
            sums[3] += timed(copying).await.0;
            fs::remove_dir_all(&copy).unwrap();
            sums[2] += restored(&bench, &store).await;
        } else {
            sums[2] += restored(&bench, &store).await;
            sums[3] += timed(copying).await.0;
        }
    }
    let mean = |sum: f64| sum / f64::from(ROUNDS);
    let [copy, commit, restore, copy_back] = sums.map(mean);
    report("cp -r, sync", copy, all, None);
    report("commit", commit, all, Some(copy));
    report("cp -r of what is stored, sync", copy_back, all, None);
    report("restore, sync", restore, all, Some(copy_back));
    let bench = Bench::new();
    sources(&bench);
    measure(&bench, bench.store(), copy, copy_back).await;
}

/// Seconds of a restore, and of writing it to the disk.
async fn restored(bench: &Bench, store: &Store) -> f64 {
    let (staging, into) = (bench.dir.path().join("staging"), bench.dir.path().join("restored"));
    let wanted = Wanted::This("j17.1-000001".parse().unwrap());
    let (seconds, done) = timed(restore(store, wanted, &staging, &into)).await;
    assert_eq!(done.unwrap().bytes, shard_size() * SHARDS);
    fs::remove_dir_all(&into).unwrap();
    seconds
}

/// As much at once as the store and this machine do, and nothing else.
async fn raw_put(storage: &Storage, source: &Path) {
    let sending = (0..SHARDS).map(|n| {
        let (objects, path) = (storage.objects().clone(), source.join(format!("shard-{n}")));
        async move {
            let to = ObjectPath::from(format!("raw/{n}"));
            let upload = objects.put_multipart(&to).await.unwrap();
            let mut upload = WriteMultipart::new_with_chunk_size(upload, 8 << 20);
            let mut file = fs::File::open(path).unwrap();
            loop {
                let mut piece = Vec::with_capacity(8 << 20);
                let part = std::io::Read::take(&mut file, 8 << 20);
                std::io::Read::read_to_end(&mut { part }, &mut piece).unwrap();
                if piece.is_empty() {
                    break;
                }
                upload.wait_for_capacity(4).await.unwrap();
                upload.put(piece.into());
            }
            upload.finish().await.unwrap();
        }
    });
    futures::future::join_all(sending).await;
}

async fn raw_get(storage: &Storage, into: &Path) {
    fs::create_dir(into).unwrap();
    let fetching = (0..SHARDS).map(|n| {
        let (objects, path) = (storage.objects().clone(), into.join(n.to_string()));
        async move {
            let mut file = fs::File::create(path).unwrap();
            let from = ObjectPath::from(format!("raw/{n}"));
            let objects = &objects;
            let from = &from;
            let pieces = (0..shard_size().div_ceil(8 << 20)).map(|at| async move {
                let begin = at * (8 << 20);
                objects.get_range(from, begin..(begin + (8 << 20)).min(shard_size())).await
            });
            let mut pieces = futures::stream::iter(pieces).buffered(4);
            while let Some(piece) = pieces.try_next().await.unwrap() {
                std::io::Write::write_all(&mut file, &piece).unwrap();
            }
        }
    });
    futures::future::join_all(fetching).await;
}

#[tokio::test]
#[ignore = "minutes, and 12 GB of disk and of memory: a benchmark"]
async fn rates_of_checkpoints_in_a_bucket() {
    let bench = Bench::new();
    let source = sources(&bench);
    let Some((_running, storage)) = bucket().await else { return };
    let all = shard_size() * SHARDS;
    println!("\n{SHARDS} shards of {} MB in a bucket of ministack", shard_size() / 1_000_000);
    let (put, ()) = timed(raw_put(&storage, &source)).await;
    report("raw parallel upload", put, all, None);
    let raw = bench.dir.path().join("raw");
    let (get, ()) = timed(raw_get(&storage, &raw)).await;
    report("raw parallel download", get, all, None);
    fs::remove_dir_all(&raw).unwrap();
    let listed = storage.objects().list(Some(&ObjectPath::from("raw")));
    let paths = listed.map_ok(|object| object.location).boxed();
    storage.objects().delete_stream(paths).try_collect::<Vec<_>>().await.unwrap();
    measure(&bench, Store::at(storage, "j17".parse().unwrap()), put, get).await;
}
