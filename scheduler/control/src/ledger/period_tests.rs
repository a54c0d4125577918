use std::collections::BTreeMap;

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The periods from one time to another.
fn periods(every: Every, zone: &TimeZone, from: &str, to: &str) -> Vec<(String, i64)> {
    let (mut at, end) = (time(from), time(to));
    let mut found = Vec::new();
    while at < end {
        let (begin, next) = (every.begin(at, zone), every.end(at, zone));
        assert!(begin <= at && at < next, "{every:?} {at}: {begin} to {next}");
        for within in [begin, at, Timestamp::from_second(next.as_second() - 1).unwrap()] {
            assert_eq!(every.label(within, zone), every.label(at, zone));
            assert_eq!(every.end(within, zone), next, "{within}");
        }
        found.push((every.label(at, zone), next.as_second() - begin.as_second()));
        at = next;
    }
    found
}

#[test]
fn days_have_the_hours_of_their_zone() {
    let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
    let days = periods(Every::Day, &zone, "2026-03-07T05:00:00Z", "2026-03-10T04:00:00Z");
    let hours = |days: Vec<(String, i64)>| -> BTreeMap<String, i64> {
        days.into_iter().map(|(day, seconds)| (day, seconds / 3_600)).collect()
    };
    let named = [("2026-03-07", 24), ("2026-03-08", 23), ("2026-03-09", 24)];
    assert_eq!(hours(days), named.map(|(day, hours)| (day.to_owned(), hours)).into());
    let autumn = periods(Every::Day, &zone, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
    assert_eq!(autumn, [("2026-11-01".to_owned(), 25 * 3_600)]);
}

#[test]
fn hours_that_are_there_twice_are_told_apart() {
    let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
    let hours = periods(Every::Hour, &zone, "2026-11-01T04:30:00Z", "2026-11-01T08:00:00Z");
    let names: Vec<&str> = hours.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "2026-11-01T00:00:00-04:00",
        "2026-11-01T01:00:00-04:00",
        "2026-11-01T01:00:00-05:00",
        "2026-11-01T02:00:00-05:00",
    ];
    assert_eq!(names, expected);
}

#[test]
fn zones_with_parts_of_hours_have_whole_hours_of_their_own() {
    let nepal = TimeZone::posix("<+0545>-5:45").unwrap();
    let hours = periods(Every::Hour, &nepal, "2026-03-07T00:00:00Z", "2026-03-07T02:00:00Z");
    assert_eq!(hours[0], ("2026-03-07T05:00:00+05:45".to_owned(), 3_600));
    // Half an hour is left out in spring, and there twice in autumn.
    let lord_howe = TimeZone::posix("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0").unwrap();
    for (from, to) in [
        ("2026-10-03T12:10:00Z", "2026-10-03T20:00:00Z"),
        ("2026-04-04T10:10:00Z", "2026-04-04T20:00:00Z"),
    ] {
        let mut at = time(from);
        while at < time(to) {
            let next = Every::Hour.end(at, &lord_howe);
            let length = next.as_second() - Every::Hour.begin(at, &lord_howe).as_second();
            assert!(at < next && (1..=3_600).contains(&length), "{at}: {length}");
            at = next;
        }
    }
}

#[test]
fn months_are_those_of_the_calendar() {
    let months =
        periods(Every::Month, &TimeZone::UTC, "2028-01-15T00:00:00Z", "2028-04-01T00:00:00Z");
    let days: Vec<_> = months.iter().map(|(m, seconds)| (m.as_str(), seconds / 86_400)).collect();
    assert_eq!(days, [("2028-01", 31), ("2028-02", 29), ("2028-03", 31)]);
}
