//! A market: for every zone and machine type, what was free and what it cost,
//! over time. It never changes once built, and copies share it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{CapacityType, Commitment, Price};

use super::feed::{PriceAnswer, PriceKey, PriceRow};
use super::interruption_rate::PRIOR;
use super::points::Series;
use super::quote::{FeedAnomaly, MarketQuote, MarketSeries, Segment};

/// Machines of one type assumed to be available on demand at any time. Providers publish no
/// figure, and no recording has one.
pub const ON_DEMAND_AVAILABLE: u32 = 1_000;

/// Prices and availability of every zone and type over time.
#[derive(Clone, Debug)]
pub struct Market {
    inner: Arc<Inner>,
    on_demand_available: u32,
    commitments: Arc<[Commitment]>,
}

#[derive(Debug)]
struct Inner {
    series: BTreeMap<(Zone, InstanceType), Series>,
    changes: Vec<Timestamp>,
    /// Every change of a spot price, in order.
    prices: Vec<PriceRow>,
    start: Timestamp,
    end: Timestamp,
    anomalies: Vec<FeedAnomaly>,
}

impl Market {
    /// Builds a market; `None` without any row. It ends with its last row or at `end`,
    /// whichever is later; the last rows hold beyond that.
    pub fn new(all: Vec<MarketSeries>, end: Option<Timestamp>) -> Option<Self> {
        let mut series = BTreeMap::new();
        let mut anomalies = Vec::new();
        let mut changes = BTreeSet::new();
        for one in all.into_iter().filter(|one| !one.rows.is_empty()) {
            let key = (one.zone.clone(), one.instance_type.clone());
            let (built, anomaly) = Series::new(one);
            anomalies.extend(anomaly);
            changes.extend(built.points.iter().map(|point| point.at));
            series.insert(key, built);
        }
        let (start, last) = (*changes.first()?, *changes.last()?);
        let inner = Inner {
            prices: price_changes(&series),
            series,
            changes: changes.into_iter().collect(),
            start,
            end: end.map_or(last, |end| end.max(last)),
            anomalies,
        };
        Some(Self {
            inner: Arc::new(inner),
            on_demand_available: ON_DEMAND_AVAILABLE,
            commitments: Arc::new([]),
        })
    }

    /// The same with this many on-demand machines in each zone and type.
    #[must_use]
    pub fn with_on_demand(self, available: u32) -> Self {
        Self { on_demand_available: available, ..self }
    }

    /// The same with what is already paid for. A commitment for something unknown to the
    /// market offers nothing.
    #[must_use]
    pub fn with_commitments(self, commitments: Vec<Commitment>) -> Self {
        Self { commitments: commitments.into(), ..self }
    }

    /// What is, was or will be already paid for, in the order of declaration.
    pub fn commitments(&self) -> &[Commitment] {
        &self.commitments
    }

    /// Zone and machine type of everything on the market.
    pub fn places(&self) -> Vec<(Zone, InstanceType)> {
        self.inner.series.keys().cloned().collect()
    }

    /// The on-demand price of a machine type in a zone; `None` if it is not on the market.
    pub fn on_demand(&self, zone: &Zone, instance_type: &InstanceType) -> Option<Price> {
        let series = self.inner.series.get(&(zone.clone(), instance_type.clone()))?;
        Some(series.on_demand)
    }

    /// Everything on the market at `at`, spot and on-demand, in the order of zone, type and
    /// capacity type; followed by a quote for each commitment that pays at `at`. Nothing in
    /// it depends on a later row.
    pub fn quotes(&self, at: Timestamp) -> Vec<MarketQuote> {
        let bought = self.inner.series.iter().flat_map(|(key, series)| {
            [CapacityType::Spot, CapacityType::OnDemand]
                .map(|capacity_type| self.quote_of(key, series, capacity_type, at))
        });
        let active = self.commitments.iter().filter(|commitment| commitment.is_active(at));
        let paid = active.filter_map(|commitment| {
            let key = (commitment.zone.clone(), commitment.instance_type.clone());
            let series = self.inner.series.get(&key)?;
            Some(MarketQuote {
                price: commitment.price,
                available: commitment.machines,
                spell_since: commitment.from,
                commitment: Some(commitment.clone()),
                ..self.quote_of(&key, series, CapacityType::Reserved, at)
            })
        });
        bought.chain(paid).collect()
    }

    /// One of the [`quotes`](Self::quotes) of bought capacity; `None` if it is not on the
    /// market.
    pub fn quote(
        &self,
        zone: &Zone,
        instance_type: &InstanceType,
        capacity_type: CapacityType,
        at: Timestamp,
    ) -> Option<MarketQuote> {
        let key = (zone.clone(), instance_type.clone());
        let series = self.inner.series.get(&key)?;
        (capacity_type != CapacityType::Reserved)
            .then(|| self.quote_of(&key, series, capacity_type, at))
    }

    /// What a feed of its prices answers at `now`: what has changed after `since` and, if
    /// `all` is asked for, what was in force then. `since` is `now` where there is none.
    pub fn prices_since(&self, since: Option<Timestamp>, all: bool, now: Timestamp) -> PriceAnswer {
        let since = since.unwrap_or(now).min(now);
        let prices = &self.inner.prices;
        let from = prices.partition_point(|row| row.at <= since);
        let to = prices.partition_point(|row| row.at <= now);
        PriceAnswer {
            standing: if all { self.standing(since) } else { Vec::new() },
            changes: prices.get(from..to).unwrap_or_default().to_vec(),
            until: now,
        }
    }

    /// Every price in force at a time, and since when. Those on demand are known from the
    /// start; that of a series which has not begun is its first.
    fn standing(&self, at: Timestamp) -> Vec<PriceRow> {
        let each = self.inner.series.iter().flat_map(|((zone, instance_type), series)| {
            let key = |capacity_type| PriceKey {
                zone: zone.clone(),
                instance_type: instance_type.clone(),
                capacity_type,
            };
            let (since, price) = series.price_since(at);
            let start = self.inner.start.min(at);
            [
                PriceRow { key: key(CapacityType::Spot), at: since.min(at), price },
                PriceRow { key: key(CapacityType::OnDemand), at: start, price: series.on_demand },
            ]
        });
        each.collect()
    }

    /// The prices from `from` to `to`: in order, without gaps or overlaps, no two
    /// neighbours with the same price. Before a series begins its first price applies,
    /// after its end the last. Empty for what is not on the market, and for reserved
    /// machines, whose cost is recorded with each of them.
    pub fn segments(
        &self,
        zone: &Zone,
        instance_type: &InstanceType,
        capacity_type: CapacityType,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Segment> {
        let Some(series) = self.inner.series.get(&(zone.clone(), instance_type.clone())) else {
            return Vec::new();
        };
        match capacity_type {
            _ if from >= to => Vec::new(),
            CapacityType::Spot => series.spot_segments(from, to),
            CapacityType::OnDemand => vec![Segment { from, to, price: series.on_demand }],
            CapacityType::Reserved => Vec::new(),
        }
    }

    /// The first moment after `after` at which a row begins, or a commitment begins or
    /// ends; `None` after the last.
    pub fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        let changes = &self.inner.changes;
        let row = changes.get(changes.partition_point(|at| *at <= after)).copied();
        let ends = self.commitments.iter().flat_map(|paid| [paid.from, paid.until]);
        ends.filter(|at| *at > after).chain(row).min()
    }

    /// Spot machines that a zone had at a time; `None` if the market does not know it.
    pub fn machines(
        &self,
        zone: &Zone,
        instance_type: &InstanceType,
        at: Timestamp,
    ) -> Option<u32> {
        let series = self.inner.series.get(&(zone.clone(), instance_type.clone()))?;
        Some(series.spot(at).1)
    }

    /// Since when a zone has had at least as many spot machines, or fewer, as it has at the
    /// second of two times: no earlier than the first.
    pub fn since(
        &self,
        zone: &Zone,
        instance_type: &InstanceType,
        machines: u32,
        (earliest, at): (Timestamp, Timestamp),
    ) -> Option<Timestamp> {
        let series = self.inner.series.get(&(zone.clone(), instance_type.clone()))?;
        Some(series.since(machines, earliest, at))
    }

    /// When its first row begins.
    pub fn start(&self) -> Timestamp {
        self.inner.start
    }

    /// When the recording ends.
    pub fn end(&self) -> Timestamp {
        self.inner.end
    }

    /// Where values of the feed were rejected.
    pub fn anomalies(&self) -> &[FeedAnomaly] {
        &self.inner.anomalies
    }

    fn quote_of(
        &self,
        (zone, instance_type): &(Zone, InstanceType),
        series: &Series,
        capacity_type: CapacityType,
        at: Timestamp,
    ) -> MarketQuote {
        let on_demand = series.on_demand;
        let (price, available, spell_since, hazard_per_hour) = match capacity_type {
            CapacityType::Spot => {
                let (price, available) = series.spot(at);
                let since = series.spells.since(at).unwrap_or(self.inner.start);
                (price, available, since, series.spells.hazard_per_hour(at, PRIOR))
            }
            CapacityType::OnDemand | CapacityType::Reserved => {
                (on_demand, self.on_demand_available, self.inner.start, 0.0)
            }
        };
        MarketQuote {
            zone: zone.clone(),
            instance_type: instance_type.clone(),
            capacity_type,
            shape: series.shape.clone(),
            price,
            on_demand,
            available,
            spell_since,
            hazard_per_hour,
            commitment: None,
        }
    }
}

fn price_changes(series: &BTreeMap<(Zone, InstanceType), Series>) -> Vec<PriceRow> {
    let each = series.iter().flat_map(|((zone, instance_type), series)| {
        series.price_changes().map(move |(at, price)| {
            let (zone, instance_type) = (zone.clone(), instance_type.clone());
            let key = PriceKey { zone, instance_type, capacity_type: CapacityType::Spot };
            PriceRow { key, at, price }
        })
    });
    let mut rows: Vec<PriceRow> = each.collect();
    rows.sort_by_key(|row| row.at);
    rows
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
