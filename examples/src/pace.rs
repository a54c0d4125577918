//! Making a CPU stand for a slower accelerator: with `--pace 20ms` a thousand
//! steps take twenty seconds on every machine that can keep up, so that a job
//! file can state how long the work takes.

use std::time::{Duration, Instant};

use crate::stop::Stop;

/// Holds a loop to at least so much time a round, on average: a slow round is
/// made up for by quicker ones after it, so that the total does not drift.
#[derive(Debug)]
pub struct Pacer {
    every: Duration,
    next: Instant,
}

impl Pacer {
    /// Starts the clock.
    pub fn start(every: Duration) -> Self {
        Self { every, next: Instant::now() }
    }

    /// Ends a round: rests for what is left of its time, or until `stop`.
    pub fn end_round(&mut self, stop: &Stop) {
        self.next += self.every;
        if !self.every.is_zero() {
            stop.rest_until(self.next);
        }
    }
}

/// Reads `20ms`, `7s` or `1.5s`.
///
/// # Errors
/// What is wrong, for the command line.
pub fn parse_pace(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or("write a number and ms or s, such as 20ms")?, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * unit)
        .ok()
        .filter(|pace| *pace <= Duration::from_secs(3600))
        .ok_or_else(|| "write between 0s and 3600s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_milliseconds_and_seconds() {
        assert_eq!(parse_pace("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(parse_pace("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_pace("0s"), Ok(Duration::ZERO));
        for wrong in ["20", "ms", "-1s", "NaNs", "2h", "3601s"] {
            assert!(parse_pace(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rounds_are_counted_from_the_start_and_not_from_each_other() {
        let mut pacer = Pacer::start(Duration::from_nanos(5));
        let start = pacer.next;
        pacer.end_round(&Stop::default());
        pacer.end_round(&Stop::default());
        assert_eq!(pacer.next, start + Duration::from_nanos(10));
    }
}
