//! What the jobs of a round want over time, as classes of the program.

use std::collections::BTreeMap;

use super::program::{Class, ClassOption, Problem};
use super::supply::Supply;
use crate::statement::choice::MUST_GO_HOURS;
use crate::statement::demand::JobDemand;
use crate::statement::prices::PLAIN;

/// Hours of the first bucket; each further one is twice as long.
const FIRST_HOURS: f64 = 1.0;
/// Buckets at most: 1,023 hours.
const MOST_BUCKETS: usize = 10;

/// Whether all jobs together fit what is free now of every kind of spot that
/// they may take.
pub(super) fn all_fit(demands: &[JobDemand<'_>], supplies: &[Supply]) -> bool {
    let mut wanted = vec![[0.0; PLAIN]; supplies.len()];
    for demand in demands {
        for option in
            demand.later.options_in(supplies, demand.nodes).filter(|(_, option)| option.is_spot())
        {
            let option = option.1;
            let of = wanted.get_mut(option.kind as usize).into_iter().flatten();
            of.zip(option.parts(demand.nodes)).for_each(|(sum, part)| *sum += part);
        }
    }
    let fits = |(wanted, supply): (&[f64; PLAIN], &Supply)| {
        wanted.iter().zip(supply.free).all(|(wanted, free)| *wanted <= free + 1e-9)
    };
    wanted.iter().zip(supplies).all(fits)
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
    options: Vec<(f64, f64)>,
    /// One of them.
    demand: usize,
}

/// The program of a round's jobs on what there is.
pub(super) fn problem(demands: &[JobDemand<'_>], supplies: &[Supply], detail: Detail) -> Problem {
    let requests =
        || demands.iter().enumerate().filter(|(_, demand)| !demand.later.options.is_empty());
    let last = requests().map(|(_, demand)| f64::from(demand.later.due)).fold(0.0, f64::max);
    let ends = ends(last);
    let bucket = |hour: f32| ends.partition_point(|end| *end < f64::from(hour));
    let mut sums: BTreeMap<Vec<u32>, Sum> = BTreeMap::new();
    for (at, demand) in requests() {
        let later = &demand.later;
        let mut key = vec![demand.nodes, u32::try_from(bucket(later.due)).unwrap_or(u32::MAX)];
        if detail == Detail::Slack {
            key.push(u32::try_from(bucket(later.until)).unwrap_or(u32::MAX));
        }
        for (_, option) in later.options_in(supplies, demand.nodes) {
            key.push(option.kind);
            key.extend(option.parts.map(f32::to_bits));
        }
        let none = || Sum {
            options: vec![(0.0, 0.0); later.options_in(supplies, demand.nodes).count()],
            demand: at,
            ..Sum::default()
        };
        let sum = sums.entry(key).or_insert_with(none);
        sum.count += 1.0;
        sum.due += f64::from(later.due);
        sum.hourly += demand.hourly();
        for ((supply, option), (hours, dollars)) in
            later.options_in(supplies, demand.nodes).zip(&mut sum.options)
        {
            *hours += f64::from(option.hours);
            *dollars += supply.price
                * f64::from(option.hours)
                * f64::from(option.fraction)
                * f64::from(demand.nodes);
        }
    }
    let starts = || std::iter::once(0.0).chain(ends.iter().copied());
    let machines = |supply: &Supply| {
        starts().zip(&ends).map(|(start, end)| supply.between(start, *end)).collect()
    };
    Problem {
        machines: supplies.iter().map(machines).collect(),
        classes: sums.values().filter_map(|sum| class(sum, demands, supplies)).collect(),
        ends,
    }
}

/// The mean of its jobs.
fn class(sum: &Sum, demands: &[JobDemand<'_>], supplies: &[Supply]) -> Option<Class> {
    let demand = demands.get(sum.demand)?;
    let options = demand.later.options_in(supplies, demand.nodes);
    let options = options.zip(&sum.options).map(|((_, option), (hours, dollars))| ClassOption {
        kind: option.kind as usize,
        hours: hours / sum.count,
        parts: option.parts(demand.nodes),
        dollars: dollars / sum.count,
    });
    let options: Vec<ClassOption> = options.collect();
    let dearest = options.iter().map(|option| option.dollars).fold(0.0, f64::max);
    // Dearer than any way in time.
    let miss = dearest + sum.hourly / sum.count * MUST_GO_HOURS;
    Some(Class { count: sum.count, due: sum.due / sum.count, miss, options })
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
