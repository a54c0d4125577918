//! Who is connected, and which connections are closed when there is no room for one more.
//!
//! A connection costs a descriptor and some memory, and most of them wait: a worker sends
//! something only every few seconds. A client that connects and sends nothing, or never
//! finishes a call, must not keep others out. So when all places are taken, connections
//! without a call in progress are closed: first those that have never completed a call,
//! then those that have been idle longest. A worker closed this way reconnects with its
//! next call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// When one must be closed, this fraction of all places is cleared: a flood of connections
/// does not cause every connection to be examined for each of them.
const EVICTED_PART: usize = 64;

/// Admits a limited number of a listener's connections at once.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    most: usize,
    registry: Mutex<Registry>,
    shared: Arc<Shared>,
}

/// State shared by connections and those waiting for a permit.
#[derive(Debug, Default)]
struct Shared {
    /// Answers that have ended.
    answers: AtomicU64,
    /// A connection has closed, or could make room.
    room: Notify,
}

#[derive(Debug, Default)]
struct Registry {
    next: u64,
    open: BTreeMap<u64, Arc<Connection>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    evicted: CancellationToken,
    shared: Arc<Shared>,
    /// Calls received in full that are being answered.
    in_flight: AtomicUsize,
    /// Which of all answers was the last one to it, from 1; 0 for none.
    last_answer: AtomicU64,
}

/// Room for one connection, for as long as it is held.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    id: u64,
    /// The connection it belongs to.
    pub(super) connection: Arc<Connection>,
}

impl ConnectionLimiter {
    /// For at most this many at once.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), registry: Mutex::default(), shared: Arc::default() })
    }

    /// A permit for one more, made if need be; waits while all are being answered.
    pub(super) async fn acquire(self: &Arc<Self>) -> ConnectionPermit {
        loop {
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            self.shared.room.notified().await;
        }
    }

    fn try_acquire(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let mut registry = self.registry();
        if registry.open.len() >= self.most {
            let cleared = registry.evict((self.most / EVICTED_PART).max(1));
            if cleared == 0 {
                return None;
            }
            tracing::warn!(places = self.most, cleared, "all connections are taken");
        }
        let id = registry.next;
        registry.next += 1;
        let connection = Arc::new(Connection {
            evicted: CancellationToken::new(),
            shared: self.shared.clone(),
            in_flight: AtomicUsize::new(0),
            last_answer: AtomicU64::new(0),
        });
        registry.open.insert(id, connection.clone());
        drop(registry);
        Some(ConnectionPermit { limiter: self.clone(), id, connection })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing that holds it panics half way.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Closes this many idle connections, and returns how many were closed.
    fn evict(&mut self, most: usize) -> usize {
        let idle = self.open.iter().filter(|(_, connection)| !connection.is_busy());
        let mut idle: Vec<(u64, u64)> = idle
            .map(|(id, connection)| (connection.last_answer.load(Ordering::Relaxed), *id))
            .collect();
        idle.sort_unstable();
        idle.truncate(most);
        for (_, id) in &idle {
            if let Some(connection) = self.open.remove(id) {
                connection.evicted.cancel();
            }
        }
        idle.len()
    }
}

impl Connection {
    /// Completes when it has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// It has sent a call, which is being answered from now on.
    pub(super) fn begin_answer(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer has ended.
    pub(super) fn end_answer(&self) {
        let before = self.shared.answers.fetch_add(1, Ordering::Relaxed);
        self.last_answer.store(before + 1, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.shared.room.notify_one();
    }

    fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.registry().open.remove(&self.id);
        self.limiter.shared.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(permit: &ConnectionPermit) -> bool {
        permit.connection.evicted.is_cancelled()
    }

    #[test]
    fn the_silent_go_first_and_then_who_was_silent_longest() {
        let limiter = ConnectionLimiter::new(4);
        let acquire = || limiter.try_acquire().unwrap();
        let [early, late, listens] = [acquire(), acquire(), acquire()];
        listens.connection.begin_answer();
        for permit in [&early, &late] {
            permit.connection.begin_answer();
            permit.connection.end_answer();
        }
        let silent = acquire();
        let fifth = acquire();
        assert_eq!([&early, &late, &listens, &silent].map(is_evicted), [false, false, false, true]);
        fifth.connection.begin_answer();
        let sixth = acquire();
        assert_eq!([&early, &late, &listens, &fifth].map(is_evicted), [true, false, false, false]);
        sixth.connection.begin_answer();
        let seventh = acquire();
        assert!(is_evicted(&late) && !is_evicted(&listens));
        seventh.connection.begin_answer();
        assert!(limiter.try_acquire().is_none(), "whoever is being answered stays");
        seventh.connection.end_answer();
        drop(acquire());
        assert!(is_evicted(&seventh) && !is_evicted(&listens), "its answer is over");
    }

    #[tokio::test]
    async fn who_finds_no_place_gets_the_next_one() {
        for leaves in [true, false] {
            let limiter = ConnectionLimiter::new(1);
            let first = limiter.acquire().await;
            first.connection.begin_answer();
            let waits = tokio::spawn({
                let limiter = limiter.clone();
                async move { limiter.acquire().await }
            });
            tokio::task::yield_now().await;
            assert!(!waits.is_finished());
            if leaves {
                drop(first);
            } else {
                first.connection.end_answer();
            }
            let limit = std::time::Duration::from_secs(5);
            tokio::time::timeout(limit, waits).await.expect("it gets a place").unwrap();
        }
    }

    #[test]
    fn many_places_are_cleared_at_once() {
        let limiter = ConnectionLimiter::new(640);
        let permits: Vec<ConnectionPermit> =
            (0..641).map(|_| limiter.try_acquire().unwrap()).collect();
        assert_eq!(permits.iter().filter(|permit| is_evicted(permit)).count(), 10);
        assert!(permits[..10].iter().all(is_evicted), "the first to come");
        drop(permits);
        assert_eq!(limiter.registry().open.len(), 0);
    }
}
