//! Calls whose answer has not begun, and those that are not even said whole.
//!
//! A call takes room from its first words on. One whose words do not come keeps
//! that room until its time is over, and with some thousands of such calls, which
//! a few connections can carry, nobody else would be answered. So where there is
//! no room, calls that have been half said for a while are broken off, the oldest
//! first.

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

/// A call is said within this time, unless there is room for slower ones.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Calls that are broken off at once: this part of all.
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

/// One call, from its first words to the end of its answer.
#[derive(Debug)]
pub(super) struct Call {
    calls: Arc<Calls>,
    connection: Option<Arc<Connection>>,
    id: u64,
    stop: CancellationToken,
    complete: AtomicBool,
}

impl Calls {
    /// At most so many at once.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let (permits, incomplete) = (Arc::new(Semaphore::new(most)), Mutex::default());
        Arc::new(Self { most, permits, incomplete })
    }

    /// Room for one more; none where it cannot be made.
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

    /// Breaks off calls that are half said for too long, and says how many.
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
    /// A call of which the head has come.
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

    /// Ends when the call is broken off.
    pub(super) async fn aborted(&self) {
        self.stop.cancelled().await;
    }

    /// It is said whole, or whoever answers wants no more of it.
    pub(super) fn request_complete(&self) {
        if self.complete.swap(true, Ordering::Relaxed) {
            return;
        }
        self.calls.incomplete().calls.remove(&self.id);
        if let Some(connection) = &self.connection {
            connection.begin_answer();
        }
    }

    /// Its words, which say when they are over.
    pub(super) fn request_body(self: &Arc<Self>, body: Body) -> Body {
        if body.is_end_stream() {
            self.request_complete();
            return body;
        }
        Body::new(TrackedBody { body, call: self.clone() })
    }

    /// Its answer, which the call lasts for.
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

/// Words or an answer: the call lasts as long.
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
