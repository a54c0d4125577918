use spotwise_model::CapacityType;
use spotwise_model::id::{InstanceType, PoolName, Zone};

use super::*;

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()
}

fn offer(zone: &str) -> OfferKey {
    OfferKey {
        pool: PoolName::new("local"),
        zone: Zone::new(zone),
        instance_type: InstanceType::new("p3.2xlarge"),
        capacity_type: CapacityType::Spot,
    }
}

fn there(machines: &[(&str, u32)]) -> BTreeMap<OfferKey, u32> {
    machines.iter().map(|(zone, machines)| (offer(zone), *machines)).collect()
}

/// Both times are one.
fn now(at: Timestamp) -> Now {
    Now { market: at, wall: at }
}

/// Looks once a minute, and tells the store what it is to hear.
fn watch(
    spells: &mut Spells,
    stored: &mut Spells,
    minutes: std::ops::Range<i64>,
    machines: impl Fn(i64) -> u32,
) {
    for at in minutes {
        spells.look(&there(&[("a", machines(at))]), PATIENCE, minute(at));
        if let Some(watched) = spells.write(now(minute(at))) {
            spells.take(&watched);
            stored.take(&watched);
        }
    }
}

fn again(stored: &Spells) -> Spells {
    Spells::stored(stored.rows().collect(), stored.watches().collect())
}

#[test]
fn a_count_is_noted_when_it_changes_and_only_then() {
    let (mut spells, mut stored) = (Spells::default(), Spells::default());
    watch(&mut spells, &mut stored, 0..60, |at| if at < 20 { 3 } else { 1 });
    let seen: Vec<_> = spells.rows().map(|count| (count.at, count.machines)).collect();
    assert_eq!(seen, [(minute(0), 3), (minute(20), 1)]);
    assert_eq!(spells.machines(&offer("a"), minute(19)), Some(3));
    assert_eq!(spells.machines(&offer("a"), minute(20)), Some(1));
    assert_eq!(spells.machines(&offer("a"), minute(-1)), None);
    assert_eq!(spells.machines(&offer("b"), minute(20)), None);
    assert!(spells.is_watched(minute(59)) && !spells.is_watched(minute(60)));
    // An offer that is not on the market any more has no machines.
    spells.look(&there(&[("b", 2)]), PATIENCE, minute(60));
    assert_eq!(spells.machines(&offer("a"), minute(60)), Some(0));
    assert_eq!(spells.first(&offer("b")), Some(minute(60)));
}

#[test]
fn what_is_written_says_all_that_was_seen() {
    let (mut spells, mut stored) = (Spells::default(), Spells::default());
    watch(&mut spells, &mut stored, 0..2_000, |at| (at / 7 % 4) as u32);
    assert!(stored.rows().eq(spells.rows()));
    // Nothing but the time of the last looks is ever behind.
    let behind = between(stored.until().unwrap(), spells.until().unwrap());
    assert!(behind <= MARK, "{behind:?}");
}

#[test]
fn little_is_written_where_nothing_changes() {
    let mut spells = Spells::default();
    let mut written = 0;
    for tick in 0..3_600_i64 {
        let at = Timestamp::from_second(1_700_000_000 + tick).unwrap();
        spells.look(&there(&[("a", 3), ("b", 0)]), PATIENCE, at);
        written += usize::from(spells.write(now(at)).is_some());
    }
    assert_eq!(written, 12, "once in five minutes");
}

/// 600 times as fast as the market: rounds every 100 ms, a change in each.
#[test]
fn many_changes_are_written_together() {
    let mut spells = Spells::default();
    let (mut written, mut rows) = (0, 0);
    for tick in 0..600_i64 {
        let now = Now {
            market: minute(tick),
            wall: Timestamp::from_millisecond(1_700_000_000_000 + tick * 100).unwrap(),
        };
        let counts = there(&[("a", (tick % 5) as u32), ("b", (tick % 3) as u32)]);
        spells.look(&counts, Duration::from_secs(3_000), now.market);
        if let Some(watched) = spells.write(now) {
            written += 1;
            rows += watched.counts.len();
        }
    }
    assert_eq!(written, 60, "once a second");
    assert!(rows > 1_100, "{rows}");
}

#[test]
fn a_pause_is_a_gap_and_a_short_one_is_none() {
    let (mut spells, mut stored) = (Spells::default(), Spells::default());
    watch(&mut spells, &mut stored, 0..100, |_| 3);
    // Killed, and back within the patience.
    let mut spells = again(&stored);
    watch(&mut spells, &mut stored, 108..200, |_| 3);
    assert_eq!(spells.watches().count(), 1);
    // Killed, and back too late. The state before is the state after, and yet the
    // gap was not seen.
    let mut spells = again(&stored);
    watch(&mut spells, &mut stored, 240..300, |_| 3);
    let watches: Vec<Watch> = spells.watches().collect();
    let known = watches.first().unwrap().until;
    assert!(known >= minute(195) && known < minute(200), "{known}");
    assert_eq!(watches.last(), Some(&Watch { from: minute(240), until: minute(299) }));
    assert!(!spells.is_watched(minute(220)));
    assert_eq!(spells.rows().count(), 1, "three machines all the time that was seen");
    // A pause of a running scheduler is a gap too, but for fast replays.
    let patience = Duration::from_secs(3_600);
    assert_eq!(spells.look(&there(&[("a", 3)]), patience, minute(350)), Step::On);
    assert_eq!(spells.look(&there(&[("a", 3)]), patience, minute(420)), Step::Anew);
    assert_eq!(again(&stored).look(&there(&[("a", 3)]), patience, minute(350)), Step::Anew);
}

#[test]
fn an_earlier_market_time_makes_void_what_was_seen_later() {
    let (mut spells, mut stored) = (Spells::default(), Spells::default());
    watch(&mut spells, &mut stored, 0..500, |at| (at / 50) as u32);
    // A successor's clock that is a little behind: nothing is lost or doubled.
    let before = spells.clone();
    assert_eq!(spells.look(&there(&[("a", 7)]), PATIENCE, minute(495)), Step::On);
    assert!(spells.rows().eq(before.rows()) && spells.until() == before.until());
    // Started again with an earlier time.
    let mut spells = again(&stored);
    watch(&mut spells, &mut stored, 120..200, |_| 9);
    for spells in [&spells, &stored] {
        let seen: Vec<_> = spells.rows().map(|count| (count.at, count.machines)).collect();
        assert_eq!(
            seen,
            [0, 50, 100, 120].map(minute).into_iter().zip([0, 1, 2, 9]).collect::<Vec<_>>()
        );
        assert_eq!(spells.machines(&offer("a"), minute(450)), Some(9));
    }
    let watches: Vec<_> = spells.watches().map(|w| (w.from, w.until)).collect();
    assert_eq!(watches, [(minute(0), minute(120)), (minute(120), minute(199))]);
    assert!(again(&stored).watches().eq(stored.watches()));
}

#[test]
fn what_is_too_old_is_forgotten_little_by_little() {
    let (mut spells, mut stored) = (Spells::default(), Spells::default());
    let day = 1_440;
    let hourly = |at: i64| (at / 60 % 3) as u32;
    // Ten days, a week without anybody, and ten days.
    for minutes in [0..10 * day, 17 * day..27 * day] {
        watch(&mut spells, &mut stored, minutes, hourly);
    }
    let oldest = minute(27 * day - 1).checked_sub(MEMORY).unwrap();
    let first = stored.first(&offer("a")).unwrap();
    // The count that holds when the memory begins is kept.
    assert!(first <= minute(10 * day) && first > minute(10 * day - 70), "{first}");
    assert!(first <= oldest);
    assert_eq!(stored.machines(&offer("a"), oldest), spells.machines(&offer("a"), oldest));
    assert_eq!(stored.watches().next().unwrap().from, minute(0));
    watch(&mut spells, &mut stored, 27 * day..40 * day, hourly);
    assert_eq!(stored.watches().next().unwrap().from, minute(17 * day), "the gap is past");
    let rows = stored.rows().count();
    assert!(rows < 16 * 24, "{rows}: no more than two weeks and two days");
    assert!(rows > 14 * 24);
    assert!(stored.rows().eq(spells.rows()));
}

/// A long gap leaves much to forget: no writing forgets all of it.
#[test]
fn no_writing_forgets_very_much() {
    let offers: Vec<OfferKey> = (0..20).map(|zone| offer(&zone.to_string())).collect();
    let rows = (0..600).flat_map(|at| {
        let row = move |offer: &OfferKey| Count {
            offer: offer.clone(),
            at: minute(at),
            machines: at as u32,
        };
        offers.iter().map(row)
    });
    let mut spells =
        Spells::stored(rows.collect(), vec![Watch { from: minute(0), until: minute(95_000) }]);
    let mut left = Vec::new();
    for writing in 0..8 {
        let at = minute(100_000 + writing);
        spells.look(&BTreeMap::new(), PATIENCE, at);
        let before = spells.rows().count();
        let watched = spells.write(now(at)).map(|watched| {
            spells.take(&watched);
            watched.forgotten.len()
        });
        assert!(watched.is_none_or(|offers| offers <= OFFERS_AT_ONCE));
        assert!(before - spells.rows().count() <= OFFERS_AT_ONCE * ROWS_AT_ONCE);
        left.push(spells.rows().count());
        // The next one is due.
        spells.unwritten.marked = None;
    }
    assert!(left[0] > 20 * 100, "{left:?}");
    assert_eq!(left[7], 20 * 2, "the last one seen, and none since: {left:?}");
}

#[test]
fn who_was_away_for_longer_than_the_memory_begins_from_nothing() {
    let (mut spells, mut stored) = (Spells::default(), Spells::default());
    watch(&mut spells, &mut stored, 0..500, |at| (at / 50) as u32);
    let away = 14 * 1_440;
    let mut short = again(&stored);
    watch(&mut short, &mut stored.clone(), 490 + away..500 + away, |_| 9);
    assert_eq!(short.start(), Some(minute(0)));
    watch(&mut spells, &mut stored, 600 + away..700 + away, |_| 9);
    for spells in [spells, stored] {
        assert_eq!((spells.start(), spells.rows().count()), (Some(minute(600 + away)), 1));
    }
}

#[test]
fn a_state_lasts_since_it_was_seen_to_begin() {
    let (mut spells, mut stored) = (Spells::default(), Spells::default());
    watch(&mut spells, &mut stored, 0..300, |at| match at {
        0..100 => 0,
        100..200 => 2,
        _ => 5,
    });
    let since = |spells: &Spells, machines| spells.since(&offer("a"), machines, minute(-9_999));
    assert_eq!(since(&spells, 1), Some(minute(100)));
    assert_eq!(since(&spells, 4), Some(minute(200)));
    assert_eq!(since(&spells, 6), Some(minute(0)), "fewer than six");
    assert_eq!(spells.since(&offer("a"), 1, minute(150)), Some(minute(150)), "no need to look on");
    assert_eq!(since(&spells, 0), Some(minute(0)));
    assert_eq!(spells.since(&offer("b"), 1, minute(0)), None);
    let mut spells = again(&stored);
    watch(&mut spells, &mut stored, 400..450, |_| 5);
    assert_eq!(since(&spells, 4), Some(minute(400)), "what was in the gap is not known");
}
