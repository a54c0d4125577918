use proptest::prelude::*;
use spotwise_model::NodeShape;

use super::super::quote::Row;
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn price(micros: i64) -> Price {
    Price::from_micros_per_hour(micros)
}

fn row(second: i64, available: u32, micros: i64) -> Row {
    Row { at: at(second), available, price: (micros > 0).then(|| price(micros)) }
}

fn series(zone: &str, rows: Vec<Row>) -> MarketSeries {
    MarketSeries {
        zone: Zone::new(zone),
        instance_type: InstanceType::new("p3.2xlarge"),
        shape: NodeShape::default(),
        on_demand: price(3_060_000),
        rows,
    }
}

fn market(rows: Vec<Row>) -> Market {
    Market::new(vec![series("z1", rows)], None).unwrap()
}

fn spot(market: &Market, second: i64) -> MarketQuote {
    market
        .quote(&Zone::new("z1"), &InstanceType::new("p3.2xlarge"), CapacityType::Spot, at(second))
        .unwrap()
}

#[test]
fn a_row_holds_until_the_next_and_the_last_for_ever() {
    let market = market(vec![row(100, 0, 900_000), row(200, 4, 800_000), row(300, 2, 800_000)]);
    assert_eq!((spot(&market, 199).available, spot(&market, 199).price), (0, price(900_000)));
    assert_eq!((spot(&market, 200).available, spot(&market, 200).price), (4, price(800_000)));
    let late = spot(&market, 1_000_000);
    assert_eq!((late.available, late.spell_since), (2, at(200)), "fewer machines, same spell");
    assert_eq!((market.start(), market.end()), (at(100), at(300)));
}

#[test]
fn before_its_first_row_a_series_has_no_capacity() {
    let rows = vec![row(500, 3, 900_000)];
    let market =
        Market::new(vec![series("z1", rows), series("z2", vec![row(0, 1, 1)])], Some(at(900)))
            .unwrap();
    assert_eq!((spot(&market, 100).available, spot(&market, 100).price), (0, price(900_000)));
    assert_eq!((market.start(), market.end()), (at(0), at(900)));
}

#[test]
fn every_zone_is_quoted_twice() {
    let market = market(vec![row(0, 1, 900_000)]);
    let quotes = market.quotes(at(10));
    let kinds: Vec<_> = quotes.iter().map(|quote| quote.capacity_type).collect();
    assert_eq!(kinds, [CapacityType::Spot, CapacityType::OnDemand]);
    assert_eq!(quotes[1].price, price(3_060_000));
    assert_eq!((quotes[1].hazard_per_hour, quotes[1].available), (0.0, ON_DEMAND_AVAILABLE));
    assert_eq!(quotes[0], spot(&market, 10));
}

#[test]
fn a_commitment_is_quoted_while_it_pays() {
    let paid = |name: &str, zone: &str, from, until| Commitment {
        name: name.to_owned(),
        instance_type: InstanceType::new("p3.2xlarge"),
        zone: Zone::new(zone),
        machines: 2,
        price: price(1_920_000),
        from: at(from),
        until: at(until),
    };
    let market = market(vec![row(0, 1, 900_000), row(20, 2, 900_000)]);
    let before = market.clone();
    let market =
        market.with_commitments(vec![paid("a", "z1", 10, 30), paid("nowhere", "z9", 10, 30)]);
    let reserved = |second| {
        let mut quotes = market.quotes(at(second));
        quotes.retain(|quote| quote.capacity_type == CapacityType::Reserved);
        quotes.into_iter().map(|q| (q.available, q.price, q.on_demand)).collect::<Vec<_>>()
    };
    let seats = vec![(2, price(1_920_000), price(3_060_000))];
    assert_eq!([9, 10, 29, 30].map(reserved), [vec![], seats.clone(), seats, vec![]]);
    assert_eq!(market.quotes(at(9)), before.quotes(at(9)));
    assert_eq!(market.quotes(at(10))[..2], before.quotes(at(10))[..]);
    let ends = [0, 10, 20].map(|second| market.next_change(at(second)));
    assert_eq!(ends, [Some(at(10)), Some(at(20)), Some(at(30))]);
    assert_eq!(market.next_change(at(30)), None);
}

#[test]
fn a_bad_quote_is_held_at_the_last_good_one() {
    let bad = [
        row(10, 1, 0),
        Row { at: at(20), available: 1, price: Some(Price::ZERO) },
        row(30, 1, 900_000_000),
        row(40, 1, 900),
    ];
    let mut rows = vec![row(0, 1, 900_000)];
    rows.extend(bad);
    rows.push(row(50, 1, 910_000));
    let market = market(rows);
    for second in [10, 20, 30, 40] {
        assert_eq!(spot(&market, second).price, price(900_000), "{second}");
    }
    assert_eq!(spot(&market, 50).price, price(910_000));
    let [anomaly] = market.anomalies() else { panic!("one series has an alarm") };
    assert_eq!((anomaly.bad_quotes, anomaly.first_at), (4, at(10)));
}

#[test]
fn a_first_quote_that_is_bad_counts_as_on_demand() {
    let market = market(vec![row(0, 1, 0), row(10, 1, 900_000)]);
    assert_eq!(spot(&market, 0).price, price(3_060_000));
    assert_eq!(spot(&market, 10).price, price(900_000));
}

#[test]
fn changes_come_in_order() {
    let all_series = vec![
        series("z1", vec![row(0, 1, 9), row(30, 0, 9)]),
        series("z2", vec![row(0, 1, 9), row(20, 0, 9)]),
    ];
    let market = Market::new(all_series, None).unwrap();
    assert_eq!(market.next_change(at(-1)), Some(at(0)));
    assert_eq!(market.next_change(at(0)), Some(at(20)));
    assert_eq!(market.next_change(at(20)), Some(at(30)));
    assert_eq!(market.next_change(at(30)), None);
}

#[test]
fn what_is_not_there_has_no_price() {
    assert!(Market::new(vec![series("z1", Vec::new())], None).is_none());
    let market = market(vec![row(0, 1, 9)]);
    let other = InstanceType::new("p4d.24xlarge");
    let spot = CapacityType::Spot;
    assert!(market.segments(&Zone::new("z1"), &other, spot, at(0), at(9)).is_empty());
    assert!(market.quote(&Zone::new("z1"), &other, spot, at(0)).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn segments_cover_what_was_asked_for(
        steps in proptest::collection::vec((1i64..50, 1_000_000i64..1_000_004), 1..40),
        from in -100i64..1_500,
        length in 1i64..1_500,
    ) {
        let mut second = 0;
        let mut rows = Vec::new();
        for (gap, micros) in steps {
            second += gap;
            rows.push(row(second, 1, micros));
        }
        let market = market(rows);
        let (zone, kind) = (Zone::new("z1"), InstanceType::new("p3.2xlarge"));
        let to = from + length;
        let segments = market.segments(&zone, &kind, CapacityType::Spot, at(from), at(to));
        prop_assert_eq!(segments.first().unwrap().from, at(from));
        prop_assert_eq!(segments.last().unwrap().to, at(to));
        for pair in segments.windows(2) {
            prop_assert_eq!(pair[0].to, pair[1].from);
            prop_assert_ne!(pair[0].price, pair[1].price);
        }
        for second in from..to {
            let inside = segments.iter().find(|s| s.from <= at(second) && at(second) < s.to);
            prop_assert_eq!(inside.unwrap().price, spot(&market, second).price);
        }
    }

    #[test]
    fn a_quote_depends_on_no_later_row(
        steps in proptest::collection::vec((1i64..9_000, 0u32..2, 900_000i64..900_009), 2..40),
        cut in 1usize..40,
    ) {
        let mut second = 0;
        let rows: Vec<Row> = steps
            .into_iter()
            .map(|(gap, available, micros)| {
                second += gap;
                row(second, available, micros)
            })
            .collect();
        let cut = cut.min(rows.len());
        let now = rows[cut - 1].at;
        let known = market(rows[..cut].to_vec());
        let whole = market(rows);
        prop_assert_eq!(known.quotes(now), whole.quotes(now));
    }
}
