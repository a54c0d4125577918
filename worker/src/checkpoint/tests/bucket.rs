//! Checkpoints in a bucket of a stand-in for S3.

#![allow(clippy::print_stdout)] // What was skipped and why.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use object_store::StaticCredentialProvider;
use object_store::aws::AwsCredential;
use spotwise_storage::{Access, S3Settings, Storage, StorageLocation};

use super::*;

/// ministack, without its checks of rights. Ended when dropped.
pub(super) struct StandIn(Child);

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bucket of a stand-in that runs here; `None` where it is not installed, which in CI is a
/// failure.
pub(super) async fn bucket() -> Option<(StandIn, Storage)> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/object-store/bin");
    if !tools.join("ministack").exists() {
        assert!(std::env::var_os("CI").is_none(), "the object store is missing: make tools");
        println!("skipped: the object store is missing, make tools installs it");
        return None;
    }
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let child = Command::new(tools.join("ministack"))
        .envs([("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", &port.to_string())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stand_in = StandIn(child);
    let make = format!(
        "import http.client as h; c = h.HTTPConnection('127.0.0.1', {port}); \
         c.request('PUT', '/models'); assert c.getresponse().status == 200"
    );
    let begun = Instant::now();
    let python = tools.join("python");
    while !Command::new(&python).args(["-c", &make]).output().unwrap().status.success() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let settings = S3Settings {
        region: "us-east-1".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        sts_endpoint: None,
        retry_timeout: Duration::from_secs(30),
    };
    let (key_id, secret_key) = ("test".to_owned(), "test".to_owned());
    let key = AwsCredential { key_id, secret_key, token: None };
    let credentials = Arc::new(StaticCredentialProvider::new(key));
    let (bucket, prefix) = ("models".to_owned(), "checkpoints/j17".to_owned());
    let location = StorageLocation::Bucket { bucket, prefix };
    let storage = Storage::open(&location, Some(&Access { settings, credentials })).unwrap();
    Some((stand_in, storage))
}

/// What is true of a folder is true of a bucket: parts, references, pruning, and the fence
/// between two workers of one job.
#[tokio::test]
async fn ckpt_fence_two_workers_of_one_job_in_a_bucket() {
    let Some((_running, storage)) = bucket().await else { return };
    let bench = Bench::in_memory();
    let store = Store::at(storage.clone(), "j17".parse().unwrap());
    let acked = AckedCheckpoints::default;
    let mut old = bench.committer_of(store.clone(), "j17.1", 2, acked()).await;
    bench.write("frozen", &"weights ".repeat(2 << 20));
    for text in ["one", "two!", "three"] {
        bench.write("model", text);
        old.commit(step(7)).await.unwrap().unwrap();
    }
    let names = |ids: Vec<CheckpointId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let all = ["j17.1-000001", "j17.1-000002", "j17.1-000003"];
    assert_eq!(names(store.list().await.unwrap()), all, "the first holds the weights");
    assert!(store.manifest("j17.1-000001".parse().unwrap()).await.unwrap().is_none());
    let (loaded, rejected, text) = bench.restore_from(&store, "j17.1-000003").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000003"), 0));
    assert_eq!(text.as_deref(), Some("three"));

    // The older one has looked, found nobody, and is late: its manifest is not overwritten,
    // and does not overwrite.
    let manifest = store.manifest("j17.1-000003".parse().unwrap()).await.unwrap().unwrap();
    let again = store.finish(&manifest).await;
    let exists = |error: &CheckpointError| {
        matches!(error, CheckpointError::Store(object_store::Error::AlreadyExists { .. }))
    };
    assert!(again.as_ref().is_err_and(exists), "{again:?}");
    store.finish_own(&manifest).await.expect("it is what is there");

    let mut new = bench.committer_of(store.clone(), "j17.2", 2, acked()).await;
    bench.write("model", "of the newer");
    new.commit(step(8)).await.unwrap().unwrap();
    bench.write("model", "of the older one");
    let late = old.commit(step(9)).await;
    assert!(matches!(late, Err(CheckpointError::Fenced(_))), "{late:?}");
    let (loaded, rejected, text) = bench.restore_from(&store, "j17.2-000001").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.2-000001"), 0));
    assert_eq!(text.as_deref(), Some("of the newer"));
    assert!(storage.unfinished_uploads().await.unwrap().is_empty());
}
