//! How often spot capacity is taken back, estimated from observations.

use jiff::Timestamp;

/// The belief before any observation, as a Gamma distribution of the rate: its shape is
/// `interruptions`, its rate parameter `hours`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Interruptions that the belief is worth.
    pub interruptions: f64,
    /// Hours of observation that the belief is worth.
    pub hours: f64,
}

/// One interruption in eight hours, worth eight hours of observation, for every
/// zone and type. Of the recorded markets, the zones of 2023-02-15 had one in
/// 0.7 h to one in 7.7 h (all together one in 2.8 h) and the calmest of
/// 2023-08-03 one in 29 h; a day of observation outweighs the prior.
pub const PRIOR: Prior = Prior { interruptions: 1.0, hours: 8.0 };

/// The spells of one zone and type: when its capacity came and went.
#[derive(Clone, Debug, Default)]
pub struct AvailabilitySpells {
    list: Vec<Spell>,
}

/// One spell, with what had been observed when it began.
#[derive(Clone, Copy, Debug)]
struct Spell {
    since: Timestamp,
    up: bool,
    up_seconds_before: i64,
    interruptions_before: u32,
}

impl AvailabilitySpells {
    /// Records the capacity from `at` on; times must not go back.
    pub fn push(&mut self, at: Timestamp, up: bool) {
        let next = match self.list.last() {
            None => Spell { since: at, up, up_seconds_before: 0, interruptions_before: 0 },
            Some(last) if last.up == up => return,
            Some(last) => Spell {
                since: at,
                up,
                up_seconds_before: last.up_seconds_by(at),
                interruptions_before: last.interruptions_before + u32::from(last.up),
            },
        };
        self.list.push(next);
    }

    /// When the spell in force at `at` began; `None` before the first.
    pub fn since(&self, at: Timestamp) -> Option<Timestamp> {
        self.at(at).map(|spell| spell.since)
    }

    /// Expected interruptions per hour of running, from the spells up to `at` and nothing
    /// later: the mean of the Gamma distribution after that many interruptions in that many
    /// hours. It is the average over a spell; lifetimes are heavy-tailed, so that a young
    /// spell has more and an old one less.
    pub fn hazard_per_hour(&self, at: Timestamp, prior: Prior) -> f64 {
        let (interruptions, seconds) = self
            .at(at)
            .map_or((0, 0), |spell| (spell.interruptions_before, spell.up_seconds_by(at)));
        let hours = seconds as f64 / 3_600.0;
        (prior.interruptions + f64::from(interruptions)) / (prior.hours + hours)
    }

    fn at(&self, at: Timestamp) -> Option<&Spell> {
        let after = self.list.partition_point(|spell| spell.since <= at);
        after.checked_sub(1).and_then(|index| self.list.get(index))
    }
}

impl Spell {
    fn up_seconds_by(&self, at: Timestamp) -> i64 {
        let age = at.as_second() - self.since.as_second();
        self.up_seconds_before + if self.up { age } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(h: i64) -> Timestamp {
        Timestamp::from_second(h * 3_600).unwrap()
    }

    fn spells(list: &[(i64, bool)]) -> AvailabilitySpells {
        let mut spells = AvailabilitySpells::default();
        for (h, up) in list {
            spells.push(hour(*h), *up);
        }
        spells
    }

    #[test]
    fn observation_moves_the_prior() {
        let spells = spells(&[(0, true), (2, false), (10, true), (12, true), (16, false)]);
        let at = |h| spells.hazard_per_hour(hour(h), PRIOR);
        assert_eq!(at(0), 1.0 / 8.0);
        assert_eq!(at(1), 1.0 / 9.0, "an hour without interruption");
        assert_eq!(at(2), 2.0 / 10.0);
        assert_eq!(at(9), 2.0 / 10.0, "nothing is learnt while there is no capacity");
        assert_eq!(at(100), 3.0 / 16.0);
        assert_eq!(spells.since(hour(13)), Some(hour(10)), "a repeated row starts no spell");
    }

    #[test]
    fn the_future_is_not_known() {
        let long = spells(&[(0, true), (3, false), (4, true), (5, false), (6, true), (7, false)]);
        let short = spells(&[(0, true), (3, false), (4, true)]);
        for h in 0..5 {
            let at = hour(h);
            assert_eq!(long.hazard_per_hour(at, PRIOR), short.hazard_per_hour(at, PRIOR), "{h}");
        }
        assert_ne!(long.hazard_per_hour(hour(5), PRIOR), short.hazard_per_hour(hour(5), PRIOR));
    }
}
