//! Who is connected, and who goes where there is no room for one more.
//!
//! A connection costs a descriptor and some memory, and most of them wait: a
//! worker speaks every few seconds only. Whoever connects and says nothing, or
//! never finishes what it says, must not keep others out. So where all places are
//! taken, those go to whom no call is being answered: first who has never said a
//! whole call, then who has not for the longest time. A worker that goes this way
//! connects again with its next call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Where one has to go, this part of all places is cleared: a flood of
/// connections does not have everybody looked at for each of them.
const CLEARED: usize = 64;

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Guests {
    most: usize,
    book: Mutex<Book>,
    door: Arc<Door>,
}

/// What guests and whoever waits for a place have in common.
#[derive(Debug, Default)]
struct Door {
    /// Answers that are over.
    answers: AtomicU64,
    /// Somebody has left, or could be asked to.
    open: Notify,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    guests: BTreeMap<u64, Arc<Guest>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    go: CancellationToken,
    door: Arc<Door>,
    /// Calls that were said whole and are being answered.
    listens: AtomicUsize,
    /// Which of all answers was the last to it, from 1; 0 for none.
    heard: AtomicU64,
}

/// A guest's entry in the book, for as long as it is there.
#[derive(Debug)]
pub(super) struct Place {
    guests: Arc<Guests>,
    id: u64,
    /// Whose it is.
    pub(super) guest: Arc<Guest>,
}

impl Guests {
    /// For at most so many at once.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), book: Mutex::default(), door: Arc::default() })
    }

    /// A place for one more, made if need be; waits while all are being answered.
    pub(super) async fn enter(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_enter() {
                return place;
            }
            self.door.open.notified().await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let mut book = self.book();
        if book.guests.len() >= self.most {
            let cleared = book.clear((self.most / CLEARED).max(1));
            if cleared == 0 {
                return None;
            }
            tracing::warn!(places = self.most, cleared, "all connections are taken");
        }
        let id = book.next;
        book.next += 1;
        let guest = Arc::new(Guest {
            go: CancellationToken::new(),
            door: self.door.clone(),
            listens: AtomicUsize::new(0),
            heard: AtomicU64::new(0),
        });
        book.guests.insert(id, guest.clone());
        drop(book);
        Some(Place { guests: self.clone(), id, guest })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing that holds it panics half way.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Sends so many guests away, and says how many went.
    fn clear(&mut self, most: usize) -> usize {
        let idle = self.guests.iter().filter(|(_, guest)| !guest.listens());
        let mut idle: Vec<(u64, u64)> =
            idle.map(|(id, guest)| (guest.heard.load(Ordering::Relaxed), *id)).collect();
        idle.sort_unstable();
        idle.truncate(most);
        for (_, id) in &idle {
            if let Some(guest) = self.guests.remove(id) {
                guest.go.cancel();
            }
        }
        idle.len()
    }
}

impl Guest {
    /// Ends when the guest has to go.
    pub(super) async fn asked_to_go(&self) {
        self.go.cancelled().await;
    }

    /// It has said a call, which is being answered from now on.
    pub(super) fn begins_to_listen(&self) {
        self.listens.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer is over.
    pub(super) fn has_heard(&self) {
        let before = self.door.answers.fetch_add(1, Ordering::Relaxed);
        self.heard.store(before + 1, Ordering::Relaxed);
        self.listens.fetch_sub(1, Ordering::Relaxed);
        self.door.open.notify_one();
    }

    fn listens(&self) -> bool {
        self.listens.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.book().guests.remove(&self.id);
        self.guests.door.open.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_asked(place: &Place) -> bool {
        place.guest.go.is_cancelled()
    }

    #[test]
    fn the_silent_go_first_and_then_who_was_silent_longest() {
        let guests = Guests::new(4);
        let enter = || guests.try_enter().unwrap();
        let [early, late, listens] = [enter(), enter(), enter()];
        listens.guest.begins_to_listen();
        for place in [&early, &late] {
            place.guest.begins_to_listen();
            place.guest.has_heard();
        }
        let silent = enter();
        let fifth = enter();
        assert_eq!([&early, &late, &listens, &silent].map(is_asked), [false, false, false, true]);
        fifth.guest.begins_to_listen();
        let sixth = enter();
        assert_eq!([&early, &late, &listens, &fifth].map(is_asked), [true, false, false, false]);
        sixth.guest.begins_to_listen();
        let seventh = enter();
        assert!(is_asked(&late) && !is_asked(&listens));
        seventh.guest.begins_to_listen();
        assert!(guests.try_enter().is_none(), "whoever is being answered stays");
        seventh.guest.has_heard();
        drop(enter());
        assert!(is_asked(&seventh) && !is_asked(&listens), "its answer is over");
    }

    #[tokio::test]
    async fn who_finds_no_place_gets_the_next_one() {
        for leaves in [true, false] {
            let guests = Guests::new(1);
            let first = guests.enter().await;
            first.guest.begins_to_listen();
            let waits = tokio::spawn({
                let guests = guests.clone();
                async move { guests.enter().await }
            });
            tokio::task::yield_now().await;
            assert!(!waits.is_finished());
            if leaves {
                drop(first);
            } else {
                first.guest.has_heard();
            }
            let limit = std::time::Duration::from_secs(5);
            tokio::time::timeout(limit, waits).await.expect("it gets a place").unwrap();
        }
    }

    #[test]
    fn many_places_are_cleared_at_once() {
        let guests = Guests::new(640);
        let places: Vec<Place> = (0..641).map(|_| guests.try_enter().unwrap()).collect();
        assert_eq!(places.iter().filter(|place| is_asked(place)).count(), 10);
        assert!(places[..10].iter().all(is_asked), "the first to come");
        drop(places);
        assert_eq!(guests.book().guests.len(), 0);
    }
}
