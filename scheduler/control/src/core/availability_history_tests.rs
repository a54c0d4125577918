use spotwise_model::CapacityType;
use spotwise_model::id::{InstanceType, Zone};

use super::*;

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
}

fn offer(zone: &str) -> MarketKey {
    MarketKey::recorded(Zone::new(zone), InstanceType::new("p3.2xlarge"), CapacityType::Spot)
}

fn there(machines: &[(&str, u32)]) -> BTreeMap<MarketKey, u32> {
    machines.iter().map(|(zone, machines)| (offer(zone), *machines)).collect()
}

/// Both times are the same.
fn now(at: Timestamp) -> Now {
    Now { market: at, wall: at }
}

/// Observes once a minute, and tells the store what is due.
fn watch(
    availability: &mut AvailabilityHistory,
    stored: &mut AvailabilityHistory,
    minutes: std::ops::Range<i64>,
    machines: impl Fn(i64) -> u32,
) {
    for at in minutes {
        availability.observe(&there(&[("a", machines(at))]), GAP_TOLERANCE, minute(at));
        if let Some(update) = availability.write(now(minute(at))) {
            availability.take(&update);
            stored.take(&update);
        }
    }
}

fn again(stored: &AvailabilityHistory) -> AvailabilityHistory {
    AvailabilityHistory::stored(stored.rows().collect(), stored.windows().collect())
}

#[test]
fn a_count_is_noted_when_it_changes_and_only_then() {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    watch(&mut availability, &mut stored, 0..60, |at| if at < 20 { 3 } else { 1 });
    let seen: Vec<_> = availability.rows().map(|count| (count.at, count.machines)).collect();
    assert_eq!(seen, [(minute(0), 3), (minute(20), 1)]);
    assert_eq!(availability.machines(&offer("a"), minute(19)), Some(3));
    assert_eq!(availability.machines(&offer("a"), minute(20)), Some(1));
    assert_eq!(availability.machines(&offer("a"), minute(-1)), None);
    assert_eq!(availability.machines(&offer("b"), minute(20)), None);
    assert!(availability.is_observed(minute(59)) && !availability.is_observed(minute(60)));
    // An offer that is not on the market any more has no machines.
    availability.observe(&there(&[("b", 2)]), GAP_TOLERANCE, minute(60));
    assert_eq!(availability.machines(&offer("a"), minute(60)), Some(0));
    assert_eq!(availability.first(&offer("b")), Some(minute(60)));
}

#[test]
fn what_is_written_says_all_that_was_seen() {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    watch(&mut availability, &mut stored, 0..2_000, |at| (at / 7 % 4) as u32);
    assert!(stored.rows().eq(availability.rows()));
    // Nothing but the time of the last looks is ever behind.
    let behind = between(stored.until().unwrap(), availability.until().unwrap());
    assert!(behind <= MARK, "{behind:?}");
}

#[test]
fn little_is_written_where_nothing_changes() {
    let mut availability = AvailabilityHistory::default();
    let mut written = 0;
    for tick in 0..3_600_i64 {
        let at = Timestamp::from_second(1_700_000_000 + tick).unwrap();
        availability.observe(&there(&[("a", 3), ("b", 0)]), GAP_TOLERANCE, at);
        written += usize::from(availability.write(now(at)).is_some());
    }
    assert_eq!(written, 12, "once in five minutes");
}

/// 600 times as fast as the market: rounds every 100 ms, a change in each.
#[test]
fn many_changes_are_written_together() {
    let mut availability = AvailabilityHistory::default();
    let (mut written, mut rows) = (0, 0);
    for tick in 0..600_i64 {
        let now = Now {
            market: minute(tick),
            wall: Timestamp::from_millisecond(1_700_000_000_000 + tick * 100).unwrap(),
        };
        let counts = there(&[("a", (tick % 5) as u32), ("b", (tick % 3) as u32)]);
        availability.observe(&counts, Duration::from_secs(3_000), now.market);
        if let Some(update) = availability.write(now) {
            written += 1;
            rows += update.counts.len();
        }
    }
    assert_eq!(written, 60, "once a second");
    assert!(rows > 1_100, "{rows}");
}

#[test]
fn a_pause_is_a_gap_and_a_short_one_is_none() {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    watch(&mut availability, &mut stored, 0..100, |_| 3);
    // Killed, and back within the patience.
    let mut availability = again(&stored);
    watch(&mut availability, &mut stored, 108..200, |_| 3);
    assert_eq!(availability.windows().count(), 1);
    // Killed, and back too late. The state before is the state after, and yet the
    // gap was not seen.
    let mut availability = again(&stored);
    watch(&mut availability, &mut stored, 240..300, |_| 3);
    let windows: Vec<ObservationWindow> = availability.windows().collect();
    let known = windows.first().unwrap().until;
    assert!(known >= minute(195) && known < minute(200), "{known}");
    assert_eq!(windows.last(), Some(&ObservationWindow { from: minute(240), until: minute(299) }));
    assert!(!availability.is_observed(minute(220)));
    assert_eq!(availability.rows().count(), 1, "three machines all the time that was seen");
    // A pause of a running scheduler is a gap too, but for fast replays.
    let tolerance = Duration::from_secs(3_600);
    assert_eq!(availability.observe(&there(&[("a", 3)]), tolerance, minute(350)), Step::On);
    assert_eq!(availability.observe(&there(&[("a", 3)]), tolerance, minute(420)), Step::Anew);
    assert_eq!(again(&stored).observe(&there(&[("a", 3)]), tolerance, minute(350)), Step::Anew);
}

#[test]
fn an_earlier_market_time_makes_void_what_was_seen_later() {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    watch(&mut availability, &mut stored, 0..500, |at| (at / 50) as u32);
    // A successor's clock that is a little behind: nothing is lost or doubled.
    let before = availability.clone();
    assert_eq!(availability.observe(&there(&[("a", 7)]), GAP_TOLERANCE, minute(495)), Step::On);
    assert!(availability.rows().eq(before.rows()) && availability.until() == before.until());
    // Started again with an earlier time.
    let mut availability = again(&stored);
    watch(&mut availability, &mut stored, 120..200, |_| 9);
    for availability in [&availability, &stored] {
        let seen: Vec<_> = availability.rows().map(|count| (count.at, count.machines)).collect();
        assert_eq!(
            seen,
            [0, 50, 100, 120].map(minute).into_iter().zip([0, 1, 2, 9]).collect::<Vec<_>>()
        );
        assert_eq!(availability.machines(&offer("a"), minute(450)), Some(9));
    }
    let windows: Vec<_> = availability.windows().map(|w| (w.from, w.until)).collect();
    assert_eq!(windows, [(minute(0), minute(120)), (minute(120), minute(199))]);
    assert!(again(&stored).windows().eq(stored.windows()));
}

#[test]
fn what_is_too_old_is_forgotten_little_by_little() {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    let day = 1_440;
    let hourly = |at: i64| (at / 60 % 3) as u32;
    // Ten days, a week without anybody, and ten days.
    for minutes in [0..10 * day, 17 * day..27 * day] {
        watch(&mut availability, &mut stored, minutes, hourly);
    }
    let oldest = minute(27 * day - 1).checked_sub(RETENTION).unwrap();
    let first = stored.first(&offer("a")).unwrap();
    // The count that holds when the memory begins is kept.
    assert!(first <= minute(10 * day) && first > minute(10 * day - 70), "{first}");
    assert!(first <= oldest);
    assert_eq!(stored.machines(&offer("a"), oldest), availability.machines(&offer("a"), oldest));
    assert_eq!(stored.windows().next().unwrap().from, minute(0));
    watch(&mut availability, &mut stored, 27 * day..40 * day, hourly);
    assert_eq!(stored.windows().next().unwrap().from, minute(17 * day), "the gap is past");
    let rows = stored.rows().count();
    assert!(rows < 16 * 24, "{rows}: no more than two weeks and two days");
    assert!(rows > 14 * 24);
    assert!(stored.rows().eq(availability.rows()));
}

/// A long gap leaves much to remove: no single write removes all of it.
#[test]
fn no_writing_forgets_very_much() {
    let offers: Vec<MarketKey> = (0..20).map(|zone| offer(&zone.to_string())).collect();
    let rows = (0..600).flat_map(|at| {
        let row = move |offer: &MarketKey| Count {
            market: offer.clone(),
            at: minute(at),
            machines: at as u32,
        };
        offers.iter().map(row)
    });
    let mut availability = AvailabilityHistory::stored(
        rows.collect(),
        vec![ObservationWindow { from: minute(0), until: minute(95_000) }],
    );
    let mut left = Vec::new();
    for writing in 0..8 {
        let at = minute(100_000 + writing);
        availability.observe(&BTreeMap::new(), GAP_TOLERANCE, at);
        let before = availability.rows().count();
        let update = availability.write(now(at)).map(|update| {
            availability.take(&update);
            update.forgotten.len()
        });
        assert!(update.is_none_or(|offers| offers <= MARKETS_AT_ONCE));
        assert!(before - availability.rows().count() <= MARKETS_AT_ONCE * ROWS_AT_ONCE);
        left.push(availability.rows().count());
        // The next one is due.
        availability.unwritten.marked = None;
    }
    assert!(left[0] > 20 * 100, "{left:?}");
    assert_eq!(left[7], 20 * 2, "the last one seen, and none since: {left:?}");
}

#[test]
fn who_was_away_for_longer_than_the_memory_begins_from_nothing() {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    watch(&mut availability, &mut stored, 0..500, |at| (at / 50) as u32);
    let away = 14 * 1_440;
    let mut short = again(&stored);
    watch(&mut short, &mut stored.clone(), 490 + away..500 + away, |_| 9);
    assert_eq!(short.start(), Some(minute(0)));
    watch(&mut availability, &mut stored, 600 + away..700 + away, |_| 9);
    for availability in [availability, stored] {
        assert_eq!(
            (availability.start(), availability.rows().count()),
            (Some(minute(600 + away)), 1)
        );
    }
}

#[test]
fn a_state_lasts_since_it_was_seen_to_begin() {
    let (mut availability, mut stored) =
        (AvailabilityHistory::default(), AvailabilityHistory::default());
    watch(&mut availability, &mut stored, 0..300, |at| match at {
        0..100 => 0,
        100..200 => 2,
        _ => 5,
    });
    let since = |availability: &AvailabilityHistory, machines| {
        availability.since(&offer("a"), machines, minute(-9_999))
    };
    assert_eq!(since(&availability, 1), Some(minute(100)));
    assert_eq!(since(&availability, 4), Some(minute(200)));
    assert_eq!(since(&availability, 6), Some(minute(0)), "fewer than six");
    assert_eq!(
        availability.since(&offer("a"), 1, minute(150)),
        Some(minute(150)),
        "no need to look on"
    );
    assert_eq!(since(&availability, 0), Some(minute(0)));
    assert_eq!(availability.since(&offer("b"), 1, minute(0)), None);
    let mut availability = again(&stored);
    watch(&mut availability, &mut stored, 400..450, |_| 5);
    assert_eq!(since(&availability, 4), Some(minute(400)), "what was in the gap is not known");
}
