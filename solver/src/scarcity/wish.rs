//! What the jobs of a round want over time, as classes of the program.

use std::collections::BTreeMap;

use spotwise_model::time::{between, hours};

use super::program::{Class, Problem, Way};
use super::stock::Stock;
use super::{FIRST_HOURS, KINDS, MOST_BUCKETS, kind_of};
use crate::choice::{Case, MUST_GO_HOURS};
use crate::market::Market;
use crate::prices::{PLAIN, parts, takes, whole};
use crate::round::Ask;
use crate::value::{Standing, affordable, kind_allows};

/// What a job may take later, and by when it has to have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Later {
    /// Hours from now to its latest start on demand.
    pub(super) until: f32,
    /// Hours from now to its deadline.
    due: f32,
    /// What it may take, the quickest of each kind of machine.
    pub(super) ways: Box<[LaterWay]>,
}

/// A kind of machine for a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaterWay {
    pub(super) kind: u32,
    /// On its machines until it is done.
    pub(super) hours: f32,
    /// The part of a machine that a node takes, by the resource that it takes
    /// most of.
    fraction: f32,
    /// The same for each resource.
    parts: [f32; PLAIN],
}

impl LaterWay {
    pub(super) const fn is_spot(&self) -> bool {
        (self.kind as usize).is_multiple_of(KINDS)
    }

    /// Machines of each resource for all nodes.
    pub(super) fn parts(&self, nodes: u32) -> [f64; PLAIN] {
        self.parts.map(|part| f64::from(part) * f64::from(nodes))
    }
}

impl Later {
    /// The ways that have an offer with machines for all nodes.
    pub(super) fn ways_in<'l>(
        &'l self,
        stocks: &'l [Stock],
        nodes: u32,
    ) -> impl Iterator<Item = (&'l Stock, &'l LaterWay)> {
        let stock = move |way: &LaterWay| stocks.get(way.kind as usize);
        let ways = self.ways.iter().filter_map(move |way| Some((stock(way)?, way)));
        ways.filter(move |(stock, _)| stock.largest >= f64::from(nodes))
    }

    /// What a valued job may take later. One whose deadline asks for on-demand
    /// takes nothing else any more.
    pub(crate) fn of(case: &Case<'_>, market: &Market<'_>, now: jiff::Timestamp) -> Self {
        let steady_only = case.standing == Standing::Net;
        let mut ways: Vec<LaterWay> = Vec::new();
        for estimate in &case.estimates {
            let Some(listing) = market.listings.get(estimate.listing) else { continue };
            let allowed = kind_allows(case.job, listing)
                && affordable(case.job, estimate)
                && !(steady_only && listing.is_spot());
            let Ok(kind) = u32::try_from(kind_of(listing)) else { continue };
            if !allowed {
                continue;
            }
            let hours = hours(estimate.occupied) as f32;
            match ways.iter_mut().find(|way| way.kind == kind) {
                Some(way) => way.hours = way.hours.min(hours),
                None => {
                    let taken = takes(&estimate.share, &listing.offer.shape);
                    let parts = parts(taken, whole(listing)).map(|part| part.min(1.0) as f32);
                    let fraction = estimate.fraction as f32;
                    ways.push(LaterWay { kind, hours, fraction, parts });
                }
            }
        }
        let from_now = |time| hours(between(now, time)) as f32;
        let least = ways.iter().map(|way| way.hours).fold(f32::INFINITY, f32::min);
        Self {
            until: if case.latest_start() > now { from_now(case.latest_start()) } else { 0.0 },
            // A late job is done as soon as can be.
            due: if case.job.deadline > now { from_now(case.job.deadline) } else { 0.0 }
                .max(if least.is_finite() { least } else { 0.0 }),
            ways: ways.into(),
        }
    }
}

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
