//! How often somebody may call: a token bucket for each of them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time::between;

/// Buckets by who calls. Each holds so many calls when it is full, and fills at a rate.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    burst: u64,
    per_second: u64,
    /// Callers that are remembered at once; more are not limited.
    most: usize,
    /// What is left, in thousandths of a call, and when that was.
    left: BTreeMap<K, (u64, Timestamp)>,
}

/// One call.
const CALL: u64 = 1_000;

impl<K: Ord + Clone> Buckets<K> {
    /// Full ones.
    pub(super) const fn new(burst: u64, per_second: u64, most: usize) -> Self {
        Self { burst, per_second, most, left: BTreeMap::new() }
    }

    /// Whether there is room for one more call now, which takes it.
    pub(super) fn take(&mut self, who: &K, now: Timestamp) -> bool {
        let full = self.burst * CALL;
        if self.left.len() >= self.most && !self.left.contains_key(who) {
            // Who has not called for long enough has a full one, like who never called.
            let whole = Duration::from_millis(full / self.per_second.max(1));
            self.left.retain(|_, (_, at)| between(*at, now) < whole);
            if self.left.len() >= self.most {
                return true;
            }
        }
        let (left, at) = self.left.entry(who.clone()).or_insert((full, now));
        let passed = u64::try_from(between(*at, now).as_millis()).unwrap_or(u64::MAX);
        *left = left.saturating_add(passed.saturating_mul(self.per_second)).min(full);
        *at = now;
        let fits = *left >= CALL;
        if fits {
            *left -= CALL;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn a_burst_is_let_in_and_then_so_many_a_second() {
        let mut buckets = Buckets::new(3, 2, 10);
        let mut taken = |who, ms| buckets.take(&who, at(ms));
        assert_eq!([0, 0, 0, 0].map(|ms| taken('a', ms)), [true, true, true, false]);
        assert!(taken('b', 0), "others are not concerned");
        assert!(!taken('a', 400) && taken('a', 500) && !taken('a', 500));
        assert_eq!(
            [60_000; 4].map(|ms| taken('a', ms)),
            [true, true, true, false],
            "no more than full"
        );
        assert!(!taken('a', 0), "a clock that goes back gives nothing");
    }

    #[test]
    fn who_is_forgotten_had_a_full_one() {
        let mut buckets = Buckets::new(2, 1, 2);
        assert!(buckets.take(&1, at(0)) && buckets.take(&2, at(0)));
        assert!(buckets.take(&3, at(10)), "not limited, but let in");
        assert_eq!(buckets.left.len(), 2);
        assert!(buckets.take(&3, at(2_500)));
        assert_eq!(buckets.left.keys().copied().collect::<Vec<_>>(), [3]);
    }
}
