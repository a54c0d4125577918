//! Virtual time: milliseconds since a world began.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use spotwise_model::time::after;

/// Milliseconds.
pub(crate) type Ms = u64;

pub(crate) const SECOND: Ms = 1_000;
pub(crate) const MINUTE: Ms = 60 * SECOND;
pub(crate) const HOUR: Ms = 60 * MINUTE;
pub(crate) const DAY: Ms = 24 * HOUR;

/// That moment of a world that began at `start`.
pub(crate) fn at(start: Timestamp, moment: Ms) -> Timestamp {
    after(start, Duration::from_millis(moment))
}

/// The moment of a time; 0 before the world began.
pub(crate) fn moment(start: Timestamp, time: Timestamp) -> Ms {
    let span = spotwise_model::time::between(start, time);
    Ms::try_from(span.as_millis()).unwrap_or(Ms::MAX / 4)
}

pub(crate) fn millis(span: Duration) -> Ms {
    Ms::try_from(span.as_millis()).unwrap_or(Ms::MAX / 4)
}

pub(crate) const fn span(millis: Ms) -> Duration {
    Duration::from_millis(millis)
}

/// Where the product's monotonic clock stands when a world begins: only differences
/// count.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// That moment on the product's monotonic clock.
pub(crate) fn instant(moment: Ms) -> Instant {
    *ORIGIN + span(moment)
}

/// The first moment that is not before an instant.
pub(crate) fn moment_of(instant: Instant) -> Ms {
    let since = instant.saturating_duration_since(*ORIGIN).as_nanos().div_ceil(1_000_000);
    Ms::try_from(since).unwrap_or(Ms::MAX / 4)
}
