//! Calls whose answer has not started, including those not yet received in full.
//!
//! A call takes room from its first bytes on. One whose body does not arrive keeps that
//! room until it times out, and with some thousands of such calls, which a few connections
//! can carry, nobody else would be answered. So if there is no room, calls that have been
//! incomplete for a while are aborted, oldest first.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections::Connection;

/// A call must be received in full within this time, unless there is room for slower ones.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The fraction of all calls that is aborted at once.
const ABORTED_PART: usize = 16;

/// All calls of a listener.
#[derive(Debug)]
pub(super) struct Calls {
    most: usize,
    permits: Arc<Semaphore>,
    incomplete: Mutex<IncompleteCalls>,
}

#[derive(Debug, Default)]
struct IncompleteCalls {
    next: u64,
    calls: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// One call, from its first bytes to the end of its answer.
#[derive(Debug)]
pub(super) struct Call {
    calls: Arc<Calls>,
    connection: Option<Arc<Connection>>,
    id: u64,
    stop: CancellationToken,
    complete: AtomicBool,
}

impl Calls {
    /// At most this many at once.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let (permits, incomplete) = (Arc::new(Semaphore::new(most)), Mutex::default());
        Arc::new(Self { most, permits, incomplete })
    }

    /// Room for one more; `None` if none can be made.
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Some(permit);
        }
        if self.abort_incomplete() == 0 {
            return None;
        }
        let permit = self.permits.clone().acquire_owned();
        tokio::time::timeout(REQUEST_TIMEOUT, permit).await.ok()?.ok()
    }

    /// Aborts calls that have been incomplete for too long, and returns how many.
    fn abort_incomplete(&self) -> usize {
        let mut incomplete = self.incomplete();
        let mut broken = 0;
        while broken < (self.most / ABORTED_PART).max(1)
            && let Some(first) = incomplete.calls.first_entry()
            && first.get().0.elapsed() >= REQUEST_TIMEOUT
        {
            first.remove().1.cancel();
            broken += 1;
        }
        if broken > 0 {
            tracing::warn!(calls = self.most, broken, "no room for calls that are not said");
        }
        broken
    }

    fn incomplete(&self) -> MutexGuard<'_, IncompleteCalls> {
        // Nothing that holds it panics half way.
        self.incomplete.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// A call whose head has been received.
    pub(super) fn begin(calls: &Arc<Calls>, connection: Option<Arc<Connection>>) -> Arc<Self> {
        let stop = CancellationToken::new();
        let mut incomplete = calls.incomplete();
        let id = incomplete.next;
        incomplete.next += 1;
        incomplete.calls.insert(id, (Instant::now(), stop.clone()));
        drop(incomplete);
        Arc::new(Self {
            calls: calls.clone(),
            connection,
            id,
            stop,
            complete: AtomicBool::new(false),
        })
    }

    /// Completes when the call is aborted.
    pub(super) async fn aborted(&self) {
        self.stop.cancelled().await;
    }

    /// It has been received in full, or the handler wants no more of it.
    pub(super) fn request_complete(&self) {
        if self.complete.swap(true, Ordering::Relaxed) {
            return;
        }
        self.calls.incomplete().calls.remove(&self.id);
        if let Some(connection) = &self.connection {
            connection.begin_answer();
        }
    }

    /// Its body, which reports when it has ended.
    pub(super) fn request_body(self: &Arc<Self>, body: Body) -> Body {
        if body.is_end_stream() {
            self.request_complete();
            return body;
        }
        Body::new(TrackedBody { body, call: self.clone() })
    }

    /// Its answer; the call lasts as long as that.
    pub(super) fn response_body(self: Arc<Self>, body: Body) -> Body {
        Body::new(TrackedBody { body, call: self })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !*self.complete.get_mut() {
            self.calls.incomplete().calls.remove(&self.id);
        } else if let Some(connection) = &self.connection {
            connection.end_answer();
        }
    }
}

/// A request or response body: the call lasts as long as it does.
struct TrackedBody {
    body: Body,
    call: Arc<Call>,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // An answer ends after its call was said.
        if frame.is_none() || self.body.is_end_stream() {
            self.call.request_complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_half_said_for_long_is_broken_off() {
        let calls = Calls::new(2);
        let (first, second) = (calls.acquire().await.unwrap(), calls.acquire().await.unwrap());
        let said = Call::begin(&calls, None);
        let slow = Call::begin(&calls, None);
        said.request_complete();
        assert!(calls.acquire().await.is_none(), "it may still be said");
        assert!(!slow.stop.is_cancelled());
        tokio::time::sleep(REQUEST_TIMEOUT).await;
        let more = tokio::spawn({
            let calls = calls.clone();
            async move { calls.acquire().await }
        });
        let aborted = tokio::time::timeout(5 * REQUEST_TIMEOUT, slow.aborted());
        aborted.await.expect("it is broken off");
        assert!(!said.stop.is_cancelled());
        drop(second);
        assert!(more.await.unwrap().is_some());
        assert_eq!(calls.abort_incomplete(), 0, "no more of them");
        drop((first, said, slow));
        assert!(calls.incomplete().calls.is_empty());
    }
}
