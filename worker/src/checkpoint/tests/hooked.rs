//! A store that lets something happen before one of its operations.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt, once};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;

type Hook = dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync;

/// Counts operations from 0 and calls the hook before each.
#[derive(Clone)]
struct Hooked {
    inner: Arc<dyn ObjectStore>,
    count: Arc<AtomicUsize>,
    hook: Arc<Hook>,
}

impl Bench {
    /// The store, with `hook` before each operation; and how many there were.
    pub(super) fn hooked(
        &self,
        hook: impl Fn(usize) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> (Store, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let (counted, hook) = (Arc::clone(&count), Arc::new(hook));
        (self.store().behind(|inner| Arc::new(Hooked { inner, count, hook })), counted)
    }
}

impl Hooked {
    async fn before(&self) {
        (self.hook)(self.count.fetch_add(1, Ordering::Relaxed)).await;
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Display for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[tonic::async_trait]
impl ObjectStore for Hooked {
    async fn put_opts(&self, to: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.before().await;
        self.inner.put_opts(to, bytes, how).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.before().await;
        self.inner.put_multipart_opts(to, how).await
    }

    async fn get_opts(&self, from: &Path, how: GetOptions) -> Result<GetResult> {
        self.before().await;
        self.inner.get_opts(from, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let it = self.clone();
        let deleted = async move {
            it.before().await;
            it.inner.delete_stream(paths)
        };
        once(deleted).flatten().boxed()
    }

    fn list(&self, below: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (it, below) = (self.clone(), below.cloned());
        let listed = async move {
            it.before().await;
            it.inner.list(below.as_ref())
        };
        once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, below: Option<&Path>) -> Result<ListResult> {
        self.before().await;
        self.inner.list_with_delimiter(below).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}
