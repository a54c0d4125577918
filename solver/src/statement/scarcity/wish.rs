//! What the jobs of a round want over time, as classes of the program.

use std::collections::BTreeMap;

use super::program::{Class, Problem, Way};
use super::stock::Stock;
use crate::statement::ask::Ask;
use crate::statement::choice::MUST_GO_HOURS;
use crate::statement::prices::PLAIN;

/// Hours of the first bucket; each further one is twice as long.
const FIRST_HOURS: f64 = 1.0;
/// Buckets at most: 1,023 hours.
const MOST_BUCKETS: usize = 10;

/// Whether all jobs together fit what is free now of every kind of spot that
/// they may take.
pub(super) fn all_fit(asks: &[Ask<'_>], stocks: &[Stock]) -> bool {
    let mut wanted = vec![[0.0; PLAIN]; stocks.len()];
    for ask in asks {
        for way in ask.later.ways_in(stocks, ask.nodes).filter(|(_, way)| way.is_spot()) {
            let way = way.1;
            let of = wanted.get_mut(way.kind as usize).into_iter().flatten();
            of.zip(way.parts(ask.nodes)).for_each(|(sum, part)| *sum += part);
        }
    }
    let fits = |(wanted, stock): (&[f64; PLAIN], &Stock)| {
        wanted.iter().zip(stock.free).all(|(wanted, free)| *wanted <= free + 1e-9)
    };
    wanted.iter().zip(stocks).all(fits)
}

/// By what jobs of like needs are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// By the bucket of their deadline, and that of their latest start.
    Slack,
    /// By the bucket of their deadline.
    Deadline,
}

/// Jobs that are added up to one class.
#[derive(Default)]
struct Sum {
    count: f64,
    due: f64,
    hourly: f64,
    /// By way: hours, dollars.
    ways: Vec<(f64, f64)>,
    /// One of them.
    ask: usize,
}

/// The program of a round's jobs on what there is.
pub(super) fn problem(asks: &[Ask<'_>], stocks: &[Stock], detail: Detail) -> Problem {
    let wants = || asks.iter().enumerate().filter(|(_, ask)| !ask.later.ways.is_empty());
    let last = wants().map(|(_, ask)| f64::from(ask.later.due)).fold(0.0, f64::max);
    let ends = ends(last);
    let bucket = |hour: f32| ends.partition_point(|end| *end < f64::from(hour));
    let mut sums: BTreeMap<Vec<u32>, Sum> = BTreeMap::new();
    for (at, ask) in wants() {
        let later = &ask.later;
        let mut key = vec![ask.nodes, u32::try_from(bucket(later.due)).unwrap_or(u32::MAX)];
        if detail == Detail::Slack {
            key.push(u32::try_from(bucket(later.until)).unwrap_or(u32::MAX));
        }
        for (_, way) in later.ways_in(stocks, ask.nodes) {
            key.push(way.kind);
            key.extend(way.parts.map(f32::to_bits));
        }
        let none = || Sum {
            ways: vec![(0.0, 0.0); later.ways_in(stocks, ask.nodes).count()],
            ask: at,
            ..Sum::default()
        };
        let sum = sums.entry(key).or_insert_with(none);
        sum.count += 1.0;
        sum.due += f64::from(later.due);
        sum.hourly += ask.hourly();
        for ((stock, way), (hours, dollars)) in later.ways_in(stocks, ask.nodes).zip(&mut sum.ways)
        {
            *hours += f64::from(way.hours);
            *dollars +=
                stock.price * f64::from(way.hours) * f64::from(way.fraction) * f64::from(ask.nodes);
        }
    }
    let starts = || std::iter::once(0.0).chain(ends.iter().copied());
    let machines = |stock: &Stock| {
        starts().zip(&ends).map(|(start, end)| stock.between(start, *end)).collect()
    };
    Problem {
        machines: stocks.iter().map(machines).collect(),
        classes: sums.values().filter_map(|sum| class(sum, asks, stocks)).collect(),
        ends,
    }
}

/// The mean of its jobs.
fn class(sum: &Sum, asks: &[Ask<'_>], stocks: &[Stock]) -> Option<Class> {
    let ask = asks.get(sum.ask)?;
    let ways = ask.later.ways_in(stocks, ask.nodes);
    let ways = ways.zip(&sum.ways).map(|((_, way), (hours, dollars))| Way {
        kind: way.kind as usize,
        hours: hours / sum.count,
        parts: way.parts(ask.nodes),
        dollars: dollars / sum.count,
    });
    let ways: Vec<Way> = ways.collect();
    let dearest = ways.iter().map(|way| way.dollars).fold(0.0, f64::max);
    // Dearer than any way in time.
    let miss = dearest + sum.hourly / sum.count * MUST_GO_HOURS;
    Some(Class { count: sum.count, due: sum.due / sum.count, miss, ways })
}

/// Buckets from now to the last deadline, each twice as long as the one before.
fn ends(last: f64) -> Vec<f64> {
    let (mut end, mut width) = (0.0, FIRST_HOURS);
    let mut ends = Vec::new();
    while (ends.is_empty() || end < last) && ends.len() < MOST_BUCKETS {
        end += width;
        width *= 2.0;
        ends.push(end);
    }
    ends
}
