//! Why offers cannot be taken although somebody sells them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::OfferKey;
use spotwise_model::limit::LimitUse;

use super::limits;
use crate::core::State;

/// Why no machine of an offer can be bought now.
#[derive(Clone, Debug, PartialEq)]
pub enum Unavailable {
    /// Its market has refused machines, and is left alone for a while.
    Refused {
        /// Until when.
        until: Timestamp,
        /// In its provider's words.
        said: String,
    },
    /// A limit has less left than one machine takes.
    Limited {
        /// Which, and how much of it is used.
        limit: LimitUse,
        /// What one machine takes, in the limit's unit.
        takes: u64,
    },
}

/// The offers of which nothing can be bought now, and why. A market that simply has none
/// left is not among them: its offer says so itself.
pub fn unavailable(state: &State, now: Timestamp) -> BTreeMap<OfferKey, Unavailable> {
    let mut why = BTreeMap::new();
    for limit in limits::limits(state, now) {
        let left = limit.state.left();
        for (offer, takes) in limit.takes.into_iter().filter(|(_, takes)| *takes > left) {
            let limited = || Unavailable::Limited { limit: limit.state.clone(), takes };
            why.entry(offer).or_insert_with(limited);
        }
    }
    let refusals = &state.seen.refusals;
    for offer in &state.seen.offers {
        let market = &offer.key.market;
        // Said of this market, not of many: it comes first.
        if let Some(until) = refusals.until(market, now) {
            let said = refusals.why(market).unwrap_or_default().to_owned();
            why.insert(offer.key.clone(), Unavailable::Refused { until, said });
        }
    }
    why
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spotwise_model::id::PoolName;
    use spotwise_model::limit::LimitKey;
    use spotwise_model::{CapacityType, Offer, PoolSet};

    use super::*;
    use crate::fixture::{at, cloud_pool, machine, state_of};

    fn offer(zone: &str) -> Offer {
        let mut machine = machine(9, zone, CapacityType::Spot);
        machine.offer.pool = PoolName::new("cloud");
        Offer {
            key: machine.offer,
            shape: machine.shape,
            price: machine.launch_price,
            on_demand: machine.on_demand,
            free: 3.into(),
            spell_since: at(0),
            hazard_per_hour: 0.0,
            changeover: Duration::ZERO,
            paid_for: Vec::new(),
        }
    }

    #[test]
    fn a_market_that_refused_and_a_full_pool_are_named() {
        let mut open = machine(1, "a", CapacityType::Spot);
        open.offer.pool = PoolName::new("cloud");
        let mut state = state_of(vec![open.into()]);
        let mut pool = cloud_pool("cloud");
        state.pools = PoolSet::of([pool.clone()]);
        state.seen.offers = vec![offer("a"), offer("b")];
        assert!(unavailable(&state, at(1)).is_empty());

        let market = offer("b").key.market;
        state.seen.refusals.no_capacity(market, "none left".to_owned(), at(1));
        let why = unavailable(&state, at(1));
        let until = at(1) + Duration::from_secs(180);
        let refused = Unavailable::Refused { until, said: "none left".to_owned() };
        assert_eq!(why, BTreeMap::from([(offer("b").key, refused)]));
        assert!(unavailable(&state, at(2)).is_empty(), "it is asked again");

        pool.limits.machines = Some(1);
        state.pools = PoolSet::of([pool.clone()]);
        let why = unavailable(&state, at(2));
        let key = LimitKey::PoolMachines { pool: pool.name };
        let limit = LimitUse { key, used: 1, of: 1 };
        let limited = Unavailable::Limited { limit, takes: 1 };
        assert_eq!(why.values().collect::<Vec<_>>(), [&limited, &limited]);
    }
}
