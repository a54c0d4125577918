use proptest::prelude::*;
use spotwise_market::{Market, MarketSeries, Row};
use spotwise_model::NodeShape;
use spotwise_model::id::{InstanceType, Zone};

use super::*;

const ON_DEMAND: i64 = 3_060_000;

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn price(micros: i64) -> Price {
    Price::from_micros_per_hour(micros)
}

/// A market of one zone and type, whose prices begin at these seconds.
fn market(prices: &[(i64, i64)]) -> Market {
    let row = |(at, micros): &(i64, i64)| Row {
        at: second(*at),
        available: 4,
        price: Some(price(*micros)),
    };
    let series = MarketSeries {
        zone: Zone::new("us-east-1a"),
        instance_type: InstanceType::new("p3.2xlarge"),
        shape: NodeShape { gpus: 1, ..NodeShape::default() },
        on_demand: price(ON_DEMAND),
        rows: prices.iter().map(row).collect(),
    };
    Market::new(vec![series], None).unwrap()
}

fn spot() -> MarketKey {
    let kind = InstanceType::new("p3.2xlarge");
    MarketKey::recorded(Zone::new("us-east-1a"), kind, CapacityType::Spot)
}

fn row(at: i64, micros: i64) -> PriceRow {
    PriceRow { key: key_of(&spot()), at: second(at), price: price(micros) }
}

fn ask(book: &mut PriceBook, market: &Market, now: i64) {
    let PriceQuestion { since, all } = book.question(None);
    book.hear(market.prices_since(since, all, second(now)), second(now));
}

/// What a machine costs from second to second: `(from, micros an hour)`.
fn segments(book: &PriceBook, from: i64, to: i64) -> Vec<(i64, i64)> {
    let all = book.segments(&spot(), second(from), second(to));
    assert!(all.windows(2).all(|pair| pair[0].to == pair[1].from), "{all:?}");
    assert!(all.last().is_none_or(|last| last.to == second(to)), "{all:?}");
    let start = second(0).as_second();
    all.iter().map(|it| (it.from.as_second() - start, it.price.micros_per_hour())).collect()
}

fn written(book: &mut PriceBook, wall: i64) -> Option<PriceUpdate> {
    let now = Now { market: book.until().unwrap(), wall: second(wall) };
    book.write(None, now)
}

fn reopened(book: &PriceBook) -> PriceBook {
    PriceBook::stored(book.rows(), book.until())
}

#[test]
fn the_first_answer_is_what_is_in_force() {
    let market = market(&[(0, 1_000_000), (60, 900_000), (120, 800_000)]);
    let mut book = PriceBook::default();
    ask(&mut book, &market, 100);
    assert_eq!(segments(&book, 100, 300), [(100, 900_000)]);
    let on_demand = MarketKey { capacity_type: CapacityType::OnDemand, ..spot() };
    let reserved = MarketKey { capacity_type: CapacityType::Reserved, ..spot() };
    for key in [on_demand, reserved] {
        assert_eq!(book.of(&key, second(100)), Some(price(ON_DEMAND)), "{key}");
    }
    ask(&mut book, &market, 130);
    assert_eq!(segments(&book, 100, 300), [(100, 900_000), (120, 800_000)]);
    assert_eq!(segments(&book, 100, 120), [(100, 900_000)], "its last moment is not billed");
    assert_eq!(segments(&book, 120, 120), [(120, 800_000)], "who was there for no time at all");
    assert!(book.knows(second(130)) && !book.knows(second(131)));
}

#[test]
fn who_already_has_a_machine_asks_from_its_launch_on() {
    let market = market(&[(0, 1_000_000), (60, 900_000), (120, 800_000)]);
    let mut book = PriceBook::default();
    let PriceQuestion { since, all } = book.question(Some(second(30)));
    book.hear(market.prices_since(since, all, second(200)), second(200));
    let expected = [(30, 1_000_000), (60, 900_000), (120, 800_000)];
    assert_eq!(segments(&book, 30, 200), expected);
}

#[test]
fn another_source_changes_nobodys_past() {
    let mut book = PriceBook::default();
    ask(&mut book, &market(&[(0, 1_000_000), (60, 900_000)]), 100);
    ask(&mut book, &market(&[(0, 1_000_000), (60, 900_000), (150, 950_000)]), 200);
    let before = segments(&book, 0, 200);
    let mut restarted = reopened(&book);
    let other = market(&[(0, 500_000), (160, 450_000), (250, 400_000)]);
    ask(&mut restarted, &other, 220);
    assert_eq!(segments(&restarted, 0, 200), before);
    let told = [(200, 950_000), (220, 450_000)];
    assert_eq!(segments(&restarted, 200, 240), told, "it holds from when it was heard");
    let mut later = reopened(&book);
    ask(&mut later, &market(&[(0, 500_000), (160, 450_000), (210, 440_000)]), 220);
    assert_eq!(
        segments(&later, 200, 240),
        [(200, 950_000), (210, 440_000)],
        "it has changed since"
    );
    ask(&mut restarted, &other, 260);
    assert_eq!(segments(&restarted, 220, 270), [(220, 450_000), (250, 400_000)]);
}

#[test]
fn a_row_that_comes_late_changes_nobodys_past() {
    let mut book = PriceBook::default();
    ask(&mut book, &market(&[(0, 1_000_000)]), 100);
    let late = PriceAnswer {
        changes: vec![row(50, 700_000), row(110, 800_000)],
        ..PriceAnswer::default()
    };
    book.hear(PriceAnswer { until: second(120), ..late }, second(120));
    assert_eq!(segments(&book, 0, 120), [(0, 1_000_000), (110, 800_000)]);
}

#[test]
fn what_nobody_can_mean_is_not_believed() {
    let mut book = PriceBook::default();
    ask(&mut book, &market(&[(0, 1_000_000)]), 10);
    let absurd = vec![
        row(20, 0),
        row(21, -1_000_000),
        row(22, 1_000_000_000_000),
        row(23, 900),
        row(90, 800_000),
    ];
    book.hear(
        PriceAnswer { changes: absurd, until: second(30), ..PriceAnswer::default() },
        second(30),
    );
    assert_eq!(segments(&book, 10, 100), [(10, 1_000_000)]);
    assert_eq!(book.refused, 5, "the last is of a time that is yet to come");
    let sound = PriceAnswer { changes: vec![row(35, 999_000)], ..PriceAnswer::default() };
    book.hear(PriceAnswer { until: second(40), ..sound }, second(40));
    assert_eq!(segments(&book, 10, 100), [(10, 1_000_000), (35, 999_000)]);
    let mut fresh = PriceBook::default();
    let dear = market(&[(0, 1_000)]).prices_since(None, true, second(1));
    let standing = dear.standing.into_iter().map(|one| match one.key.capacity_type {
        CapacityType::Spot => PriceRow { price: price(ON_DEMAND * 1_000), ..one },
        _ => one,
    });
    fresh.hear(PriceAnswer { standing: standing.collect(), ..PriceAnswer::default() }, second(1));
    assert_eq!(fresh.of(&spot(), second(1)), None, "the first is judged by the one on demand");
    let quotes = market(&[(0, 1_000_000)]).quotes(second(1));
    let sold = fresh.priced(quotes, second(1));
    assert_eq!(sold.len(), 1, "what has no price is not sold");
    assert_eq!(sold[0].capacity_type, CapacityType::OnDemand);
}

#[test]
fn news_is_written_soon_and_silence_is_marked() {
    let market = market(&[(0, 1_000_000), (60, 900_000)]);
    let mut book = PriceBook::default();
    ask(&mut book, &market, 10);
    let first = written(&mut book, 10).unwrap();
    assert_eq!((first.rows.len(), first.until), (2, second(10)));
    ask(&mut book, &market, 70);
    assert_eq!(written(&mut book, 10), None, "it rests");
    assert_eq!(written(&mut book, 11).unwrap().rows, [row(60, 900_000)]);
    ask(&mut book, &market, 369);
    assert_eq!(written(&mut book, 300), None);
    ask(&mut book, &market, 370);
    let mark = written(&mut book, 300).unwrap();
    assert_eq!((mark.rows, mark.until), (Vec::new(), second(370)));
}

#[test]
fn time_that_went_back_is_heard_again() {
    let prices = market(&[(0, 1_000_000), (600, 900_000), (7_200, 800_000)]);
    let mut book = PriceBook::default();
    ask(&mut book, &prices, 10);
    ask(&mut book, &prices, 8_000);
    written(&mut book, 1).unwrap();
    // Less than fifteen minutes are another clock's.
    ask(&mut book, &prices, 7_900);
    assert_eq!(book.until(), Some(second(8_000)));
    ask(&mut book, &prices, 700);
    assert_eq!(book.until(), Some(second(700)));
    let update = written(&mut book, 5).unwrap();
    assert_eq!(update.rewound, Some(second(700)));
    let mut stored = PriceBook::default();
    ask(&mut stored, &prices, 10);
    ask(&mut stored, &prices, 8_000);
    stored.apply(&update);
    assert!(stored.rows().eq(book.rows()) && stored.until() == book.until());
    ask(&mut book, &prices, 7_300);
    let expected = [(10, 1_000_000), (600, 900_000), (7_200, 800_000)];
    assert_eq!(segments(&book, 10, 7_300), expected);
}

#[test]
fn old_prices_are_forgotten_and_those_of_open_machines_are_not() {
    let day = 86_400;
    let prices: Vec<(i64, i64)> = (0..200).map(|at| (at * day, 1_000_000 + at)).collect();
    let market = market(&prices);
    let kept = |oldest: Option<i64>| {
        let mut book = PriceBook::default();
        for at in 0..200 {
            ask(&mut book, &market, at * day);
            let now = Now { market: second(at * day), wall: second(at * day) };
            let update = book.write(oldest.map(second), now);
            update.iter().for_each(|update| book.apply(update));
        }
        let spot = book.rows().filter(|row| row.key.capacity_type == CapacityType::Spot);
        spot.map(|row| row.at).next().unwrap()
    };
    assert!((second(107 * day)..=second(109 * day)).contains(&kept(None)));
    assert_eq!(kept(Some(20 * day + 7)), second(20 * day), "in force at its launch");
}

fn more() -> ProptestConfig {
    ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000))
}

proptest! {
    #![proptest_config(more())]

    /// However often it is asked, in whatever order it answers, after whatever silence, and
    /// whoever goes on from the store: the past costs what the market says.
    #[test]
    fn the_past_costs_what_the_market_says(
        // Few prices: one that comes again is news after another.
        steps in prop::collection::vec((1i64..600, (1i64..4).prop_map(|n| n * 500_000)), 1..30),
        looks in prop::collection::vec((1i64..2_000, any::<[bool; 3]>()), 1..30),
    ) {
        let mut at = 0;
        let prices: Vec<(i64, i64)> = steps.iter().map(|(span, micros)| {
            at += span;
            (at - steps[0].0, *micros)
        }).collect();
        let market = market(&prices);
        let mut book = PriceBook::default();
        let mut kept = PriceBook::default();
        let (mut now, mut first) = (0, None);
        for (span, [silent, disordered, restarted]) in looks {
            now += span;
            if silent {
                continue;
            }
            if restarted {
                book = reopened(&kept);
            }
            let PriceQuestion { since, all } = book.question(first.map(second));
            let mut answer = market.prices_since(since, all, second(now));
            if disordered {
                answer.changes.extend(market.prices_since(Some(second(0)), false, second(now)).changes);
                answer.changes.reverse();
            }
            book.hear(answer, second(now));
            first = first.or(Some(now));
            // Not every time, and a crash loses what was not written.
            if let Some(update) = written(&mut book, now) {
                kept.apply(&update);
            }
        }
        let Some(first) = first else { return Ok(()) };
        let until = book.until().unwrap().as_second() - second(0).as_second();
        let MarketKey { zone, instance_type, .. } = spot();
        let expected =
            market.segments(&zone, &instance_type, CapacityType::Spot, second(first), second(until));
        if first < until {
            prop_assert_eq!(book.segments(&spot(), second(first), second(until)), expected);
        }
        prop_assert_eq!(book.refused, 0);
    }
}
