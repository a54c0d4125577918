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

use super::guests::Guest;

/// A call is said within this time, unless there is room for slower ones.
const PATIENCE: Duration = Duration::from_secs(1);
/// Calls that are broken off at once: this part of all.
const BROKEN_OFF: usize = 16;

/// All calls of a listener.
#[derive(Debug)]
pub(super) struct Calls {
    most: usize,
    room: Arc<Semaphore>,
    half_said: Mutex<HalfSaid>,
}

#[derive(Debug, Default)]
struct HalfSaid {
    next: u64,
    calls: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// One call, from its first words to the end of its answer.
#[derive(Debug)]
pub(super) struct Call {
    calls: Arc<Calls>,
    guest: Option<Arc<Guest>>,
    id: u64,
    stop: CancellationToken,
    said: AtomicBool,
}

impl Calls {
    /// At most so many at once.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let (room, half_said) = (Arc::new(Semaphore::new(most)), Mutex::default());
        Arc::new(Self { most, room, half_said })
    }

    /// Room for one more; none where it cannot be made.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(room) = self.room.clone().try_acquire_owned() {
            return Some(room);
        }
        if self.break_off() == 0 {
            return None;
        }
        let room = self.room.clone().acquire_owned();
        tokio::time::timeout(PATIENCE, room).await.ok()?.ok()
    }

    /// Breaks off calls that are half said for too long, and says how many.
    fn break_off(&self) -> usize {
        let mut half_said = self.half_said();
        let mut broken = 0;
        while broken < (self.most / BROKEN_OFF).max(1)
            && let Some(first) = half_said.calls.first_entry()
            && first.get().0.elapsed() >= PATIENCE
        {
            first.remove().1.cancel();
            broken += 1;
        }
        if broken > 0 {
            tracing::warn!(calls = self.most, broken, "no room for calls that are not said");
        }
        broken
    }

    fn half_said(&self) -> MutexGuard<'_, HalfSaid> {
        // Nothing that holds it panics half way.
        self.half_said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// A call of which the head has come.
    pub(super) fn begin(calls: &Arc<Calls>, guest: Option<Arc<Guest>>) -> Arc<Self> {
        let stop = CancellationToken::new();
        let mut half_said = calls.half_said();
        let id = half_said.next;
        half_said.next += 1;
        half_said.calls.insert(id, (Instant::now(), stop.clone()));
        drop(half_said);
        Arc::new(Self { calls: calls.clone(), guest, id, stop, said: AtomicBool::new(false) })
    }

    /// Ends when the call is broken off.
    pub(super) async fn broken_off(&self) {
        self.stop.cancelled().await;
    }

    /// It is said whole, or whoever answers wants no more of it.
    pub(super) fn is_said(&self) {
        if self.said.swap(true, Ordering::Relaxed) {
            return;
        }
        self.calls.half_said().calls.remove(&self.id);
        if let Some(guest) = &self.guest {
            guest.begins_to_listen();
        }
    }

    /// Its words, which say when they are over.
    pub(super) fn words(self: &Arc<Self>, body: Body) -> Body {
        if body.is_end_stream() {
            self.is_said();
            return body;
        }
        Body::new(Spoken { body, call: self.clone() })
    }

    /// Its answer, which the call lasts for.
    pub(super) fn answer(self: Arc<Self>, body: Body) -> Body {
        Body::new(Spoken { body, call: self })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !*self.said.get_mut() {
            self.calls.half_said().calls.remove(&self.id);
        } else if let Some(guest) = &self.guest {
            guest.has_heard();
        }
    }
}

/// Words or an answer: the call lasts as long.
struct Spoken {
    body: Body,
    call: Arc<Call>,
}

impl HttpBody for Spoken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // An answer ends after its call was said.
        if frame.is_none() || self.body.is_end_stream() {
            self.call.is_said();
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
        let (first, second) = (calls.room().await.unwrap(), calls.room().await.unwrap());
        let said = Call::begin(&calls, None);
        let slow = Call::begin(&calls, None);
        said.is_said();
        assert!(calls.room().await.is_none(), "it may still be said");
        assert!(!slow.stop.is_cancelled());
        tokio::time::sleep(PATIENCE).await;
        let more = tokio::spawn({
            let calls = calls.clone();
            async move { calls.room().await }
        });
        let broken_off = tokio::time::timeout(5 * PATIENCE, slow.broken_off());
        broken_off.await.expect("it is broken off");
        assert!(!said.stop.is_cancelled());
        drop(second);
        assert!(more.await.unwrap().is_some());
        assert_eq!(calls.break_off(), 0, "no more of them");
        drop((first, said, slow));
        assert!(calls.half_said().calls.is_empty());
    }
}
