//! Spot prices that change in the middle of an hour, however their history was reported,
//! against a reference in fractions.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::instance::EndedBy;
use spotwise_model::policy::Policy;
use spotwise_model::{
    CapacityType, Instance, InstanceId, InstanceState, MarketKey, NodeShape, OfferKey, Price,
};

use super::{InstanceBill, charge_instance};
use spotwise_market::{Market, MarketSeries, Row};

/// The market begins here.
const START: i64 = 1_700_000_000;
const ON_DEMAND: i64 = 3_060_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Rows as a feed may report them: late, out of order, several for one second, and without
/// their price.
fn rows() -> impl Strategy<Value = Vec<(i64, Option<i64>)>> {
    let price = prop::option::weighted(0.9, ON_DEMAND / 10..ON_DEMAND);
    let second = prop_oneof![0i64..9_000, (0i64..5).prop_map(|hour| hour * 1_800)];
    prop::collection::vec((second, price), 1..12)
}

/// The price in force: that of the last row up to then that has one, the later in the list
/// for two of one second. Before the first row its own price applies; before any price, the
/// most that spot can cost.
fn price_at(rows: &[(i64, Option<i64>)], second: i64) -> i64 {
    let first = rows.iter().map(|(at, _)| *at).min().unwrap();
    let told = rows.iter().filter(|(at, price)| *at <= second.max(first) && price.is_some());
    told.max_by_key(|(at, _)| *at).and_then(|(_, price)| *price).unwrap_or(ON_DEMAND)
}

/// What each span of one price costs, in 1/3,600 micro-dollars: the numerators of exact
/// fractions.
fn reference(rows: &[(i64, Option<i64>)], from: i64, to: i64) -> Vec<i128> {
    let mut cuts: BTreeSet<i64> = rows.iter().map(|(at, _)| *at).collect();
    cuts.retain(|cut| (from + 1..to).contains(cut));
    let begins: Vec<i64> = [from].into_iter().chain(cuts).collect();
    let ends = begins.iter().skip(1).copied().chain([to]);
    let mut stretches: Vec<(i64, i128)> = Vec::new();
    for (begin, end) in begins.iter().copied().zip(ends) {
        let price = price_at(rows, begin);
        let cost = i128::from(price) * i128::from(end - begin);
        match stretches.last_mut() {
            Some((last, sum)) if *last == price => *sum += cost,
            _ => stretches.push((price, cost)),
        }
    }
    stretches.into_iter().map(|(_, cost)| cost).collect()
}

fn half_even(numerator: i128) -> i64 {
    let (whole, rest) = (numerator / 3_600, numerator % 3_600);
    let up = rest * 2 > 3_600 || (rest * 2 == 3_600 && whole % 2 == 1);
    i64::try_from(whole + i128::from(up)).unwrap()
}

/// What the product charges for a machine of that life, in micro-dollars.
fn charged(rows: &[(i64, Option<i64>)], from: i64, to: i64) -> i64 {
    let offer = OfferKey::recorded(
        PoolName::new("local"),
        Zone::new("us-east-1a"),
        InstanceType::new("p3.2xlarge"),
        CapacityType::Spot,
    );
    let shape = NodeShape { gpus: 1, cpu_milli: 8_000, ..NodeShape::default() };
    let row = |(second, price): &(i64, Option<i64>)| Row {
        at: at(START + second),
        available: 4,
        price: price.map(Price::from_micros_per_hour),
    };
    let series = MarketSeries {
        zone: offer.market.zone.clone(),
        instance_type: offer.market.instance_type.clone(),
        shape: shape.clone(),
        on_demand: Price::from_micros_per_hour(ON_DEMAND),
        rows: rows.iter().map(row).collect(),
    };
    let market = Market::new(vec![series], None).unwrap();
    let (from, to) = (at(START + from), at(START + to));
    let MarketKey { zone, instance_type, capacity_type, .. } = &offer.market;
    let quote = market.quote(zone, instance_type, *capacity_type, from).unwrap();
    let segments = market.segments(zone, instance_type, *capacity_type, from, to);
    let live = Instance {
        id: InstanceId(1),
        offer: offer.clone(),
        shape,
        launch_price: quote.price,
        on_demand: Price::from_micros_per_hour(ON_DEMAND),
        state: InstanceState::Registered { since: from },
        coverage: Vec::new(),
        provider: None,
        token: None,
    };
    let entries = charge_instance(&InstanceBill {
        instance: &live.end(to, EndedBy::Us).unwrap(),
        segments: &segments,
        on_demand: Price::from_micros_per_hour(ON_DEMAND),
        uses: Vec::new(),
        termination: std::time::Duration::ZERO,
        policy: &Policy::default(),
    });
    entries.iter().map(|entry| entry.amount.micros()).sum()
}

/// More if `PROPTEST_CASES` says so.
fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(ProptestConfig::default().cases.max(20_000))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn price_change_midhour(rows in rows(), from in 0i64..5_000, life in 60i64..5_000) {
        let paid = charged(&rows, from, from + life);
        let stretches = reference(&rows, from, from + life);
        prop_assert_eq!(paid, stretches.iter().copied().map(half_even).sum::<i64>());
        // And never further from the exact sum than half a micro-dollar a stretch.
        let exact: i128 = stretches.iter().sum();
        let off = (i128::from(paid) * 3_600 - exact).abs();
        prop_assert!(off * 2 <= 3_600 * i128::try_from(stretches.len()).unwrap());
    }

    /// The order in which rows of different times arrived does not matter.
    #[test]
    fn late_prices_cost_what_prices_in_time_do(rows in rows(), life in 60i64..9_000) {
        let mut sorted = rows.clone();
        sorted.sort_by_key(|(second, _)| *second);
        prop_assert_eq!(charged(&rows, 0, life), charged(&sorted, 0, life));
    }
}
