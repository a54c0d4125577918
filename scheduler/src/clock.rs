//! Wall time for the loop: read once, and from then on as steady as the machine's monotonic
//! clock, whatever happens to its wall clock. A clock set forward an hour would make every
//! worker silent for an hour and charge an hour that nobody used; one set back would make
//! nobody silent for an hour.
//!
//! Time during which the machine slept counts: the monotonic clock does not see it, the
//! time since boot does.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use spotwise_model::time::{add, after};

/// A clock that is off by less has been slewed, not set.
const SET: SignedDuration = SignedDuration::from_secs(1);

/// The current time, for this process.
pub(crate) fn now() -> Timestamp {
    static CLOCK: OnceLock<Mutex<Clock>> = OnceLock::new();
    let clock = CLOCK.get_or_init(|| Mutex::new(Clock::new(Timestamp::now(), since_boot())));
    let mut clock = clock.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = clock.begun;
    clock.at(begun.elapsed(), Timestamp::now(), since_boot)
}

/// Time since the machine was started, asleep or not; `None` if unavailable.
fn since_boot() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A steady clock.
#[derive(Debug)]
struct Clock {
    wall: Timestamp,
    begun: Instant,
    /// Time since boot at that moment.
    boot: Option<Duration>,
    /// How long the machine has slept since.
    slept: Duration,
    /// By how much the machine's clock was off when that was last logged.
    off: SignedDuration,
}

impl Clock {
    fn new(wall: Timestamp, boot: Option<Duration>) -> Self {
        let (slept, off) = (Duration::ZERO, SignedDuration::ZERO);
        Self { wall, begun: Instant::now(), boot, slept, off }
    }

    /// The time when this much has passed on the monotonic clock and the machine's clock
    /// says `said`.
    fn at(
        &mut self,
        passed: Duration,
        said: Timestamp,
        boot: impl FnOnce() -> Option<Duration>,
    ) -> Timestamp {
        let off = said.duration_since(after(self.wall, passed + self.slept));
        if (off - self.off).abs() > SET {
            let awake = self.boot.zip(boot()).map(|(then, now)| now.saturating_sub(then));
            let slept = awake.map_or(Duration::ZERO, |boot| boot.saturating_sub(passed));
            self.slept = if slept > Duration::from_secs(1) { slept } else { self.slept };
            self.off = said.duration_since(after(self.wall, passed + self.slept));
            if self.off.abs() > SET {
                let off = self.off.as_secs();
                tracing::warn!(seconds = off, "the machine's clock was set; time goes on evenly");
            }
        }
        add(after(self.wall, passed), SignedDuration::try_from(self.slept).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing() {
        let mut clock = Clock::new(at(0), Some(seconds(500)));
        let mut told =
            |passed: u64, said| clock.at(seconds(passed), at(said), || Some(seconds(500 + passed)));
        assert_eq!(told(10, 10), at(10));
        assert_eq!(told(11, 11 + HOUR), at(11));
        assert_eq!(told(12, 12 + HOUR), at(12));
        assert_eq!(told(13, 13 - HOUR), at(13));
        assert_eq!(told(14, 14), at(14), "and set right again");
    }

    #[test]
    fn time_asleep_counts_once() {
        let mut clock = Clock::new(at(0), Some(seconds(500)));
        // A night of eight hours after ten seconds.
        let night = 8 * HOUR;
        let mut told = |passed: u64, said| {
            let asleep = if passed > 10 { night as u64 } else { 0 };
            clock.at(seconds(passed), at(said), || Some(seconds(500 + passed + asleep)))
        };
        assert_eq!(told(10, 10), at(10));
        assert_eq!(told(11, 11 + night), at(11 + night));
        assert_eq!(told(12, 12 + night), at(12 + night));
        // Set an hour forward after that.
        assert_eq!(told(13, 13 + night + HOUR), at(13 + night));
    }

    #[test]
    fn the_clock_of_this_process_runs() {
        let (first, second) = (now(), now());
        assert!(second >= first);
        assert!(Timestamp::now().duration_since(second).abs() < SET);
    }
}
