//! Markets on which a provider has refused machines: nothing is asked of them for a while,
//! ever longer as long as they refuse. Memory alone: a new leader asks once more.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::MarketKey;
use spotwise_model::id::PoolName;
use spotwise_model::limit::LimitKey;
use spotwise_model::time::after;

/// The first pause after a refusal for want of capacity (market time): Karpenter's.
const FIRST: Duration = Duration::from_secs(180);
/// The longest.
const LONGEST: Duration = Duration::from_secs(1_800);
/// How long what a refusal has told of a quota is believed (market time).
const QUOTA_BELIEF: Duration = Duration::from_secs(600);

/// What has been refused, and until when that counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refusals {
    capacity: BTreeMap<MarketKey, Refusal>,
    quotas: BTreeMap<LimitKey, FullQuota>,
}

#[derive(Clone, Debug, PartialEq)]
struct Refusal {
    until: Timestamp,
    pause: Duration,
    why: String,
}

/// A quota that was full at some use of ours: others use the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct FullQuota {
    /// What we used of it then.
    ours: u64,
    until: Timestamp,
}

impl Refusals {
    /// A market has had no machine, in its provider's words.
    pub fn no_capacity(&mut self, market: MarketKey, why: String, now: Timestamp) {
        let before = self.capacity.get(&market);
        // One that comes while the pause lasts was asked before it began.
        if before.is_some_and(|before| now < before.until) {
            return;
        }
        let recent = before.filter(|before| now < after(before.until, before.pause));
        let pause = recent.map_or(FIRST, |before| before.pause.saturating_mul(2).min(LONGEST));
        self.capacity.insert(market, Refusal { until: after(now, pause), pause, why });
    }

    /// A quota was full while we used this much of it.
    pub fn quota_full(&mut self, quota: LimitKey, ours: u64, now: Timestamp) {
        self.quotas.insert(quota, FullQuota { ours, until: after(now, QUOTA_BELIEF) });
    }

    /// A market has given a machine: it is open.
    pub fn granted(&mut self, market: &MarketKey) {
        self.capacity.remove(market);
    }

    /// What a market's provider said when it refused last.
    pub fn why(&self, market: &MarketKey) -> Option<&str> {
        self.capacity.get(market).map(|refusal| refusal.why.as_str())
    }

    /// Until when a market is not asked; `None` if it is.
    pub fn until(&self, market: &MarketKey, now: Timestamp) -> Option<Timestamp> {
        self.capacity.get(market).map(|refusal| refusal.until).filter(|until| now < *until)
    }

    /// Whether a market is not asked at that time.
    pub fn refuses(&self, market: &MarketKey, now: Timestamp) -> bool {
        self.until(market, now).is_some()
    }

    /// How much of a quota we had when it was full, as long as that is believed.
    pub fn known_full_at(&self, quota: &LimitKey, now: Timestamp) -> Option<u64> {
        let full = self.quotas.get(quota)?;
        (now < full.until).then_some(full.ours)
    }

    /// When anything of it ends.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> {
        let quotas = self.quotas.values().map(|full| full.until);
        self.capacity.values().map(|refusal| refusal.until).chain(quotas)
    }
}

/// Pools whose provider has asked for fewer calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Throttled {
    by_pool: BTreeMap<PoolName, (Timestamp, Duration)>,
}

/// The first pause after a throttled call, and the longest (wall time).
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

impl Throttled {
    /// A call was refused for coming too soon.
    pub fn note(&mut self, pool: PoolName, now: Timestamp) {
        let before = self.by_pool.get(&pool).copied();
        if before.is_some_and(|(until, _)| now < until) {
            return;
        }
        let recent = before.filter(|(until, pause)| now < after(*until, *pause));
        let pause =
            recent.map_or(FIRST_PAUSE, |(_, pause)| pause.saturating_mul(2).min(LONGEST_PAUSE));
        self.by_pool.insert(pool, (after(now, pause), pause));
    }

    /// Until when a pool is left alone.
    pub fn until(&self, pool: &PoolName) -> Option<Timestamp> {
        self.by_pool.get(pool).map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use spotwise_model::CapacityType;
    use spotwise_model::id::{InstanceType, Zone};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_market_that_refuses_is_asked_ever_later() {
        let market = MarketKey::recorded(
            Zone::new("us-east-1a"),
            InstanceType::new("p3.2xlarge"),
            CapacityType::Spot,
        );
        let mut refusals = Refusals::default();
        refusals.no_capacity(market.clone(), String::new(), at(0));
        refusals.no_capacity(market.clone(), String::new(), at(1));
        assert!(refusals.refuses(&market, at(179)) && !refusals.refuses(&market, at(180)));
        refusals.no_capacity(market.clone(), String::new(), at(200));
        assert!(refusals.refuses(&market, at(559)) && !refusals.refuses(&market, at(560)));
        refusals.granted(&market);
        assert!(!refusals.refuses(&market, at(300)));
        refusals.no_capacity(market.clone(), String::new(), at(600));
        assert!(!refusals.refuses(&market, at(780)), "it begins anew");
    }
}
