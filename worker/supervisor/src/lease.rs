//! How long the command may run if the scheduler does not answer.

use std::time::{Duration, Instant};

/// No lease and no pause between heartbeats is shorter than this, whatever the scheduler
/// says.
pub const SHORTEST: Duration = Duration::from_millis(50);

/// The right to run. Every answer renews it, from when the call was *made*: the
/// scheduler counts from when it answered, which is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    length: Duration,
    from: Instant,
}

impl Lease {
    /// A lease given in the answer to a call made at `called`.
    pub fn new(length: Duration, called: Instant) -> Self {
        Self { length: length.max(SHORTEST), from: called }
    }

    /// A call made at `called` was answered.
    pub fn renew(&mut self, called: Instant) {
        self.from = self.from.max(called);
    }

    /// It lasts this long from now on.
    pub fn set_length(&mut self, length: Duration) {
        self.length = length.max(SHORTEST);
    }

    /// When the last answered call was made.
    pub const fn renewed_at(&self) -> Instant {
        self.from
    }

    /// When it ends, if no further call is answered.
    pub fn ends(&self) -> Instant {
        self.from + self.length
    }

    /// How much of it is left; `None` once it is lost.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        Some(self.ends().saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "only differences count")]
    fn it_lasts_from_the_last_call_that_was_answered() {
        let t = Instant::now();
        let mut lease = Lease::new(secs(90), t);
        assert_eq!(lease.left(t + secs(60)), Some(secs(30)));
        lease.renew(t + secs(60));
        lease.renew(t + secs(30));
        assert_eq!(lease.ends(), t + secs(150), "a late answer to an early call shortens nothing");
        assert_eq!(lease.left(t + secs(150)), None);
        lease.set_length(Duration::ZERO);
        assert_eq!(lease.ends(), t + secs(60) + SHORTEST);
    }
}
