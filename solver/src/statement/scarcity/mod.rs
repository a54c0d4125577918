//! Scarcity over time: linear for the future, integers for now.
//!
//! A round decides what runs now; the jobs that it leaves waiting all want
//! machines later, and a job that takes one now keeps it for hours. A linear
//! program over buckets of time ([`program`]) shares later machines out among
//! all jobs. The duals of its machines are the prices under which the round
//! compares: a job that takes a machine now pays for the hours that it holds it
//! beyond the first bucket, and a job that waits is worth what its cheapest
//! later start costs under the same prices, at most its way out on demand.
//!
//! Prices are zero, and nothing is changed, where all that waits fits what is
//! free now. A machine that nobody else wants is taken in any case.

mod demand_classes;
mod program;
mod supply;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::statement::demand::JobDemand;
use crate::statement::input::PlanInput;
use crate::statement::later::LaterOptions;
use crate::statement::market::Market;
use crate::statement::prices::{PLAIN, dot, parts, takes, whole};
use demand_classes::problem;
use program::{Optimum, solve};
use supply::{Supply, supplies};

/// Columns beyond which the program is not asked.
const MOST_COLUMNS: usize = 4_000;
/// A round with less time is decided without prices.
const LEAST_TIME: Duration = Duration::from_millis(1);

/// How it went with the prices of later machines.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Scarcity {
    /// All that waits fits what is free: later machines have no price.
    #[default]
    Plenty,
    /// Later machines have prices.
    Priced(LaterPrices),
    /// The program would have too many columns: no prices.
    TooLarge {
        /// Its columns.
        columns: usize,
    },
    /// The round has no time: no prices.
    NoTime,
    /// A figure is none, or HiGHS has no answer: no prices.
    NoAnswer,
}

impl Scarcity {
    /// The prices, where there are any.
    pub(crate) const fn prices(&self) -> Option<&LaterPrices> {
        match self {
            Self::Priced(prices) => Some(prices),
            Self::Plenty | Self::TooLarge { .. } | Self::NoTime | Self::NoAnswer => None,
        }
    }
}

/// What later machines cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaterPrices {
    /// Classes of jobs.
    pub classes: usize,
    /// Columns of the program.
    pub columns: usize,
    /// The least dollars for all jobs of the round, from now until they are done.
    pub dollars: f64,
    /// Where each bucket of time ends, in hours from now.
    pub ends: Vec<f64>,
    /// Dollars an hour of one more machine of the scarcest kind, by bucket.
    pub dearest: Vec<f64>,
    /// Dollars an hour of one more machine, by kind, bucket and resource.
    prices: Vec<Vec<[f64; PLAIN]>>,
    /// Machines, likewise.
    machines: Vec<Vec<[f64; PLAIN]>>,
    /// What there is, by kind.
    supplies: Vec<Supply>,
}

/// Prices what is scarce later for the jobs of a round.
pub(crate) fn price(input: &PlanInput, market: &Market<'_>, demands: &[JobDemand<'_>]) -> Scarcity {
    if input.time_limit < LEAST_TIME {
        return Scarcity::NoTime;
    }
    let supplies = supplies(input, market);
    if demand_classes::all_fit(demands, &supplies) {
        return Scarcity::Plenty;
    }
    let mut problem = problem(demands, &supplies, demand_classes::Detail::Slack);
    if problem.columns() > MOST_COLUMNS {
        problem = demand_classes::problem(demands, &supplies, demand_classes::Detail::Deadline);
    }
    let columns = problem.columns();
    if columns > MOST_COLUMNS {
        return Scarcity::TooLarge { columns };
    }
    let Some(Optimum { dollars, prices }) = solve(&problem) else { return Scarcity::NoAnswer };
    let bucket = |at: usize| {
        let of_kind = |kind: &Vec<[f64; PLAIN]>| kind.get(at).map(|r| r.iter().sum());
        prices.iter().filter_map(of_kind).fold(0.0, f64::max)
    };
    Scarcity::Priced(LaterPrices {
        classes: problem.classes.len(),
        columns,
        dollars,
        dearest: (0..problem.ends.len()).map(bucket).collect(),
        ends: problem.ends,
        prices,
        machines: problem.machines,
        supplies,
    })
}

/// What machines held from an hour on cost beyond their own price, up to any
/// later hour: linear within each bucket.
#[derive(Clone, Debug)]
struct Holding {
    /// Where each bucket begins and ends, what came before it, and what an hour
    /// of it costs.
    buckets: Vec<(f64, f64, f64, f64)>,
}

impl Holding {
    /// From now until an hour.
    fn until(&self, hour: f64) -> f64 {
        let bucket = self.buckets.iter().rev().find(|bucket| bucket.0 < hour);
        bucket.map_or(0.0, |(start, end, before, rate)| before + (hour.min(*end) - start) * rate)
    }
}

impl LaterPrices {
    /// Adds to a job's candidates what their machines cost while others want them.
    pub(crate) fn charge(&self, demand: &mut JobDemand<'_>, market: &Market<'_>) {
        let mut known: Vec<(usize, usize, Holding)> = Vec::new();
        for candidate in std::sync::Arc::make_mut(&mut demand.candidates) {
            let Some(listing) = market.listings.get(candidate.listing()) else { continue };
            let kind = listing.kind();
            let at =
                known.iter().position(|(share, of, _)| (*share, *of) == (candidate.kind(), kind));
            let at = at.unwrap_or_else(|| {
                let share =
                    demand.kinds.get(candidate.kind()).map(|kind| kind.share).unwrap_or_default();
                let one = parts(takes(&share, &listing.offer.shape), whole(listing));
                let all = one.map(|part| part.min(1.0) * f64::from(demand.nodes));
                known.push((candidate.kind(), kind, self.holding(kind, &all)));
                known.len() - 1
            });
            if let Some((.., holding)) = known.get(at) {
                candidate.charge(holding.until(candidate.hours()));
            }
        }
    }

    /// What it costs to hold this many machines, of each resource. The first
    /// bucket is for the round itself to price.
    fn holding(&self, kind: usize, parts: &[f64; PLAIN]) -> Holding {
        let none = Vec::new();
        let prices = self.prices.get(kind).unwrap_or(&none);
        let (mut start, mut before) = (0.0, 0.0);
        let mut buckets = Vec::with_capacity(prices.len());
        for (at, (end, price)) in self.ends.iter().zip(prices).enumerate() {
            let rate = if at == 0 { 0.0 } else { dot(price, parts) };
            buckets.push((start, *end, before, rate));
            before += (end - start) * rate;
            start = *end;
        }
        Holding { buckets }
    }

    /// The least that a job pays that gets nothing now and starts on spot in a
    /// later bucket, before its latest start: machines of its own, and what is
    /// scarce by then. `None` if no later start is in time, or nothing is there.
    pub(crate) fn later_start(&self, nodes: u32, later: &LaterOptions) -> Option<f64> {
        let mut least: Option<f64> = None;
        for (supply, option) in
            later.options_in(&self.supplies, nodes).filter(|(_, option)| option.is_spot())
        {
            let (kind, hours) = (option.kind as usize, f64::from(option.hours));
            let Some(machines) = self.machines.get(kind) else { continue };
            let parts = option.parts(nodes);
            let holding = self.holding(kind, &parts);
            let own = supply.price * hours * f64::from(nodes);
            for (start, machines) in self.ends.iter().zip(machines.iter().skip(1)) {
                let there = machines.iter().zip(parts).all(|(have, part)| part <= have + 1e-9);
                if *start > f64::from(later.until) || !there {
                    continue;
                }
                let scarce = holding.until(start + hours) - holding.until(*start);
                let dollars = own + scarce;
                least = Some(least.map_or(dollars, |least| least.min(dollars)));
            }
        }
        least
    }
}
