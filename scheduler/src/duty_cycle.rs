//! How often the phases run, and the planner. They look at everything, a message at one
//! thing: with many jobs and many messages, phases in every round would leave no time for
//! the messages.

use std::time::{Duration, Instant};

/// Limits the share of time spent working: work is followed by a rest of the same length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DutyCycle {
    last: Option<(Instant, Duration)>,
}

impl DutyCycle {
    /// How much longer the rest lasts; zero if work is due.
    pub(crate) fn rest(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |(ended, took)| {
            took.saturating_sub(now.saturating_duration_since(ended))
        })
    }

    /// Work has ended, and took this long.
    pub(crate) fn done(&mut self, ended: Instant, took: Duration) {
        self.last = Some((ended, took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_as_long_as_the_work() {
        let begun = Instant::now();
        let after = |millis| begun + Duration::from_millis(millis);
        let mut duty = DutyCycle::default();
        assert_eq!(duty.rest(begun), Duration::ZERO, "there was no work yet");
        duty.done(after(40), Duration::from_millis(40));
        assert_eq!(duty.rest(after(40)), Duration::from_millis(40));
        assert_eq!(duty.rest(after(70)), Duration::from_millis(10));
        assert_eq!(duty.rest(after(80)), Duration::ZERO);
        assert_eq!(duty.rest(after(500)), Duration::ZERO);
    }
}
