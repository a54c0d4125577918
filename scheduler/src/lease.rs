//! A leader's lease: kept by a task alongside the loop, and checked by the loop before it
//! decides and before it acts.
//!
//! The end is computed on this process's monotonic clock from *before* the call that
//! renewed it, less a margin: the database counts from later than that, so nobody else can
//! hold the lease while this says that we do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use spotwise_store::{Epoch, Store, StoreError};

/// Renewals in one term: two may fail before the lease ends.
const RENEWALS: u32 = 3;
/// The part of a term that is left unused, for clocks that drift.
const MARGIN: u32 = 10;

/// One leadership. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    epoch: Epoch,
    /// `None` if a file lock keeps every other scheduler out.
    until: Option<Mutex<Instant>>,
    lost: CancellationToken,
}

impl Lease {
    /// For the scheduler that holds the lock of the database file.
    pub fn for_ever(epoch: Epoch) -> Self {
        Self(Arc::new(Inner { epoch, until: None, lost: CancellationToken::new() }))
    }

    /// Won by a call that was made at `asked`.
    pub fn for_a_term(epoch: Epoch, asked: Instant, term: Duration) -> Self {
        let until = Some(Mutex::new(end(asked, term)));
        Self(Arc::new(Inner { epoch, until, lost: CancellationToken::new() }))
    }

    /// Which leadership.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// Whether nobody else can lead at this moment. It may become true again, if the
    /// database answers again and nobody has taken over in the meantime.
    pub fn holds(&self) -> bool {
        let Some(until) = &self.0.until else { return true };
        !self.0.lost.is_cancelled()
            && Instant::now() < *until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once somebody else has taken over.
    pub async fn lost(&self) {
        self.0.lost.cancelled().await;
    }

    /// Renews until it is lost. Never returns for a lease without an end.
    pub async fn keep(&self, store: &Store, term: Duration) {
        let Some(until) = &self.0.until else { return std::future::pending().await };
        loop {
            tokio::time::sleep(term / RENEWALS).await;
            let asked = Instant::now();
            match store.renew(self.0.epoch, term).await {
                Ok(()) => {
                    *until.lock().unwrap_or_else(PoisonError::into_inner) = end(asked, term);
                }
                Err(StoreError::NotLeader { .. }) => return self.0.lost.cancel(),
                Err(error) => {
                    tracing::warn!(error = error.in_full(), "the lease was not renewed");
                }
            }
        }
    }
}

fn end(asked: Instant, term: Duration) -> Instant {
    asked + term - term / MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_itself_before_the_database_says_so() {
        let term = Duration::from_secs(10);
        let asked = |ago| Instant::now().checked_sub(Duration::from_millis(ago)).unwrap();
        assert!(Lease::for_a_term(Epoch(1), asked(8_900), term).holds());
        assert!(!Lease::for_a_term(Epoch(1), asked(9_100), term).holds());
        assert!(Lease::for_ever(Epoch(1)).holds());
    }
}
