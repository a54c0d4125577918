//! The least that a job can cost by its deadline, with the whole future known:
//! an exact dynamic program over (step, fifths left, machine).
//!
//! A start adds its changeover to the fifths left. A job that leaves a machine
//! during its changeover would then carry both changeovers, which the simulator
//! does not ask for; no cheapest way does that, since not to have started is as
//! good for the job and costs less.

use super::job::{FIFTHS, Job};
use super::market::RecordedMarket;
use super::place::JobLocation;

/// More than any cost, and far from overflow.
const NEVER: i64 = i64::MAX / 4;
/// Decisions kept at once: about 1 GB.
const MOST_CELLS: usize = 100_000_000;
/// One bit a zone and one for on demand.
const MOST_ZONES: usize = 63;
/// The choice not to run, in a table of choices.
const IDLE: u8 = u8::MAX;

/// An optimum that is not computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptimalError {
    /// The table has one bit a zone.
    #[error("the exact optimum takes at most {MOST_ZONES} zones, not {zones}")]
    TooManyZones {
        /// How many there are.
        zones: usize,
    },
    /// The table would not fit.
    #[error(
        "the exact optimum of this job needs {cells} states, more than {MOST_CELLS}; shorten the job, or leave `optimal` out"
    )]
    TooLarge {
        /// How many there are.
        cells: usize,
    },
}

/// The choices that cost least, one a step from `start` on. Where the deadline
/// cannot be met at all: on demand throughout, which is done first.
pub fn optimal(
    market: &RecordedMarket,
    job: &Job,
    start: usize,
) -> Result<Vec<JobLocation>, OptimalError> {
    let program = Program::new(market, job, start)?;
    let (table, least) = program.solve();
    if least >= NEVER {
        return Ok(vec![JobLocation::OnDemand; job.deadline]);
    }
    Ok(program.follow(&table))
}

struct Program<'a> {
    market: &'a RecordedMarket,
    job: &'a Job,
    start: usize,
    work: usize,
    changeover: usize,
    /// Spot in each zone, and on demand as the last.
    machines: usize,
}

/// What to do in each state of a step, from the fewest fifths left on.
struct Decisions {
    fewest: usize,
    /// Where to start when on no machine, or when leaving the present one.
    fresh: Vec<u8>,
    /// A bit for each machine that is better kept.
    stay: Vec<u64>,
}

/// Costs to the end by fifths left, shifted by one step so that what is done
/// early has a place too: index `FIFTHS` is 0 fifths left.
type Costs = Vec<i64>;

impl<'a> Program<'a> {
    fn new(market: &'a RecordedMarket, job: &'a Job, start: usize) -> Result<Self, OptimalError> {
        let zones = market.zones().len();
        if zones > MOST_ZONES {
            return Err(OptimalError::TooManyZones { zones });
        }
        let (work, changeover) = (job.work as usize, job.changeover as usize);
        let program = Self { market, job, start, work, changeover, machines: zones + 1 };
        let cells = (0..job.deadline).map(|step| program.band(step).map_or(0, |(a, b)| b - a + 1));
        let cells = cells.fold(0usize, usize::saturating_add);
        if cells > MOST_CELLS || program.length() > MOST_CELLS {
            return Err(OptimalError::TooLarge { cells: cells.max(program.length()) });
        }
        Ok(program)
    }

    /// The fewest and the most fifths that can be left when a step begins and
    /// still be done in time.
    fn band(&self, step: usize) -> Option<(usize, usize)> {
        let fifths = |steps: usize| steps.saturating_mul(FIFTHS as usize);
        let fewest = self.work.saturating_sub(fifths(step)).max(1);
        let time = fifths(self.job.deadline.saturating_sub(step));
        let most = self.work.saturating_add(self.changeover).min(time);
        (fewest <= most).then_some((fewest, most))
    }

    fn length(&self) -> usize {
        let twice = self.changeover.saturating_mul(2);
        self.work.saturating_add(twice).saturating_add(FIFTHS as usize + 1)
    }

    fn price(&self, machine: usize, step: usize) -> Option<i64> {
        if machine + 1 == self.machines {
            return Some(self.market.on_demand_micros());
        }
        self.market.price_if_available(machine, self.start + step)
    }

    /// Decisions by step, and the least cost.
    fn solve(&self) -> (Vec<Decisions>, i64) {
        let mut end: Costs = vec![NEVER; self.length()];
        end.iter_mut().take(FIFTHS as usize + 1).for_each(|cost| *cost = 0);
        // On each machine, and on none as the last.
        let mut later = vec![end; self.machines + 1];
        let mut now = later.clone();
        let mut table = Vec::with_capacity(self.job.deadline);
        for step in (0..self.job.deadline).rev() {
            table.push(self.decide(step, &later, &mut now));
            std::mem::swap(&mut later, &mut now);
        }
        table.reverse();
        let idle = later.last().and_then(|costs| costs.get(self.work + FIFTHS as usize));
        (table, idle.copied().unwrap_or(NEVER))
    }

    /// One step, from the costs of the next one.
    fn decide(&self, step: usize, later: &[Costs], now: &mut [Costs]) -> Decisions {
        let Some((fewest, most)) = self.band(step) else {
            return Decisions { fewest: 1, fresh: Vec::new(), stay: Vec::new() };
        };
        let shift = FIFTHS as usize;
        let idle = later.last().and_then(|costs| costs.get(fewest + shift..=most + shift));
        let mut cost = idle.expect("the band lies inside the costs").to_vec();
        let mut fresh = vec![IDLE; cost.len()];
        for (machine, costs) in later.iter().take(self.machines).enumerate() {
            let Some(price) = self.price(machine, step) else { continue };
            let after = costs.get(fewest + self.changeover..=most + self.changeover);
            let after = after.expect("one changeover more lies inside the costs");
            for ((cost, choice), after) in cost.iter_mut().zip(&mut fresh).zip(after) {
                if price + after < *cost {
                    *cost = price + after;
                    *choice = machine as u8;
                }
            }
        }
        let mut stay = vec![0u64; cost.len()];
        for (machine, (now, later)) in now.iter_mut().zip(later).enumerate() {
            let now = now.get_mut(fewest + shift..=most + shift);
            let now = now.expect("the band lies inside the costs");
            let price = (machine < self.machines).then(|| self.price(machine, step)).flatten();
            let Some(price) = price else {
                now.copy_from_slice(&cost);
                continue;
            };
            let after = later.get(fewest..=most).expect("a step less lies inside the costs");
            for (((now, after), cost), stay) in now.iter_mut().zip(after).zip(&cost).zip(&mut stay)
            {
                let kept = price + after;
                *now = kept.min(*cost);
                *stay |= u64::from(kept <= *cost) << machine;
            }
        }
        Decisions { fewest, fresh, stay }
    }

    /// The way through the table.
    fn follow(&self, table: &[Decisions]) -> Vec<JobLocation> {
        let mut choices = Vec::new();
        let mut left = self.work;
        let mut on: Option<usize> = None;
        for (step, decisions) in table.iter().enumerate() {
            if left == 0 {
                break;
            }
            on = on.filter(|machine| self.price(*machine, step).is_some());
            let at = left.wrapping_sub(decisions.fewest);
            let stay = decisions.stay.get(at).copied().unwrap_or(0);
            if on.is_none_or(|machine| stay >> machine & 1 == 0) {
                let fresh = decisions.fresh.get(at).copied().filter(|choice| *choice != IDLE);
                on = fresh.map(usize::from);
                left += if on.is_some() { self.changeover } else { 0 };
            }
            if on.is_some() {
                left = left.saturating_sub(FIFTHS as usize);
            }
            choices.push(match on {
                None => JobLocation::Idle,
                Some(machine) if machine + 1 == self.machines => JobLocation::OnDemand,
                Some(zone) => JobLocation::Spot(zone),
            });
        }
        choices
    }
}
