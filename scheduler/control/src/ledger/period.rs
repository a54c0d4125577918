//! Time cut into hours, days and months of a time zone, and charges cut with it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use spotwise_model::{LedgerEntry, Money};

const HOUR: i64 = 3_600;

/// The length of a report's rows, by the clock of a time zone. In order of length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Every {
    /// Whole hours of the zone's clock.
    Hour,
    /// Days: 23 or 25 hours when the clock changes.
    Day,
    /// Calendar months.
    Month,
}

impl Every {
    /// The one that a dimension names.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    /// The name of a row for the period around `at`: `2026-03-07T02:00:00-05:00` for an
    /// hour, `2026-03-07` for a day, `2026-03` for a month.
    pub fn label(self, at: Timestamp, zone: &TimeZone) -> String {
        let begin = self.begin(at, zone).to_zoned(zone.clone());
        match self {
            Self::Hour => begin.timestamp().display_with_offset(begin.offset()).to_string(),
            Self::Day => begin.date().to_string(),
            Self::Month => format!("{:04}-{:02}", begin.year(), begin.month()),
        }
    }

    /// When the period around `at` begins.
    pub fn begin(self, at: Timestamp, zone: &TimeZone) -> Timestamp {
        let local = at.to_zoned(zone.clone());
        let of_day = |day: Date| zone.to_timestamp(day.at(0, 0, 0, 0)).unwrap_or(Timestamp::MIN);
        match self {
            Self::Hour => hour(&local),
            Self::Day => of_day(local.date()).min(at),
            Self::Month => of_day(local.date().first_of_month()).min(at),
        }
    }

    /// When the period around `at` ends: later than `at`.
    pub fn end(self, at: Timestamp, zone: &TimeZone) -> Timestamp {
        let day = at.to_zoned(zone.clone()).date();
        let of_day = |day: Option<Date>| {
            let begin = day.and_then(|day| zone.to_timestamp(day.at(0, 0, 0, 0)).ok());
            begin.unwrap_or(Timestamp::MAX)
        };
        let next = match self {
            Self::Hour => next_hour(at, zone),
            Self::Day => of_day(day.checked_add(Span::new().days(1)).ok()),
            Self::Month => of_day(day.last_of_month().checked_add(Span::new().days(1)).ok()),
        };
        if next > at { next } else { Timestamp::MAX }
    }
}

/// The last full hour of a clock.
fn hour(local: &Zoned) -> Timestamp {
    let offset = i64::from(local.offset().seconds());
    let at = local.timestamp().as_second();
    moment(at - (at + offset).rem_euclid(HOUR))
}

/// The next full hour of a clock; or, within an hour, the change of the clock by
/// less than an hour.
fn next_hour(at: Timestamp, zone: &TimeZone) -> Timestamp {
    let begin = Every::Hour.begin(at, zone);
    let next = moment(begin.as_second() + HOUR);
    let changed = zone.following(at).next().map(|change| change.timestamp());
    changed
        .filter(|change| *change < next && Every::Hour.begin(*change, zone) != begin)
        .unwrap_or(next)
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// The part of a charge that falls into a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Start of the part (market time).
    pub from: Timestamp,
    /// Its end (market time).
    pub to: Timestamp,
    /// Its part of the amount.
    pub amount: Money,
    /// Its part of the on-demand amount.
    pub on_demand: Money,
}

/// The part of a charge between two times, in proportion to its time; `None` if they do not
/// overlap.
///
/// It is the charge up to the end of the part minus the charge up to its start, each
/// rounded once: however time is cut, the parts add up to the charge exactly. A charge of
/// zero length belongs to where it begins.
pub fn piece(entry: &LedgerEntry, since: Timestamp, until: Timestamp) -> Option<Piece> {
    let (from, to) = (entry.from.max(since), entry.to.min(until));
    let length = |from: Timestamp, to: Timestamp| {
        u64::try_from(to.as_microsecond() - from.as_microsecond()).unwrap_or(0)
    };
    let whole = length(entry.from, entry.to);
    if whole == 0 {
        let (amount, on_demand) = (entry.amount, entry.on_demand_amount);
        let within = since <= entry.from && entry.from < until;
        return within.then_some(Piece { from, to: from, amount, on_demand });
    }
    let part = |amount: Money| {
        amount.part(length(entry.from, to), whole) - amount.part(length(entry.from, from), whole)
    };
    let (amount, on_demand) = (part(entry.amount), part(entry.on_demand_amount));
    (from < to).then_some(Piece { from, to, amount, on_demand })
}

#[cfg(test)]
#[path = "period_tests.rs"]
mod tests;
