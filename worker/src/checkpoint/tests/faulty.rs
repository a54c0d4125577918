//! A store that fails, once at every operation in turn: whatever is lost, what was saved
//! stays, and what is said to be saved is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt, once};
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use spotwise_storage::{Credentials, IssueError, Issuer, Renewing};

use super::*;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The request does not arrive.
    Refused,
    /// It is carried out, and the answer is lost.
    Lost,
    /// The credentials are no longer good.
    Expired,
    /// From then on nothing is written.
    Full,
}

#[derive(Clone)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    /// Operations before it happens.
    before: Arc<AtomicI64>,
}

impl Faulty {
    fn error(&self) -> object_store::Error {
        match self.fault {
            Fault::Expired => object_store::Error::PermissionDenied {
                path: "x".to_owned(),
                source: "ExpiredToken".into(),
            },
            fault => {
                object_store::Error::Generic { store: "S3", source: format!("{fault:?}").into() }
            }
        }
    }

    /// What goes wrong with this operation.
    fn next(&self, writes: bool) -> Option<Fault> {
        let before = self.before.fetch_sub(1, Ordering::SeqCst);
        let now = before == 0 || (before < 0 && self.fault == Fault::Full && writes);
        now.then_some(self.fault)
    }

    async fn around<T>(&self, writes: bool, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next(writes) {
            None => work.await,
            Some(Fault::Lost) => {
                work.await?;
                Err(self.error())
            }
            Some(_) => Err(self.error()),
        }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[tonic::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        to: &ObjectPath,
        bytes: PutPayload,
        how: PutOptions,
    ) -> Result<PutResult> {
        self.around(true, self.inner.put_opts(to, bytes, how)).await
    }

    async fn put_multipart_opts(
        &self,
        to: &ObjectPath,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.around(true, self.inner.put_multipart_opts(to, how)).await?;
        Ok(Box::new(Upload { inner, store: self.clone() }))
    }

    async fn get_opts(&self, from: &ObjectPath, how: GetOptions) -> Result<GetResult> {
        self.around(false, self.inner.get_opts(from, how)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        match self.next(false) {
            None => self.inner.delete_stream(paths),
            Some(_) => once(std::future::ready(Err(self.error()))).boxed(),
        }
    }

    fn list(&self, below: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.next(false) {
            None => self.inner.list(below),
            Some(_) => once(std::future::ready(Err(self.error()))).boxed(),
        }
    }

    async fn list_with_delimiter(&self, below: Option<&ObjectPath>) -> Result<ListResult> {
        self.around(false, self.inner.list_with_delimiter(below)).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    store: Faulty,
}

#[tonic::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let sent = self.inner.put_part(data);
        match self.store.next(true) {
            None => sent,
            Some(_) => std::future::ready(Err(self.store.error())).boxed(),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let store = self.store.clone();
        store.around(true, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// Issues what is asked for, and counts.
#[derive(Debug, Default)]
struct Counted(AtomicU32);

#[tonic::async_trait]
impl Issuer for Counted {
    async fn issue(&self) -> std::result::Result<Credentials, IssueError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(IssueError("nobody asks: the store is a folder".to_owned()))
    }
}

/// Weights of two parts and a small file: one of both, in generation `n`.
fn generation(bench: &Bench, n: u8) {
    write_whole(&bench.folder().join("model"), &format!("generation {n}"));
    write_whole(&bench.folder().join("weights"), &char::from(b'a' + n).to_string().repeat(9 << 20));
}

/// The generation that is restored: all of it, or the test fails.
async fn restored(bench: &Bench, what: &str) -> u8 {
    let (loaded, rejected, text) = bench.restore("before j17.9").await;
    assert!(loaded.is_some() && rejected == 0, "{what}: {loaded:?}, {rejected} rejected");
    let n = text.and_then(|text| text.strip_prefix("generation ")?.parse().ok());
    let n: u8 = n.unwrap_or_else(|| panic!("{what}: no model"));
    let weights = fs::read(bench.dir.path().join("restored/weights")).unwrap();
    let whole = weights.len() == 9 << 20 && weights.iter().all(|byte| *byte == b'a' + n);
    assert!(whole, "{what}: the weights are not of generation {n}");
    n
}

/// A first checkpoint, then one that meets the fault; returns how it ended, and whether it
/// met any.
async fn meets(
    bench: &Bench,
    fault: Fault,
    at: i64,
) -> (Committer, std::result::Result<(), CheckpointError>, bool) {
    let before = Arc::new(AtomicI64::new(i64::MAX));
    let counted = Arc::clone(&before);
    let store = bench.store().behind(|inner| Arc::new(Faulty { inner, fault, before: counted }));
    let store = store.with_credentials(Arc::new(Renewing::new(Arc::new(Counted::default()))));
    let mut committer = bench.committer_of(store, "j17.1", 2, AckedCheckpoints::default()).await;
    generation(bench, 1);
    committer.commit(step(1)).await.unwrap().unwrap();
    generation(bench, 2);
    before.store(at, Ordering::SeqCst);
    let done = committer.commit(step(2)).await.map(|it| assert!(it.is_some()));
    let met = before.load(Ordering::SeqCst) < 0;
    if fault == Fault::Full {
        // Somebody makes room.
        before.store(i64::MAX, Ordering::SeqCst);
    }
    (committer, done, met)
}

async fn at_every_operation(fault: Fault) -> (u32, u32) {
    let (mut failed, mut saved) = (0, 0);
    for at in 0.. {
        let bench = Bench::in_memory();
        let (mut committer, done, met) = meets(&bench, fault, at).await;
        let what = format!("{fault:?} at operation {at}: {done:?}");
        if !met {
            assert!(done.is_ok() && at > 7, "{what}");
            return (failed, saved);
        }
        let now = restored(&bench, &what).await;
        match &done {
            Ok(()) => assert_eq!(now, 2, "{what}: it was said to be saved"),
            Err(_) => assert_eq!(now, 1, "{what}: the one before stays"),
        }
        failed += u32::from(done.is_err());
        saved += u32::from(done.is_ok());
        let again =
            committer.commit(step(3)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(again.is_some(), done.is_err(), "{what}: what is saved is not saved again");
        assert_eq!(restored(&bench, &what).await, 2, "{what}");
        let parts = fs::read_dir(bench.dir.path().join("store")).unwrap();
        assert!(parts.count() <= 3, "{what}: what failed is removed");
    }
    unreachable!("operations end");
}

#[tokio::test]
async fn ckpt_multipart_abort_a_request_that_does_not_arrive_costs_no_checkpoint() {
    let (failed, saved) = at_every_operation(Fault::Refused).await;
    assert!(failed > 4 && saved > 1, "{failed} failed, {saved} saved");
}

#[tokio::test]
async fn ckpt_multipart_abort_a_lost_answer_costs_no_checkpoint() {
    let (failed, saved) = at_every_operation(Fault::Lost).await;
    assert!(failed > 4 && saved > 2, "{failed} failed, {saved} saved: one more, the manifest");
}

#[tokio::test]
async fn expired_credentials_are_renewed_within_the_same_commit() {
    let (failed, saved) = at_every_operation(Fault::Expired).await;
    assert!(failed == 0 && saved > 8, "{failed} failed, {saved} saved");
}

#[tokio::test]
async fn a_full_store_keeps_what_it_has_and_takes_the_next_when_there_is_room() {
    let (failed, saved) = at_every_operation(Fault::Full).await;
    assert!(failed > 4 && saved > 1, "{failed} failed, {saved} saved");
}
