//! `dst_month_leap` of the catalogue of faults: months and days as users of any zone cut
//! them, over 29 February and clock changes. Whatever period a charge extends into, the
//! periods add up to the micro-dollar.

use std::time::Duration;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use spotwise_model::instance::EndedBy;
use spotwise_model::policy::Policy;
use spotwise_model::time::after;
use spotwise_model::{CapacityType, Instance, Price};

use super::*;
use spotwise_control::core::Change;
use spotwise_control::fixture::machine;
use spotwise_control::ledger::{InstanceBill, charge_instance};
use spotwise_market::Segment;
use spotwise_store::{Round, Store};

/// Clocks that change by an hour, an hour on the other days, half an hour in the
/// south, and never.
const ZONES: [&str; 4] = [
    "EST5EDT,M3.2.0,M11.1.0",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    "<+0545>-5:45",
];

/// Local midnight of a day, as a user writes it.
fn midnight(day: Date, zone: &str) -> String {
    let zone = TimeZone::posix(zone).unwrap();
    let begin = day.to_zoned(zone).unwrap();
    begin.timestamp().display_with_offset(begin.offset()).to_string()
}

/// The first days of December 2027 to February 2029.
fn months() -> Vec<Date> {
    let first = (0..15).map(|n: i16| (2027 + (11 + n) / 12, (11 + n) % 12 + 1));
    first.map(|(year, month)| date(year, i8::try_from(month).unwrap(), 1)).collect()
}

/// What a report of that period reads.
fn period(since: &str, until: &str) -> LedgerFilter {
    let (since, until) = (since.to_owned(), until.to_owned());
    check(&v1::CostQuery { since, until, ..v1::CostQuery::default() }).unwrap().period
}

/// The periods into which these days cut all of time.
fn periods(days: &[Date], zone: &str) -> Vec<LedgerFilter> {
    let cuts: Vec<String> = days.iter().map(|day| midnight(*day, zone)).collect();
    let begins = std::iter::once("").chain(cuts.iter().map(String::as_str));
    let ends = cuts.iter().map(String::as_str).chain([""]);
    begins.zip(ends).map(|(since, until)| period(since, until)).collect()
}

/// A life near a cut: the cut, hours before it, a length in seconds, where its
/// price changes, and its prices.
type Life = ((usize, i64), (i64, u64, u64), (i64, i64));

fn any_life() -> impl Strategy<Value = Life> {
    let when = (0..15_usize, -30..30_i64);
    let length = prop_oneof![0..100_u64, 3_000..4_000_u64, 80_000..90_000_u64, 0..4_000_000_u64];
    (when, (-4_000..4_000_i64, length, 0..100_u64), (0..5_000_000_i64, 0..5_000_000_i64))
}

fn charges(
    number: u64,
    ((cut, hours), (shift, length, part), (low, high)): Life,
) -> (Instance, Vec<LedgerEntry>) {
    let zone = ZONES[cut % ZONES.len()];
    let cut: Timestamp = midnight(months()[cut], zone).parse().unwrap();
    let from = Timestamp::from_second(cut.as_second() + hours * 3_600 + shift).unwrap();
    let to = after(from, Duration::from_secs(length));
    let middle = after(from, Duration::from_secs(length * part / 100));
    let mut bought = machine(number, "us-east-1a", CapacityType::OnDemand);
    bought.state = spotwise_model::InstanceState::Registered { since: from };
    let ended = bought.end(to, EndedBy::Us).unwrap();
    let price = Price::from_micros_per_hour;
    let last = after(to, Duration::from_secs(60));
    let segments = [
        Segment { from, to: middle, price: price(low) },
        Segment { from: middle, to: last, price: price(high) },
    ];
    let policy = Policy::default();
    let entries = charge_instance(&InstanceBill {
        instance: &ended,
        segments: &segments,
        on_demand: price(3_000_000),
        uses: Vec::new(),
        termination: Duration::ZERO,
        policy: &policy,
    });
    let seconds: i64 = entries.iter().map(|e| e.to.as_second() - e.from.as_second()).sum();
    assert_eq!(seconds, i64::try_from(length.max(60)).unwrap(), "no clock changes a bill");
    (ended, entries)
}

/// A store that holds these machines and charges.
async fn stored(lives: Vec<Life>) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spotwise.db");
    let store = Store::open(path).await.unwrap();
    let epoch = store.lead("test", Timestamp::UNIX_EPOCH).await.unwrap();
    let mut changes: Vec<Change> = Vec::new();
    for (number, life) in (1..).zip(lives) {
        let (instance, entries) = charges(number, life);
        changes.push(instance.into());
        changes.push(Change::Ledger(entries));
    }
    store.commit(&Round { epoch, id: 1, changes: &changes }).await.unwrap();
    (folder, store)
}

async fn add_up_by_month(lives: Vec<Life>) {
    let (_folder, store) = stored(lives).await;
    let all = store.ledger(&LedgerFilter::default()).await.unwrap();
    assert!(!all.is_empty());
    for zone in ZONES {
        let kinds = ["kind".to_owned()];
        let report = |entries: &[LedgerEntry], period: &LedgerFilter| {
            let scope = Scope {
                group_by: &kinds,
                since: period.since,
                until: period.until,
                zone: &TimeZone::UTC,
                now: Timestamp::UNIX_EPOCH,
            };
            let total = add_up(entries, &[], &scope).unwrap().total.sums;
            (total.total.micros(), total.on_demand.micros())
        };
        let mut sums = (0, 0);
        for period in periods(&months(), zone) {
            let entries = store.ledger(&period).await.unwrap();
            let part = report(&entries, &period);
            sums = (sums.0 + part.0, sums.1 + part.1);
        }
        assert_eq!(sums, report(&all, &LedgerFilter::default()), "{zone}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dst_month_leap(lives in prop::collection::vec(any_life(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(add_up_by_month(lives));
    }
}

/// A charge an hour for all of 2028: days of 23, 24 and 25 hours, 366 of them.
#[test]
fn dst_month_leap_days() {
    for (zone, short, long) in [(ZONES[0], 23, 25), (ZONES[1], 23, 25), (ZONES[3], 24, 24)] {
        let begin: Timestamp = midnight(date(2028, 1, 1), zone).parse().unwrap();
        let hours = (0..366 * 24).map(|n| after(begin, Duration::from_secs(n * 3_600)));
        let hours: Vec<Timestamp> = hours.collect();
        let days =
            (0..366).map(|n| date(2028, 1, 1).checked_add(jiff::Span::new().days(n)).unwrap());
        let days: Vec<Date> = days.collect();
        let lengths: Vec<usize> = periods(&days, zone)
            .iter()
            .map(|period| {
                let within = |at: &&Timestamp| {
                    period.since.is_none_or(|since| since <= **at)
                        && period.until.is_none_or(|until| **at < until)
                };
                hours.iter().filter(within).count()
            })
            .collect();
        assert_eq!(lengths.iter().sum::<usize>(), 366 * 24, "{zone}");
        assert_eq!(lengths[0], 0, "nothing before the year");
        let of = |length| lengths[1..].iter().filter(|n| **n == length).count();
        assert_eq!(
            (of(short), of(24), of(long)),
            if short < 24 { (1, 364, 1) } else { (366, 366, 366) }
        );
        assert_eq!(lengths[31 + 29], 24, "29 February is a day");
    }
}
