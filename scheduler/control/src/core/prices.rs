//! The prices that were heard: what machines cost is reckoned from these, by every leader
//! alike, whatever a feed says later ([decision 40]).
//!
//! All times are market times. Memory has a price as soon as it is heard; the store gets it
//! with some later round, many rows at a time, and a leader that begins from the store asks
//! the feed again from there on.
//!
//! [decision 40]: ../../../docs/decisions/0040-prices-are-heard-and-stored.md

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spotwise_market::{MarketQuote, PriceAnswer, PriceKey, PriceRow, Segment, is_believable};
use spotwise_model::time::{after, between};
use spotwise_model::{CapacityType, MarketKey, Now, Price};

use super::availability_history::GAP_TOLERANCE;
use super::due::Due;

/// Prices are kept for so long, and those of machines that are not settled for as long as
/// these are not.
pub const RETENTION: Duration = Duration::from_secs(90 * 86_400);
/// Rows are removed only when they are this much older than needed.
const FORGET_LATE: Duration = Duration::from_secs(86_400);
/// Series cleaned up per write, and rows of each that are removed.
const SERIES_AT_ONCE: usize = 16;
const ROWS_AT_ONCE: usize = 500;
/// Prices are written to the store at most this often (wall time).
const WRITE_GAP: Duration = Duration::from_secs(1);
/// And that there was no news, after this long.
const MARK: Duration = Duration::from_secs(300);

/// Prices from a time on, each until the next.
type Series = BTreeMap<Timestamp, Price>;

/// Every price that was heard, and until when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceBook {
    series: BTreeMap<PriceKey, Series>,
    /// The time to which every price is known; `None` if none ever was heard.
    until: Option<Timestamp>,
    /// Values that no machine can cost, and times that are yet to come: not believed.
    pub refused: u64,
    /// Whether this memory has heard the feed.
    heard: bool,
    unwritten: Unwritten,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Unwritten {
    rows: Vec<PriceRow>,
    rewound: Option<Timestamp>,
    /// To what time the store knows every price.
    marked: Option<Timestamp>,
    /// When it was last written (wall time).
    at: Option<Timestamp>,
}

/// An update for the store, applied in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceUpdate {
    /// Prices from after this time are void: the market's time went back to here.
    pub rewound: Option<Timestamp>,
    /// New ones.
    pub rows: Vec<PriceRow>,
    /// The time to which every price is known.
    pub until: Timestamp,
    /// Rows of these series from before these times are removed.
    pub forgotten: Vec<(PriceKey, Timestamp)>,
}

/// What to ask a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceQuestion {
    /// What has come into force after this? `None` to who knows nothing: what is in force?
    pub since: Option<Timestamp>,
    /// And what was in force then?
    pub all: bool,
}

impl PriceBook {
    /// The book that a store holds.
    pub fn stored(rows: impl IntoIterator<Item = PriceRow>, until: Option<Timestamp>) -> Self {
        let mut book = Self { until, ..Self::default() };
        for PriceRow { key, at, price } in rows {
            book.series.entry(key).or_default().insert(at, price);
        }
        book.unwritten.marked = until;
        book
    }

    /// What to ask the feed next; `oldest` is when the oldest machine that is not settled
    /// was launched, for who has no price at all.
    pub fn question(&self, oldest: Option<Timestamp>) -> PriceQuestion {
        PriceQuestion { since: self.until.or(oldest), all: !self.heard }
    }

    /// Takes in what the feed answers. What was known stays as it is: a price that the feed
    /// now tells otherwise holds from `now` on, so that nobody's past becomes dearer.
    pub fn hear(&mut self, answer: PriceAnswer, now: Timestamp) {
        let known = self.until.filter(|until| between(now, *until) <= GAP_TOLERANCE);
        let went_back = self.until.is_some() && known.is_none();
        if went_back {
            self.rewind(now);
        }
        let PriceAnswer { standing, mut changes, until } = answer;
        let (told, mut new): (Vec<_>, Vec<_>) =
            standing.into_iter().partition(|row| self.series.contains_key(&row.key));
        // Those on demand first: others are judged by them.
        new.sort_by_key(|row| row.key.capacity_type == CapacityType::Spot);
        new.into_iter().for_each(|row| self.take(row));
        changes.sort_by_key(|row| row.at);
        for row in changes {
            if known.is_some_and(|known| row.at <= known) {
                continue;
            }
            if row.at > now {
                self.refused += 1;
                continue;
            }
            self.take(row);
        }
        if let Some(known) = known {
            for row in told.into_iter().filter(|row| row.at <= known) {
                if !self.has_changed_since(&row.key, known) {
                    self.take(PriceRow { at: now, ..row });
                }
            }
        }
        self.until = self.until.max(Some(until.min(now)));
        self.heard = !went_back;
    }

    /// Adds a row if it is news and can be meant.
    fn take(&mut self, row: PriceRow) {
        let before = self.at(&row.key, row.at);
        if before == Some(row.price) {
            return;
        }
        let good = before.or_else(|| {
            let on_demand = PriceKey { capacity_type: CapacityType::OnDemand, ..row.key.clone() };
            self.at(&on_demand, row.at)
        });
        if !is_believable(row.price, good.unwrap_or(row.price)) {
            self.refused += 1;
            return;
        }
        self.series.entry(row.key.clone()).or_default().insert(row.at, row.price);
        self.unwritten.rows.push(row);
    }

    /// Prices from after `to` are void.
    fn rewind(&mut self, to: Timestamp) {
        self.cut(to);
        let unwritten = &mut self.unwritten;
        unwritten.rewound = Some(unwritten.rewound.map_or(to, |before| before.min(to)));
        unwritten.rows.retain(|row| row.at <= to);
        unwritten.marked = None;
    }

    fn cut(&mut self, to: Timestamp) {
        for series in self.series.values_mut() {
            series.retain(|at, _| *at <= to);
        }
        self.series.retain(|_, series| !series.is_empty());
        self.until = self.until.map(|until| until.min(to));
    }

    /// Whether every price up to a time is known.
    pub fn knows(&self, at: Timestamp) -> bool {
        self.until.is_some_and(|until| at <= until)
    }

    fn has_changed_since(&self, key: &PriceKey, time: Timestamp) -> bool {
        let last = self.series.get(key).and_then(|series| series.last_key_value());
        last.is_some_and(|(at, _)| *at > time)
    }

    /// The price in force; `None` before the first that was heard.
    pub fn at(&self, key: &PriceKey, at: Timestamp) -> Option<Price> {
        self.series.get(key)?.range(..=at).next_back().map(|(_, price)| *price)
    }

    /// The price of a market in force.
    pub fn of(&self, market: &MarketKey, at: Timestamp) -> Option<Price> {
        self.at(&key_of(market), at)
    }

    /// The prices of a market from `from` to `to`: in order, without gaps or overlaps, no
    /// two neighbours with the same price; from the first that was heard, and with the last
    /// until `to`.
    pub fn segments(&self, market: &MarketKey, from: Timestamp, to: Timestamp) -> Vec<Segment> {
        let Some(series) = self.series.get(&key_of(market)).filter(|_| from <= to) else {
            return Vec::new();
        };
        let standing = series.range(..=from).next_back().map(|(_, price)| (from, *price));
        let changes = series.range(from..to).filter(|(at, _)| **at > from);
        let mut segments: Vec<Segment> = Vec::new();
        for (at, price) in standing.into_iter().chain(changes.map(|(at, price)| (*at, *price))) {
            if let Some(last) = segments.last_mut() {
                if last.price == price {
                    continue;
                }
                last.to = at;
            }
            segments.push(Segment { from: at, to, price });
        }
        segments
    }

    /// Quotes at the prices that were heard; what has none is not sold.
    pub fn priced(&self, quotes: Vec<MarketQuote>, now: Timestamp) -> Vec<MarketQuote> {
        let each = quotes.into_iter().filter_map(|quote| {
            let key = |capacity_type| PriceKey {
                zone: quote.zone.clone(),
                instance_type: quote.instance_type.clone(),
                capacity_type,
            };
            let on_demand = self.at(&key(CapacityType::OnDemand), now)?;
            let price = match quote.capacity_type {
                CapacityType::Spot => self.at(&key(CapacityType::Spot), now)?,
                CapacityType::OnDemand => on_demand,
                // Paid by its commitment.
                CapacityType::Reserved => quote.price,
            };
            Some(MarketQuote { price, on_demand, ..quote })
        });
        each.collect()
    }

    /// What is to be written to the store now, if anything; of what machines that were
    /// launched since `oldest` cost, nothing is forgotten.
    pub fn write(&mut self, oldest: Option<Timestamp>, now: Now) -> Option<PriceUpdate> {
        let until = self.until?;
        let unwritten = &mut self.unwritten;
        let rests = unwritten.at.is_some_and(|at| between(at, now.wall) < WRITE_GAP);
        let marked = unwritten.marked.map_or(Duration::MAX, |marked| between(marked, until));
        let news = !unwritten.rows.is_empty() || unwritten.rewound.is_some() || marked >= MARK;
        if rests || !news {
            return None;
        }
        unwritten.at = Some(now.wall);
        unwritten.marked = Some(until);
        let (rows, rewound) = (std::mem::take(&mut unwritten.rows), unwritten.rewound.take());
        let needed = now.market.checked_sub(RETENTION).unwrap_or(Timestamp::MIN);
        let forgotten = self.too_old(oldest.map_or(needed, |oldest| oldest.min(needed)));
        Some(PriceUpdate { rewound, rows, until, forgotten })
    }

    /// When [`write`](Self::write) has something to write.
    pub fn due(&self, due: &mut Due) {
        let Some(until) = self.until.filter(|_| self.heard) else { return };
        let (unwritten, now) = (&self.unwritten, due.now());
        let mark = after(unwritten.marked.unwrap_or(until), MARK);
        if !unwritten.rows.is_empty() || unwritten.rewound.is_some() {
            due.wall([unwritten.at.map_or(now.wall, |at| after(at, WRITE_GAP))]);
        } else {
            due.market([mark]);
        }
    }

    /// Rows no longer needed: all before the one in force at `needed`.
    fn too_old(&self, needed: Timestamp) -> Vec<(PriceKey, Timestamp)> {
        let old = self.series.iter().filter_map(|(key, series)| {
            let second = series.keys().nth(1).filter(|at| after(**at, FORGET_LATE) <= needed)?;
            let kept = series.range(second..=&needed).map(|(at, _)| *at);
            Some((key.clone(), kept.take(ROWS_AT_ONCE).last()?))
        });
        old.take(SERIES_AT_ONCE).collect()
    }

    /// Applies what is written to the store. What this memory has heard itself is already
    /// in it.
    pub fn apply(&mut self, update: &PriceUpdate) {
        if let Some(to) = update.rewound {
            self.cut(to);
        }
        for PriceRow { key, at, price } in &update.rows {
            self.series.entry(key.clone()).or_default().insert(*at, *price);
        }
        self.until = self.until.max(Some(update.until));
        for (key, before) in &update.forgotten {
            if let Some(series) = self.series.get_mut(key) {
                *series = series.split_off(before);
            }
        }
    }

    /// Every row, by series and time.
    pub fn rows(&self) -> impl Iterator<Item = PriceRow> {
        self.series.iter().flat_map(|(key, series)| {
            series.iter().map(|(at, price)| PriceRow { key: key.clone(), at: *at, price: *price })
        })
    }

    /// To what time every price is known.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }
}

/// What a commitment pays for is bought on demand.
fn key_of(market: &MarketKey) -> PriceKey {
    let MarketKey { zone, instance_type, capacity_type, .. } = market.as_bought();
    PriceKey { zone, instance_type, capacity_type }
}

#[cfg(test)]
#[path = "prices_tests.rs"]
mod tests;
