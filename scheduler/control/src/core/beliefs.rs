//! What is believed of spot markets that show nothing of what they have: from our own
//! launches and machines alone ([decision 38]).
//!
//! Steps are counted from 1970, and an estimate is made anew where something was seen or a
//! step has begun: it depends on the log and on the step, and on nothing else, so that a
//! restart believes the same.
//!
//! [decision 38]: ../../../docs/decisions/0038-what-our-own-machines-show.md

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use std::time::Duration;

use jiff::Timestamp;
use spotwise_market::MarketQuote;
use spotwise_model::id::{Account, InstanceType};
use spotwise_model::pool::SupplyShown;
use spotwise_model::{CapacityType, MarketKey, Pool, PoolSet};
use spotwise_solver::horizon::regions;
use spotwise_solver::own::{Estimator, OwnMarket, RestsOn, StatedPrior, estimate};

use super::due::Due;
use super::own_log::{OwnLog, hours};

/// The length of the steps in which forecasts decide.
pub const STEP: Duration = Duration::from_secs(900);
/// What is believed before anything is seen: no figure of any provider is read yet.
const PRIOR: StatedPrior = StatedPrior::Recorded;

/// What is believed of the spot markets of one machine type of one account.
#[derive(Clone, Debug)]
pub struct Belief {
    /// The markets, in order.
    pub markets: Vec<MarketKey>,
    /// Of them, in that order.
    pub own: Arc<Estimator>,
    /// Changes of the log, and the step, for which it was made.
    made: (u64, i64),
}

/// By account and machine type; of markets that show what they have there is none.
#[derive(Clone, Debug, Default)]
pub struct Beliefs {
    by_type: BTreeMap<(Account, InstanceType), Belief>,
}

impl Beliefs {
    /// What is believed of a machine type.
    pub fn of(&self, account: &Account, instance_type: &InstanceType) -> Option<&Belief> {
        self.by_type.get(&(account.clone(), instance_type.clone()))
    }

    /// What is believed changes with the next step, as long as anything is.
    pub fn due(&self, due: &mut Due) {
        if !self.by_type.is_empty() {
            due.market(begins(step(due.now().market) + 1));
        }
    }

    /// Of the machine type of a market, and which of its zones that is.
    fn zone(&self, market: &MarketKey) -> Option<(&Belief, usize)> {
        let belief = self.of(&market.account, &market.instance_type)?;
        Some((belief, belief.markets.iter().position(|one| one == market)?))
    }

    /// Expected interruptions per machine-hour; `None` if nothing is believed of it.
    pub fn hazard_per_hour(&self, market: &MarketKey) -> Option<f64> {
        let (belief, zone) = self.zone(market)?;
        Some(belief.own.hazard_if_up(zone))
    }
}

/// What is believed by now of every spot market that a pool buys on and that shows nothing.
pub fn refresh(
    mut known: Beliefs,
    (log, pools): (&OwnLog, &PoolSet),
    quotes: &[MarketQuote],
    now: Timestamp,
) -> Beliefs {
    let mut fresh = Beliefs::default();
    for (kind, markets) in hidden(pools, quotes) {
        let made = (log.changes(&kind.0, &kind.1), step(now));
        let before = known.by_type.remove(&kind);
        let same = |belief: &Belief| belief.made == made && belief.markets == markets;
        let belief = before.filter(same).unwrap_or_else(|| believe(log, markets, made));
        fresh.by_type.insert(kind, belief);
    }
    fresh
}

type Kinds = BTreeMap<(Account, InstanceType), Vec<MarketKey>>;

/// The machine types of which some market shows nothing, each with all of its markets on
/// which a pool buys: what one shows says something of its neighbours.
fn hidden(pools: &PoolSet, quotes: &[MarketQuote]) -> Kinds {
    let kind = |market: &MarketKey| (market.account.clone(), market.instance_type.clone());
    let buying = || pools.pools.values().filter(|pool| !pool.leaving);
    let sold = |pool: &Pool| -> Vec<MarketKey> {
        let spot = quotes.iter().filter(|quote| quote.capacity_type == CapacityType::Spot);
        let market = spot.map(|q| pool.market(&q.zone, &q.instance_type, q.capacity_type));
        market.filter(|market| pool.sells.has(market)).collect()
    };
    let hidden = buying().filter(|pool| pool.supply == SupplyShown::Unknown);
    let mut kinds: BTreeMap<_, BTreeSet<MarketKey>> =
        hidden.flat_map(sold).map(|market| (kind(&market), BTreeSet::new())).collect();
    if !kinds.is_empty() {
        for market in buying().flat_map(sold) {
            if let Some(markets) = kinds.get_mut(&kind(&market)) {
                markets.insert(market);
            }
        }
    }
    kinds.into_iter().map(|(kind, markets)| (kind, markets.into_iter().collect())).collect()
}

fn believe(log: &OwnLog, markets: Vec<MarketKey>, made: (u64, i64)) -> Belief {
    let seen: Vec<OwnMarket> = markets
        .iter()
        .zip(regions(markets.iter().map(|market| market.zone.as_str())))
        .map(|(market, region)| log.market(market, region))
        .collect();
    let seconds = STEP.as_secs_f64();
    // The step under way counts as a whole one.
    let end = (made.1 + 1) as f64 * seconds / 3_600.0;
    let own = Arc::new(estimate(&seen, seconds, PRIOR, end));
    Belief { markets, own, made }
}

/// Steps since 1970.
fn step(now: Timestamp) -> i64 {
    now.as_second().div_euclid(i64::try_from(STEP.as_secs()).unwrap_or(i64::MAX))
}

/// When a step begins; `None` after the end of all time.
fn begins(step: i64) -> Option<Timestamp> {
    let length = i64::try_from(STEP.as_secs()).ok()?;
    Timestamp::from_second(step.checked_mul(length)?).ok()
}

/// What an estimate of a market rests on, in words.
pub fn rests_on(log: &OwnLog, market: &MarketKey, now: Timestamp) -> String {
    let rests_on = RestsOn::of(&log.market(market, 0), PRIOR, hours(now));
    format!("nobody says how much {market} there is: {rests_on}")
}

#[cfg(test)]
#[path = "beliefs_tests.rs"]
mod tests;
