//! What a simulated cloud sells: the scheduler's market.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_market::{Market, ON_DEMAND_AVAILABLE};
use spotwise_model::time::{after, between};
use spotwise_model::{CapacityType, MarketKey, Money};
use spotwise_simulated_cloud::CloudMarket;

/// A market with the supply and the prices of the scheduler's.
#[derive(Clone, Debug)]
pub(super) struct SoldByCloud(pub(super) Market);

impl CloudMarket for SoldByCloud {
    fn available(&self, market: &MarketKey, at: Timestamp) -> u32 {
        match market.capacity_type {
            CapacityType::Spot => {
                self.0.machines(&market.zone, &market.instance_type, at).unwrap_or(0)
            }
            CapacityType::OnDemand | CapacityType::Reserved => ON_DEMAND_AVAILABLE,
        }
    }

    fn next_change(&self, _: &MarketKey, after: Timestamp) -> Option<Timestamp> {
        self.0.next_change(after)
    }

    fn charge(
        &self,
        market: &MarketKey,
        from: Timestamp,
        stopped: Timestamp,
        to: Timestamp,
    ) -> Money {
        let MarketKey { zone, instance_type, capacity_type, .. } = market;
        let there = stopped.max(after(from, Duration::from_secs(1)));
        let mut segments = self.0.segments(zone, instance_type, *capacity_type, from, there);
        if let Some(last) = segments.last_mut() {
            last.to = to;
        }
        segments
            .into_iter()
            .map(|segment| segment.price.charge(between(segment.from, segment.to).as_secs()))
            .sum()
    }
}
