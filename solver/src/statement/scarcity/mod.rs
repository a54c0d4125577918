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

mod program;
mod stock;
#[cfg(test)]
mod tests;
mod wish;

use std::time::Duration;

use crate::statement::ask::Ask;
use crate::statement::input::PlanInput;
use crate::statement::later::Later;
use crate::statement::market::Market;
use crate::statement::prices::{PLAIN, dot, parts, takes, whole};
use program::{Answer, solve};
use stock::{Stock, stocks};
use wish::problem;

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
    stocks: Vec<Stock>,
}

/// Prices what is scarce later for the jobs of a round.
pub(crate) fn price(input: &PlanInput, market: &Market<'_>, asks: &[Ask<'_>]) -> Scarcity {
    if input.time_limit < LEAST_TIME {
        return Scarcity::NoTime;
    }
    let stocks = stocks(input, market);
    if wish::all_fit(asks, &stocks) {
        return Scarcity::Plenty;
    }
    let mut problem = problem(asks, &stocks, wish::Detail::Slack);
    if problem.columns() > MOST_COLUMNS {
        problem = wish::problem(asks, &stocks, wish::Detail::Deadline);
    }
    let columns = problem.columns();
    if columns > MOST_COLUMNS {
        return Scarcity::TooLarge { columns };
    }
    let Some(Answer { dollars, prices }) = solve(&problem) else { return Scarcity::NoAnswer };
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
        stocks,
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
    /// Adds to a job's pairs what their machines cost while others want them.
    pub(crate) fn charge(&self, ask: &mut Ask<'_>, market: &Market<'_>) {
        let mut known: Vec<(usize, usize, Holding)> = Vec::new();
        for pair in std::sync::Arc::make_mut(&mut ask.pairs) {
            let Some(listing) = market.listings.get(pair.listing()) else { continue };
            let kind = listing.kind();
            let at = known.iter().position(|(share, of, _)| (*share, *of) == (pair.kind(), kind));
            let at = at.unwrap_or_else(|| {
                let share = ask.kinds.get(pair.kind()).map(|kind| kind.share).unwrap_or_default();
                let one = parts(takes(&share, &listing.offer.shape), whole(listing));
                let all = one.map(|part| part.min(1.0) * f64::from(ask.nodes));
                known.push((pair.kind(), kind, self.holding(kind, &all)));
                known.len() - 1
            });
            if let Some((.., holding)) = known.get(at) {
                pair.charge(holding.until(pair.hours()));
            }
        }
    }

    /// What it costs to hold so many machines, of each resource. The first
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
    /// scarce by then. None where no later start is in time, or nothing is there.
    pub(crate) fn later_start(&self, nodes: u32, later: &Later) -> Option<f64> {
        let mut least: Option<f64> = None;
        for (stock, way) in later.ways_in(&self.stocks, nodes).filter(|(_, way)| way.is_spot()) {
            let (kind, hours) = (way.kind as usize, f64::from(way.hours));
            let Some(machines) = self.machines.get(kind) else { continue };
            let parts = way.parts(nodes);
            let holding = self.holding(kind, &parts);
            let own = stock.price * hours * f64::from(nodes);
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
