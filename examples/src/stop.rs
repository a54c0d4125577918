//! Being asked to stop, without a signal handler: SIGTERM and SIGINT are blocked
//! for the whole program, and one thread waits for them. The work looks at the
//! flag between two steps, so a step is never cut in half.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// A request to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Requested by SIGTERM (the worker) or SIGINT (Ctrl-C). Call it before any
    /// other thread starts: each thread inherits what is blocked.
    ///
    /// # Errors
    /// The signals cannot be blocked, or the thread cannot start.
    pub fn on_signals() -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        signals.thread_block().context("blocking SIGTERM")?;
        let stop = Self::default();
        let theirs = stop.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                // The wait fails only on an invalid set; stopping is then the safe answer.
                let _ = signals.wait();
                theirs.request();
            })
            .context("starting the thread that waits for SIGTERM")?;
        Ok(stop)
    }

    /// Asks the work to stop.
    pub fn request(&self) {
        let (flag, changed) = &*self.0;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Whether the work was asked to stop.
    pub fn is_requested(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rests until `time`, or until the request comes.
    pub fn rest_until(&self, time: Instant) {
        let (flag, changed) = &*self.0;
        let guard = flag.lock().unwrap_or_else(PoisonError::into_inner);
        let left = time.saturating_duration_since(Instant::now());
        drop(changed.wait_timeout_while(guard, left, |requested| !*requested));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_ends_the_rest() {
        let stop = Stop::default();
        stop.rest_until(Instant::now());
        assert!(!stop.is_requested());
        let other = stop.clone();
        let asking = std::thread::spawn(move || other.request());
        // Without the request this would hang for an hour.
        stop.rest_until(Instant::now() + Duration::from_secs(3600));
        assert!(stop.is_requested());
        asking.join().unwrap();
    }
}
