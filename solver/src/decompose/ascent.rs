//! The search for prices: what is asked for more than there is becomes dearer,
//! what is left over cheaper, in smaller and smaller steps. First with a part
//! of the jobs, then with all of them.

use super::scene::{Demand, Scene};
use crate::prices::Prices;
use crate::round::{Ask, Round};

/// Jobs of the sample that the first steps look at.
const SAMPLE: usize = 2_048;
/// Steps with the sample: as many as price this many pairs a second of the
/// round's time, within bounds.
const PAIRS_A_SECOND: f64 = 25e6;
const COARSE_STEPS: (f64, f64) = (20.0, 1_000.0);
/// Up to so many pairs the integer program proves more than prices can.
const SMALL: f64 = 500.0;
const SMALL_STEPS: u32 = 60;
/// The same for the steps with all jobs.
const FINE_STEPS: (f64, f64) = (1.0, 30.0);
/// More time than this makes no better prices.
const MOST_SECONDS: f64 = 3.0;
/// First and last length of a step, as parts of what a machine is worth.
const COARSE: (f64, f64) = (0.3, 0.001);
const FINE: (f64, f64) = (0.004, 0.001);

/// Width of a job's wishes, in steps: a step must not make all of them turn.
const SPREAD: f64 = 2.0;

/// Prices, and what they prove.
#[derive(Clone, Debug)]
pub(crate) struct Priced {
    pub(crate) prices: Prices,
    /// No plan costs less.
    pub(crate) bound: f64,
}

/// Finds prices that prove a high bound. The work depends on the sizes alone,
/// unless `enough` ends it: then the best so far is it.
pub(crate) fn ascend(
    round: &Round<'_>,
    scene: &Scene<'_, '_>,
    enough: &dyn Fn() -> bool,
) -> Priced {
    let asking = alike_together(round, scene);
    let start = scene.start();
    let pairs = round.pairs() as f64;
    if pairs <= SMALL {
        return climb(scene, start, &asking, SMALL_STEPS, COARSE, enough);
    }
    let budget = PAIRS_A_SECOND * round.input.time_limit.as_secs_f64().min(MOST_SECONDS);
    let steps =
        |pairs: f64, (least, most): (f64, f64)| (budget / pairs.max(1.0)).clamp(least, most) as u32;
    let stride = asking.len().div_ceil(SAMPLE).max(1);
    if stride == 1 {
        return climb(scene, start, &asking, steps(pairs, COARSE_STEPS), COARSE, enough);
    }
    let sample: Vec<usize> = asking.iter().copied().step_by(stride).collect();
    let few = steps(pairs / stride as f64, COARSE_STEPS);
    let near = climb(scene, start, &sample, few, COARSE, enough);
    climb(scene, near.prices, &asking, steps(pairs, FINE_STEPS), FINE, enough)
}

/// The jobs that have pairs, like ones side by side: every n-th of them is a
/// fair sample.
fn alike_together(round: &Round<'_>, scene: &Scene<'_, '_>) -> Vec<usize> {
    let key = |at: usize, ask: &Ask<'_>| {
        let pair = ask.pairs.first()?;
        Some((ask.kinds.first()?.group, scene.factor(at, pair), ask.wait, at))
    };
    let mut keys: Vec<_> =
        round.asks.iter().enumerate().filter_map(|(at, ask)| key(at, ask)).collect();
    keys.sort_by(|a, b| {
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))
    });
    keys.into_iter().map(|(.., at)| at).collect()
}

/// Steps whose length falls from `lengths.0` to `lengths.1`; the best prices
/// on the way, or their average where that is better: near the top the steps
/// go to and fro.
fn climb(
    scene: &Scene<'_, '_>,
    start: Prices,
    asking: &[usize],
    steps: u32,
    lengths: (f64, f64),
    enough: &dyn Fn() -> bool,
) -> Priced {
    let parts = scene.asking as f64 / asking.len().max(1) as f64;
    let shrink = (lengths.1 / lengths.0).powf(1.0 / f64::from(steps.max(2) - 1));
    let mut length = lengths.0;
    let mut prices = start;
    let mut average = Average::default();
    let mut best: Option<Priced> = None;
    let keep = |best: &mut Option<Priced>, prices: &Prices, demand: &Demand| {
        let bound = scene.bound(prices, demand);
        if best.as_ref().is_none_or(|best| bound > best.bound) {
            *best = Some(Priced { prices: prices.clone(), bound });
        }
    };
    for step in 0..steps {
        let demand = scene.demand(&prices, asking, parts, SPREAD * length);
        keep(&mut best, &prices, &demand);
        if step >= steps / 2 {
            average.add(&prices);
        }
        scene.step(&mut prices, &demand, length);
        length *= shrink;
        if enough() {
            break;
        }
    }
    if average.count <= 0.0 {
        return best.unwrap_or(Priced { prices, bound: 0.0 });
    }
    let middle = average.prices();
    let demand = scene.demand(&middle, asking, parts, length);
    keep(&mut best, &middle, &demand);
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
