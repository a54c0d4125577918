//! Where a world happens: its prices and its capacity over time, kept twice —
//! as the market that the scheduler reads, and as the table that the cloud's
//! own meter reads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use spotwise_market::{Catalog, Market, MarketSeries, Row};
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{CapacityType, Commitment, CoveredSpan, OfferKey, Price};

use super::faults::Kind;
use super::scenario::Scenario;
use super::time::{DAY, HOUR, MINUTE, Ms, SECOND};

const ZONES: [&str; 3] = ["us-east-1a", "us-east-1c", "us-west-2a"];
const TYPES: [&str; 2] = ["p3.2xlarge", "g4dn.12xlarge"];
/// Where slices are asked for: a machine with one of this one's eight GPUs.
const SLICED: &str = "p4d.24xlarge";

/// Prices of one zone and type: from which second on, micro-dollars an hour.
type Steps = Vec<(i64, i64)>;

/// A market, and what it charges.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedMarket {
    pub(crate) market: Market,
    pub(super) spot: BTreeMap<(Zone, InstanceType), Steps>,
    on_demand: BTreeMap<InstanceType, i64>,
    /// When four fifths of everything goes.
    pub(crate) reclaims: Vec<Ms>,
    /// When there is no spot capacity at all.
    pub(crate) droughts: Vec<(Ms, Ms)>,
    /// When a price doubled.
    pub(crate) jumps: Vec<Ms>,
    /// What is paid for already.
    pub(crate) commitments: Vec<Commitment>,
}

impl SimulatedMarket {
    /// `span` is how long anything may happen.
    pub(crate) fn invented(
        rng: &mut ChaCha8Rng,
        start: Timestamp,
        scenario: &Scenario,
        span: Ms,
    ) -> Self {
        let (days, kinds) = (scenario.days, &scenario.kinds);
        let times = |rng: &mut ChaCha8Rng, on: bool, every: u64| -> Vec<Ms> {
            let count = if on { (days / every).max(1) } else { 0 };
            let mut times: Vec<Ms> =
                (0..count).map(|_| rng.random_range(HOUR..days * DAY)).collect();
            times.sort_unstable();
            times
        };
        let reclaims = times(rng, kinds.contains(&Kind::MassReclaim), 4);
        let jumps = times(rng, kinds.contains(&Kind::PriceJump), 3);
        let droughts: Vec<(Ms, Ms)> = times(rng, kinds.contains(&Kind::IceAllPools), 10)
            .into_iter()
            .map(|from| (from, from + 6 * HOUR))
            .collect();
        let catalog = Catalog::built_in();
        let mut all_series = Vec::new();
        let mut spot = BTreeMap::new();
        let mut on_demand = BTreeMap::new();
        let sliced = scenario.is_sliced().then_some(SLICED);
        for name in TYPES.into_iter().chain(sliced).map(InstanceType::new) {
            let mut machine = catalog.machine_type(&name).expect("it is in the catalogue").clone();
            if name.as_str() == SLICED {
                machine.shape.gpus = 1;
                let eighth = machine.on_demand.micros_per_hour() / 8;
                machine.on_demand = Price::from_micros_per_hour(eighth);
            }
            on_demand.insert(name.clone(), machine.on_demand.micros_per_hour());
            for zone in ZONES.map(Zone::new) {
                let mut series = Series::new(machine.on_demand.micros_per_hour());
                series.spells(rng, span);
                if kinds.contains(&Kind::NoticeWithdrawn) || kinds.contains(&Kind::NoticeTwice) {
                    series.flicker(rng, days);
                }
                series.fall(&reclaims, &droughts);
                series.prices(rng, span, &jumps);
                let rows = series.rows(start);
                spot.insert((zone.clone(), name.clone()), steps(&rows));
                all_series.push(MarketSeries {
                    zone,
                    instance_type: name.clone(),
                    shape: machine.shape.clone(),
                    on_demand: machine.on_demand,
                    rows,
                });
            }
        }
        // By a die of their own: worlds without any stay as they were.
        let commitments = committed(&mut rng.clone(), start, days, &on_demand);
        let market = Market::new(all_series, None).expect("it has rows");
        let market = market.with_commitments(commitments.clone());
        Self { market, spot, on_demand, reclaims, droughts, jumps, commitments }
    }

    /// What whole seconds of a machine cost of which these are paid: each of them,
    /// and what lies between, rounded once.
    pub(crate) fn bill_with(
        &self,
        offer: &OfferKey,
        coverage: &[CoveredSpan],
        from: i64,
        to: i64,
    ) -> i64 {
        let (mut total, mut reached) = (0, from);
        for covered in coverage {
            let begins = covered.from.as_second().clamp(reached, to);
            let ends = covered.until.as_second().clamp(begins, to);
            if begins == ends {
                continue;
            }
            total += self.bill(offer, reached, begins);
            let price = i128::from(covered.price.micros_per_hour());
            total += half_even(price * i128::from(ends - begins), 3_600);
            reached = ends;
        }
        total + self.bill(offer, reached, to)
    }

    /// What whole seconds of an offer cost, each stretch of one price rounded
    /// once, half to even: micro-dollars.
    pub(crate) fn bill(&self, offer: &OfferKey, from: i64, to: i64) -> i64 {
        self.bill_beyond(offer, from, to, to)
    }

    /// The same of a machine that had stopped by then: what is billed beyond its stop is at
    /// the price that was in force.
    pub(crate) fn bill_beyond(&self, offer: &OfferKey, from: i64, stopped: i64, to: i64) -> i64 {
        let always = vec![(i64::MIN, self.on_demand_price(offer))];
        let steps = match offer.market.capacity_type {
            CapacityType::Spot => self
                .spot
                .get(&(offer.market.zone.clone(), offer.market.instance_type.clone()))
                .expect("it was sold"),
            _ => &always,
        };
        let mut total = 0;
        for (index, (begins, price)) in steps.iter().enumerate() {
            // Before the first row its price counts.
            let begins = if index == 0 { i64::MIN } else { *begins };
            let next = steps.get(index + 1).map(|(next, _)| *next);
            let ends = next.filter(|next| *next < stopped.max(from + 1)).unwrap_or(i64::MAX);
            if begins >= stopped.max(from + 1) {
                break;
            }
            let seconds = to.min(ends) - from.max(begins);
            if seconds > 0 {
                total += half_even(i128::from(*price) * i128::from(seconds), 3_600);
            }
        }
        total
    }

    /// Micro-dollars an hour in that second.
    pub(crate) fn price_at(&self, offer: &OfferKey, second: i64) -> i64 {
        let key = (offer.market.zone.clone(), offer.market.instance_type.clone());
        let steps =
            self.spot.get(&key).filter(|_| offer.market.capacity_type == CapacityType::Spot);
        let Some(steps) = steps else { return self.on_demand_price(offer) };
        let before = steps.iter().rev().find(|(from, _)| *from <= second);
        before.or_else(|| steps.first()).map_or(0, |(_, price)| *price)
    }

    pub(crate) fn on_demand_price(&self, offer: &OfferKey) -> i64 {
        self.on_demand.get(&offer.market.instance_type).copied().unwrap_or(0)
    }
}

/// In every third world: some that end while jobs run, some that begin late, two
/// of one zone and type.
fn committed(
    rng: &mut ChaCha8Rng,
    start: Timestamp,
    days: u64,
    on_demand: &BTreeMap<InstanceType, i64>,
) -> Vec<Commitment> {
    if !rng.random_ratio(1, 3) {
        return Vec::new();
    }
    let one = |rng: &mut ChaCha8Rng, name: &str| {
        let instance_type = InstanceType::new(TYPES[rng.random_range(0..TYPES.len())]);
        let from = rng.random_range(0..days * DAY / 2);
        let until = from + rng.random_range(HOUR..days * DAY);
        Commitment {
            name: name.to_owned(),
            zone: Zone::new(ZONES[rng.random_range(0..2)]),
            machines: rng.random_range(1..4),
            price: Price::from_micros_per_hour(
                on_demand[&instance_type] * rng.random_range(20..110) / 100,
            ),
            instance_type,
            from: super::time::at(start, from / SECOND * SECOND),
            until: super::time::at(start, until / SECOND * SECOND),
        }
    };
    ["a", "b", "c"].map(|name| one(rng, name)).into()
}

/// Nearest whole number, of two equally near the even one.
pub(crate) fn half_even(numerator: i128, denominator: i128) -> i64 {
    let (down, rest) = (numerator / denominator, numerator % denominator);
    let up = match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Greater => 1,
        std::cmp::Ordering::Equal => down % 2,
    };
    i64::try_from(down + up).expect("an amount")
}

fn steps(rows: &[Row]) -> Steps {
    let mut steps = Vec::new();
    for row in rows {
        push(&mut steps, row.at.as_second(), row.price.map_or(0, Price::micros_per_hour));
    }
    steps
}

fn push(steps: &mut Steps, second: i64, price: i64) {
    if steps.last().is_none_or(|(_, last)| *last != price) {
        steps.push((second, price));
    }
}

/// One zone and type while it is invented.
struct Series {
    on_demand: i64,
    /// From when on how many machines.
    available: BTreeMap<Ms, u32>,
    prices: BTreeMap<Ms, i64>,
}

impl Series {
    fn new(on_demand: i64) -> Self {
        Self { on_demand, available: BTreeMap::new(), prices: BTreeMap::new() }
    }

    fn spells(&mut self, rng: &mut ChaCha8Rng, span: Ms) {
        let mut at = 0;
        let mut up = rng.random_range(0..3) > 0;
        while at < span {
            let machines = if up { rng.random_range(2..16) } else { 0 };
            self.available.insert(at, machines);
            let most = if up { 30 * HOUR } else { 10 * HOUR };
            // Short spells are common, long ones not rare.
            let length = rng.random_range(5 * MINUTE..most);
            at += if rng.random_range(0..3) == 0 { length / 8 + MINUTE } else { length };
            at -= at % SECOND;
            up = !up;
        }
    }

    /// Capacity goes, is back within the notice, and goes once more.
    fn flicker(&mut self, rng: &mut ChaCha8Rng, days: u64) {
        for _ in 0..days {
            let at = rng.random_range(HOUR..days * DAY) / SECOND * SECOND;
            let before = self.at(at);
            if before == 0 || self.available.range(at..at + 4 * MINUTE).next().is_some() {
                continue;
            }
            self.available.insert(at, 0);
            self.available.insert(at + 40 * SECOND, before);
            if rng.random_range(0..2) == 0 {
                self.available.insert(at + 60 * SECOND, 0);
                self.available.insert(at + 3 * MINUTE, before);
            }
        }
    }

    fn fall(&mut self, reclaims: &[Ms], droughts: &[(Ms, Ms)]) {
        for at in reclaims {
            let at = at / SECOND * SECOND;
            for (step, part) in [(0, 2), (5, 3), (10, 5)] {
                let left = self.at(at) / part;
                self.available.insert(at + step * SECOND, left);
            }
        }
        for (from, to) in droughts {
            let (from, to) = (from / SECOND * SECOND, to / SECOND * SECOND);
            let after = self.at(to);
            let within: Vec<Ms> = self.available.range(from..to).map(|(at, _)| *at).collect();
            for at in within {
                self.available.remove(&at);
            }
            self.available.insert(from, 0);
            self.available.entry(to).or_insert(after);
        }
    }

    fn prices(&mut self, rng: &mut ChaCha8Rng, span: Ms, jumps: &[Ms]) {
        let base = self.on_demand * rng.random_range(20..50) / 100;
        let mut at = 0;
        let mut price = base;
        while at < span {
            self.prices.insert(at / SECOND * SECOND, price);
            at += rng.random_range(20 * MINUTE..20 * HOUR);
            let change = rng.random_range(-8..=8) * price / 100;
            price = (price + change).clamp(self.on_demand / 10, self.on_demand * 9 / 10);
        }
        for at in jumps {
            let at = at / SECOND * SECOND;
            let now = self.prices.range(..=at).next_back().map_or(base, |(_, price)| *price);
            self.prices.insert(at, (now * 2).min(self.on_demand));
            self.prices.insert(at + 2 * HOUR, now);
        }
    }

    fn at(&self, at: Ms) -> u32 {
        self.available.range(..=at).next_back().map_or(0, |(_, machines)| *machines)
    }

    fn rows(&self, start: Timestamp) -> Vec<Row> {
        let moments: std::collections::BTreeSet<Ms> =
            self.available.keys().chain(self.prices.keys()).copied().collect();
        let price = |at| self.prices.range(..=at).next_back().map_or(0, |(_, price)| *price);
        moments
            .into_iter()
            .map(|at| Row {
                at: super::time::at(start, at),
                available: self.at(at),
                price: Some(Price::from_micros_per_hour(price(at))),
            })
            .collect()
    }
}
