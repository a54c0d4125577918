//! How often work of a kind comes: what an idle machine can hope for. Memory alone.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, PoolName};
use spotwise_model::time::{between, hours};

/// After so long an arrival counts half (market time).
const HALF_LIFE: Duration = Duration::from_secs(1_800);

/// Placements by pool and machine type, those of long ago less.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrivals {
    by_kind: BTreeMap<(PoolName, InstanceType), Decayed>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Decayed {
    count: f64,
    at: Timestamp,
}

impl Decayed {
    fn at(self, now: Timestamp) -> f64 {
        let half_lives = between(self.at, now).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.count * (-half_lives).exp2()
    }
}

impl Arrivals {
    /// A job was placed on a machine of that kind.
    pub fn note(&mut self, pool: PoolName, instance_type: InstanceType, now: Timestamp) {
        let kind = self.by_kind.entry((pool, instance_type));
        let known = kind.or_insert(Decayed { count: 0.0, at: now });
        *known = Decayed { count: known.at(now) + 1.0, at: now.max(known.at) };
    }

    /// Jobs per hour, as of the last hours.
    pub fn per_hour(&self, pool: &PoolName, instance_type: &InstanceType, now: Timestamp) -> f64 {
        let known = self.by_kind.get(&(pool.clone(), instance_type.clone()));
        // A steady rate has a decayed count of the rate times the mean life.
        let mean_life = hours(HALF_LIFE) / std::f64::consts::LN_2;
        known.map_or(0.0, |known| known.at(now) / mean_life)
    }
}

#[cfg(test)]
mod tests {
    use spotwise_model::time::after;

    use super::*;

    #[test]
    fn a_steady_rate_is_found_and_forgotten() {
        let (pool, kind) = (PoolName::new("a"), InstanceType::new("m"));
        let mut arrivals = Arrivals::default();
        let mut now = Timestamp::UNIX_EPOCH;
        for _ in 0..600 {
            arrivals.note(pool.clone(), kind.clone(), now);
            now = after(now, Duration::from_secs(60));
        }
        let rate = arrivals.per_hour(&pool, &kind, now);
        assert!((rate - 60.0).abs() < 2.0, "{rate}");
        let later = arrivals.per_hour(&pool, &kind, after(now, HALF_LIFE * 10));
        assert!(later < 0.1, "{later}");
        assert_eq!(arrivals.per_hour(&pool, &InstanceType::new("other"), now), 0.0);
    }
}
