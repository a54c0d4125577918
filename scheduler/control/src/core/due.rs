//! When the next look is needed.

use jiff::Timestamp;
use spotwise_model::Now;
use spotwise_model::time::TimeScale;

/// The earliest moment after a look at which the passage of time alone may change what is
/// decided, in each of the two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When the look happened.
    now: Now,
    market: Option<Timestamp>,
    wall: Option<Timestamp>,
}

impl Due {
    /// Nothing is due yet.
    pub const fn after(now: Now) -> Self {
        Self { now, market: None, wall: None }
    }

    /// The look that it follows.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Something is due at a market time; anything due by the last look has been handled.
    pub fn market(&mut self, at: impl IntoIterator<Item = Timestamp>) {
        let later = at.into_iter().filter(|at| *at > self.now.market);
        self.market = later.chain(self.market).min();
    }

    /// The same for wall time.
    pub fn wall(&mut self, at: impl IntoIterator<Item = Timestamp>) {
        let later = at.into_iter().filter(|at| *at > self.now.wall);
        self.wall = later.chain(self.wall).min();
    }

    /// The earlier of the two (wall time); `None` if nothing is due.
    pub fn earliest(&self, scale: TimeScale) -> Option<Timestamp> {
        let market = self.market.map(|at| scale.wall_of(at));
        market.into_iter().chain(self.wall).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spotwise_model::time::after;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_earliest_of_both_times_counts_and_the_past_does_not() {
        let scale =
            TimeScale { market_start: second(50_000), wall_start: second(1_000), speed: 60 };
        let now = scale.at(second(1_010));
        let mut due = Due::after(now);
        assert_eq!(due.earliest(scale), None);
        due.market([second(50_600), second(40_000)]);
        due.wall([second(1_010), second(7)]);
        assert_eq!(due.earliest(scale), None, "all of that has been seen");
        due.market([second(50_900), second(50_720)]);
        assert_eq!(due.earliest(scale), Some(second(1_012)));
        due.wall([after(second(1_011), Duration::from_millis(5))]);
        due.wall([second(1_090)]);
        assert_eq!(due.earliest(scale), Some(after(second(1_011), Duration::from_millis(5))));
    }
}
