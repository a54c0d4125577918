//! What one zone had of one machine type over time: trusted prices, and spells.

use jiff::Timestamp;
use spotwise_model::{NodeShape, Price};

use super::feed::is_believable;
use super::interruption_rate::AvailabilitySpells;
use super::quote::{FeedAnomaly, MarketSeries, Segment};

/// One zone and type.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) shape: NodeShape,
    pub(super) on_demand: Price,
    /// Never empty, ordered by time, one per moment.
    pub(super) points: Vec<Point>,
    pub(super) spells: AvailabilitySpells,
}

/// The values from a moment on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) at: Timestamp,
    available: u32,
    pub(super) price: Price,
}

impl Series {
    /// Keeps the last good price if a row has none or an absurd one; before any good one,
    /// uses the on-demand price, the most that spot can cost.
    pub(super) fn new(series: MarketSeries) -> (Self, Option<FeedAnomaly>) {
        let MarketSeries { zone, instance_type, shape, on_demand, mut rows } = series;
        rows.sort_by_key(|row| row.at);
        let mut points: Vec<Point> = Vec::with_capacity(rows.len());
        let mut good = on_demand;
        let (mut bad_quotes, mut first_bad) = (0, None);
        for row in rows {
            match row.price.filter(|price| is_believable(*price, good)) {
                Some(price) => good = price,
                None => {
                    bad_quotes += 1;
                    first_bad = first_bad.or(Some(row.at));
                }
            }
            let point = Point { at: row.at, available: row.available, price: good };
            match points.last_mut() {
                Some(last) if last.at == point.at => *last = point,
                _ => points.push(point),
            }
        }
        let mut spells = AvailabilitySpells::default();
        for point in &points {
            spells.push(point.at, point.available > 0);
        }
        let anomaly =
            first_bad.map(|first_at| FeedAnomaly { zone, instance_type, bad_quotes, first_at });
        (Self { shape, on_demand, points, spells }, anomaly)
    }

    /// Price and machines at `at`. Before the first row nothing is known: its price is
    /// returned, but no machines.
    pub(super) fn spot(&self, at: Timestamp) -> (Price, u32) {
        let after = self.points.partition_point(|point| point.at <= at);
        match after.checked_sub(1).and_then(|index| self.points.get(index)) {
            Some(point) => (point.price, point.available),
            None => (self.points.first().map_or(self.on_demand, |first| first.price), 0),
        }
    }

    /// The price in force at `at`, and since when.
    pub(super) fn price_since(&self, at: Timestamp) -> (Timestamp, Price) {
        let price = self.spot(at).0;
        let after = self.points.partition_point(|point| point.at <= at);
        let run = self.points.iter().take(after).rev().take_while(|point| point.price == price);
        (run.last().map_or(at, |point| point.at), price)
    }

    /// Every change of the price, the first included.
    pub(super) fn price_changes(&self) -> impl Iterator<Item = (Timestamp, Price)> {
        let before = std::iter::once(None).chain(self.points.iter().map(|point| Some(point.price)));
        let changed = self.points.iter().zip(before);
        let changed = changed.filter(|(point, before)| *before != Some(point.price));
        changed.map(|(point, _)| (point.at, point.price))
    }

    pub(super) fn since(&self, machines: u32, earliest: Timestamp, at: Timestamp) -> Timestamp {
        let enough = self.spot(at).1 >= machines;
        let after = self.points.partition_point(|point| point.at <= at);
        let run = self
            .points
            .iter()
            .take(after)
            .rev()
            .take_while(|point| (point.available >= machines) == enough);
        let mut since = None;
        for point in run {
            since = Some(point.at);
            if point.at <= earliest {
                break;
            }
        }
        since.map_or(earliest, |since| since.max(earliest))
    }

    pub(super) fn spot_segments(&self, from: Timestamp, to: Timestamp) -> Vec<Segment> {
        let mut segments = vec![Segment { from, to, price: self.spot(from).0 }];
        let first = self.points.partition_point(|point| point.at <= from);
        for point in self.points.iter().skip(first).take_while(|point| point.at < to) {
            if let Some(last) = segments.last_mut()
                && last.price != point.price
            {
                last.to = point.at;
                segments.push(Segment { from: point.at, to, price: point.price });
            }
        }
        segments
    }
}
