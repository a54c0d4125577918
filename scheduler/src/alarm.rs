//! When the loop looks at the world: when something is due, when it receives a message,
//! soon after a change, and otherwise not at all.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time::{after, between};

/// The interval of looks that nobody requests (wall time): what a look has changed is
/// looked at once more after this.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The clock is read this often (wall time): the machine may have slept.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The moment of the next look (wall time).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alarm {
    looked: Option<Timestamp>,
    due: Option<Timestamp>,
}

impl Alarm {
    /// A look has begun at `now`; the next one is due at the given time, if ever.
    pub(crate) fn set(&mut self, now: Timestamp, due: Option<Timestamp>) {
        self.looked = Some(now);
        self.due = due.map(|due| due.max(after(now, TICK)));
    }

    /// The next look is due now.
    pub(crate) fn ring(&mut self) {
        self.due = Some(Timestamp::MIN);
    }

    /// Whether a look is due.
    pub(crate) fn rings(&self, now: Timestamp) -> bool {
        self.looked.is_none() || self.due.is_some_and(|due| due <= now)
    }

    /// Whether the last look is too old to answer a question from.
    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        self.looked.is_none_or(|looked| between(looked, now) >= TICK)
    }

    /// How long no look is needed.
    pub(crate) fn rest(&self, now: Timestamp) -> Duration {
        if self.looked.is_none() {
            return Duration::ZERO;
        }
        self.due.map_or(LONGEST_SLEEP, |due| between(now, due).min(LONGEST_SLEEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millis).unwrap()
    }

    #[test]
    fn it_rings_when_something_is_due_and_rarely_otherwise() {
        let mut alarm = Alarm::default();
        assert!(alarm.rings(at(0)) && alarm.is_stale(at(0)), "nobody has looked yet");
        alarm.set(at(0), None);
        assert!(!alarm.rings(at(1_000_000)));
        assert_eq!(alarm.rest(at(50)), LONGEST_SLEEP);
        assert!(!alarm.is_stale(at(99)) && alarm.is_stale(at(100)));
        alarm.set(at(0), Some(at(3)));
        assert!(!alarm.rings(at(99)) && alarm.rings(at(100)), "not more often than that");
        alarm.set(at(0), Some(at(2_500)));
        assert_eq!(alarm.rest(at(1_000)), Duration::from_millis(1_500));
        alarm.ring();
        assert!(alarm.rings(at(0)) && alarm.rest(at(0)).is_zero());
        alarm.set(at(1), None);
        assert!(!alarm.rings(at(5_000)), "once");
    }
}
