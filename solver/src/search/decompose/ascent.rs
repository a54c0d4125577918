//! The search for prices: what is asked for more than there is becomes dearer,
//! what is left over cheaper, in smaller and smaller steps. First with a part
//! of the jobs, then with all of them.

use super::lagrangian::Lagrangian;
use super::usage::Usage;
use crate::statement::demand::JobDemand;
use crate::statement::prices::Prices;
use crate::statement::round::Round;

/// Jobs of the sample that the first steps look at.
const SAMPLE: usize = 2_048;
/// Steps with the sample: as many as price this many candidates a second of the
/// round's time, within bounds.
const PAIRS_A_SECOND: f64 = 25e6;
const COARSE_STEPS: (f64, f64) = (20.0, 1_000.0);
/// Up to this many candidates the integer program proves more than prices can.
const SMALL: f64 = 500.0;
const SMALL_STEPS: u32 = 60;
/// The same for the steps with all jobs.
const FINE_STEPS: (f64, f64) = (1.0, 30.0);
/// More time than this makes no better prices.
const MOST_SECONDS: f64 = 3.0;
/// First and last length of a step, as parts of what a machine is worth.
const COARSE: (f64, f64) = (0.3, 0.001);
const FINE: (f64, f64) = (0.004, 0.001);

/// A plan that costs no more than this part above what is proven is as good as proven:
/// the steps end.
const CLOSE: f64 = 1e-4;

/// Width of a job's choices, in steps: a step must not make all of them turn.
const SPREAD: f64 = 2.0;

/// Prices, and what they prove.
#[derive(Clone, Debug)]
pub(crate) struct Priced {
    pub(crate) prices: Prices,
    /// No plan costs less.
    pub(crate) bound: f64,
}

/// Finds prices that prove a high bound, `reached` being what a plan costs that is known.
/// The work depends on the sizes alone,
/// unless `enough` ends it: then the best so far is it.
pub(crate) fn ascend(
    round: &Round<'_>,
    lagrangian: &Lagrangian<'_, '_>,
    reached: f64,
    enough: &dyn Fn() -> bool,
) -> Priced {
    let asking = alike_together(round, lagrangian);
    let start = lagrangian.start();
    let pairs_of = |at: usize| round.demands.get(at).map_or(0, |demand| demand.candidates.len());
    let candidates = asking.iter().map(|(at, _)| pairs_of(*at)).sum::<usize>() as f64;
    let climb = |start, asking: &[(usize, f64)], steps, lengths| {
        climb(lagrangian, start, asking, (steps, lengths), reached, enough)
    };
    if candidates <= SMALL {
        return climb(start, &asking, SMALL_STEPS, COARSE);
    }
    let budget = PAIRS_A_SECOND * round.input.time_limit.as_secs_f64().min(MOST_SECONDS);
    let steps = |candidates: f64, (least, most): (f64, f64)| {
        (budget / candidates.max(1.0)).clamp(least, most) as u32
    };
    let stride = asking.len().div_ceil(SAMPLE).max(1);
    if stride == 1 {
        return climb(start, &asking, steps(candidates, COARSE_STEPS), COARSE);
    }
    let sample: Vec<(usize, f64)> = asking.iter().copied().step_by(stride).collect();
    let few = steps(candidates / stride as f64, COARSE_STEPS);
    let near = climb(start, &sample, few, COARSE);
    climb(near.prices, &asking, steps(candidates, FINE_STEPS), FINE)
}

/// The jobs that have candidates, like ones side by side: every n-th of them is a
/// fair sample. Of those that are the same in everything one stands for all.
fn alike_together(round: &Round<'_>, lagrangian: &Lagrangian<'_, '_>) -> Vec<(usize, f64)> {
    let mut counts = vec![0.0; round.identical.classes()];
    for demand in &round.demands {
        if let Some(count) = counts.get_mut(round.identical.class_of(demand.number)) {
            *count += 1.0;
        }
    }
    let count = |at: usize| counts.get(round.identical.class_of(at)).copied().unwrap_or(0.0);
    let leads = || round.identical.leads().filter_map(|at| Some((at, round.demands.get(at)?)));
    let key = |at: usize, demand: &JobDemand<'_>| {
        let candidate = demand.candidates.first()?;
        Some((demand.kinds.first()?.group, lagrangian.factor(at, candidate), demand.wait, at))
    };
    let mut keys: Vec<_> = leads().filter_map(|(at, demand)| key(at, demand)).collect();
    keys.sort_by(|a, b| {
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))
    });
    keys.into_iter().map(|(.., at)| (at, count(at))).collect()
}

/// Steps whose length falls from `lengths.0` to `lengths.1`; the best prices
/// on the way, or their average where that is better: near the top the steps
/// go to and fro. Nothing is gained beyond `reached`, what a plan costs that is known.
fn climb(
    lagrangian: &Lagrangian<'_, '_>,
    start: Prices,
    asking: &[(usize, f64)],
    (steps, lengths): (u32, (f64, f64)),
    reached: f64,
    enough: &dyn Fn() -> bool,
) -> Priced {
    let asked: f64 = asking.iter().map(|(_, count)| count).sum();
    let parts = lagrangian.asking as f64 / asked.max(1.0);
    // What a sample proves is no bound.
    let all = asked >= lagrangian.asking as f64;
    let shrink = (lengths.1 / lengths.0).powf(1.0 / f64::from(steps.max(2) - 1));
    let mut length = lengths.0;
    let mut prices = start;
    let mut average = Average::default();
    let mut best: Option<Priced> = None;
    let keep = |best: &mut Option<Priced>, prices: &Prices, usage: &Usage| {
        let bound = lagrangian.bound(prices, usage);
        if best.as_ref().is_none_or(|best| bound > best.bound) {
            *best = Some(Priced { prices: prices.clone(), bound });
        }
    };
    for step in 0..steps {
        let usage = lagrangian.usage(&prices, asking, parts, SPREAD * length);
        keep(&mut best, &prices, &usage);
        if step >= steps / 2 {
            average.add(&prices);
        }
        lagrangian.step(&mut prices, &usage, length);
        length *= shrink;
        let proven = best.as_ref().filter(|_| all).map_or(f64::NEG_INFINITY, |best| best.bound);
        if enough() || reached - proven <= CLOSE * reached.abs() {
            break;
        }
    }
    if average.count <= 0.0 {
        return best.unwrap_or(Priced { prices, bound: 0.0 });
    }
    let middle = average.prices();
    let usage = lagrangian.usage(&middle, asking, parts, length);
    keep(&mut best, &middle, &usage);
    best.unwrap_or(Priced { prices, bound: 0.0 })
}

#[derive(Default)]
struct Average {
    sum: Prices,
    count: f64,
}

impl Average {
    fn add(&mut self, prices: &Prices) {
        self.count += 1.0;
        self.sum.approach(prices, 1.0 / self.count);
    }

    fn prices(self) -> Prices {
        self.sum
    }
}
