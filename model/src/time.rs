//! Time as an argument, and durations as people write them.
//!
//! There are two times. *Market* time drives deadlines, durations, prices,
//! charges and reports. *Wall* time drives heartbeats, leases, grace periods and
//! the lead of a notice. They differ only while a recorded market is replayed
//! faster than it happened.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The present, handed to every function that needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Deadlines, prices, charges.
    pub market: Timestamp,
    /// Leases, heartbeats, grace.
    pub wall: Timestamp,
}

impl Now {
    /// The earlier of the two, by wall time.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        if other.wall < self.wall { other } else { self }
    }
}

/// How market time follows wall time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeScale {
    /// Market time at `wall_start`.
    pub market_start: Timestamp,
    /// When the two were aligned.
    pub wall_start: Timestamp,
    /// Market seconds per wall second; 1 outside replays. Between 1 and 100,000.
    pub speed: u32,
}

impl TimeScale {
    /// Market time equals wall time.
    pub fn real(wall: Timestamp) -> Self {
        Self { market_start: wall, wall_start: wall, speed: 1 }
    }

    /// Both times at the wall time `wall`. Market time is truncated to whole seconds:
    /// providers bill in seconds.
    pub fn at(&self, wall: Timestamp) -> Now {
        let elapsed = wall.duration_since(self.wall_start).as_millis().max(0);
        let seconds = elapsed * i128::from(self.speed) / 1_000;
        let market = add(self.market_start, SignedDuration::from_secs(clamp_i64(seconds)));
        let market = Timestamp::from_second(market.as_second()).unwrap_or(market);
        Now { market, wall }
    }

    /// The first wall time at which the market time has reached `market`; no earlier than
    /// when the two were aligned.
    pub fn wall_of(&self, market: Timestamp) -> Timestamp {
        let whole = i128::from(whole_second(market).as_second());
        let seconds = (whole - i128::from(self.market_start.as_second())).max(0);
        let speed = i128::from(self.speed.max(1));
        let millis = (seconds * 1_000 + speed - 1) / speed;
        add(self.wall_start, SignedDuration::from_millis(clamp_i64(millis)))
    }
}

fn clamp_i64(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// `time + span`, clamped to the years that a timestamp can hold.
pub fn add(time: Timestamp, span: SignedDuration) -> Timestamp {
    time.saturating_add(span).unwrap_or(if span.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// `time + span` for a span that cannot be negative.
pub fn after(time: Timestamp, span: Duration) -> Timestamp {
    add(time, SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX))
}

/// The first whole second at or after `time`: what people are shown.
pub fn whole_second(time: Timestamp) -> Timestamp {
    let rounded = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(rounded).unwrap_or(time)
}

/// The time from `start` to `end`; zero if `end` is earlier (a clock that went back must
/// never cause a negative bill).
pub fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or(Duration::ZERO)
}

/// Hours as a float, for the solver and for statistics only.
pub fn hours(span: Duration) -> f64 {
    span.as_secs_f64() / 3_600.0
}

/// The longest duration a user may name: one year.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// A duration that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as 90s, 15m, 12h, 2d or 1h30m, above zero and at most a year")]
pub struct InvalidDuration;

/// Reads `90s`, `15m`, `12h`, `2d`, `1h30m`: whole numbers with a unit, from
/// large to small, above zero and at most [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let mut rest = text;
    let mut total: u64 = 0;
    for (unit, seconds) in UNITS {
        let Some((number, tail)) = rest.split_once(unit) else { continue };
        let plain =
            !number.is_empty() && number.len() <= 9 && number.bytes().all(|b| b.is_ascii_digit());
        let number: u64 = plain.then(|| number.parse().ok()).flatten().ok_or(InvalidDuration)?;
        total = total.saturating_add(number.saturating_mul(seconds));
        rest = tail;
    }
    let span = Duration::from_secs(total);
    (rest.is_empty() && total > 0 && span <= MAX_DURATION).then_some(span).ok_or(InvalidDuration)
}

/// The two largest units of a duration: `2d 3h`, `1h 30m`, `45s`.
pub fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    let (d, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) if s == 0 => format!("{m}m"),
        (0, 0, _) => format!("{m}m {s}s"),
        (0, _, 0) => format!("{h}h"),
        (0, _, _) => format!("{h}h {m}m"),
        (_, 0, _) => format!("{d}d"),
        _ => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_strictly() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
        for text in
            ["", "5", "PT", "-5m", "1e9h", "1h 30m", "30m1h", "0s", "400d", "h", "1.5h", "９h"]
        {
            assert_eq!(parse_duration(text), Err(InvalidDuration), "{text}");
        }
    }

    #[test]
    fn market_time_runs_at_its_speed() {
        let wall = Timestamp::from_second(1_000).unwrap();
        let scale = TimeScale {
            market_start: Timestamp::from_second(50_000).unwrap(),
            wall_start: wall,
            speed: 600,
        };
        let now = scale.at(after(wall, Duration::from_millis(2_500)));
        assert_eq!(now.market.as_second(), 50_000 + 1_500);
    }

    #[test]
    fn the_market_is_there_at_its_wall_time_and_not_before() {
        for speed in [1, 7, 60, 600, 99_999] {
            let wall = Timestamp::from_millisecond(1_000_123).unwrap();
            let market_start = Timestamp::from_millisecond(50_000_700).unwrap();
            let scale = TimeScale { market_start, wall_start: wall, speed };
            for millis in [50_001_000, 50_001_001, 50_777_000, 61_234_567, 9_950_000_000] {
                let market = Timestamp::from_millisecond(millis).unwrap();
                let at = scale.wall_of(market);
                assert!(scale.at(at).market >= market, "{speed} {millis}");
                let before = add(at, SignedDuration::from_millis(-1));
                assert!(scale.at(before).market < market, "{speed} {millis}");
            }
            assert_eq!(scale.wall_of(Timestamp::UNIX_EPOCH), wall);
        }
    }

    #[test]
    fn a_clock_that_goes_back_costs_nothing() {
        let t = Timestamp::from_second(1_000).unwrap();
        assert_eq!(between(t, Timestamp::from_second(900).unwrap()), Duration::ZERO);
    }

    #[test]
    fn people_read_two_units() {
        assert_eq!(human(Duration::from_secs(3_600 * 27)), "1d 3h");
        assert_eq!(human(Duration::from_secs(61)), "1m 1s");
    }
}
