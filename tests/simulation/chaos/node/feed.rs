//! The price feed as a scheduler hears it: the market's prices, and what goes wrong on
//! the way.

use jiff::Timestamp;
use spotwise_control::core::State;
use spotwise_control::phase::round::ask_prices;
use spotwise_market::{PriceAnswer, PriceKey, PriceRow};
use spotwise_model::time::after;
use spotwise_model::{CapacityType, Now, Price};

use super::super::faults::Kind;
use super::super::sim::Sim;
use super::super::time::{self, DAY, HOUR};

impl Sim {
    /// What a scheduler hears of prices at a moment, and what was wrong with it.
    pub(super) fn ask_feed(&self, state: &State, now: Now) -> (Option<PriceAnswer>, Vec<Kind>) {
        let at = time::moment(self.start, now.wall);
        if at < self.feed.silent {
            return (None, vec![Kind::FeedSilent]);
        }
        let mut answer = ask_prices(state, &self.simulated_market.market, now);
        let mut wrong = Vec::new();
        if at < self.feed.disordered && !answer.changes.is_empty() {
            let long_ago = Some(time::at(self.start, at.saturating_sub(DAY)));
            let market = &self.simulated_market.market;
            answer.changes.extend(market.prices_since(long_ago, false, now.market).changes);
            answer.changes.reverse();
            wrong.push(Kind::FeedDisordered);
        }
        if at < self.feed.absurd {
            answer.changes.extend(self.absurd(now.market));
            wrong.push(Kind::FeedAbsurd);
        }
        (Some(answer), wrong)
    }

    /// Prices that nobody can mean, and one that is yet to come.
    fn absurd(&self, now: Timestamp) -> Vec<PriceRow> {
        let kinds = self.simulated_market.spot.iter();
        let each = kinds.flat_map(|((zone, instance_type), prices)| {
            let (zone, instance_type) = (zone.clone(), instance_type.clone());
            let key = PriceKey { zone, instance_type, capacity_type: CapacityType::Spot };
            let last = prices.last().map_or(1, |(_, price)| *price);
            let row = |at, micros| {
                let price = Price::from_micros_per_hour(micros);
                PriceRow { key: key.clone(), at, price }
            };
            let hour = std::time::Duration::from_millis(HOUR);
            [row(now, 0), row(now, last.saturating_mul(5_000_000)), row(after(now, hour), last / 2)]
        });
        each.collect()
    }
}
