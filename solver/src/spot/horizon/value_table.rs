//! The table: expected dollars to the end for every number of steps left, every
//! slack, every state of the market and every place of the job.

use super::terms::HorizonTerms;

/// What cannot be: it has to stay comparable, so it is no infinity.
pub(super) const NEVER: f32 = 1e9;

/// Where the job is, as a column of the table.
pub(super) const AWAY: usize = 0;
/// On demand, changed over.
pub(super) const ON_DEMAND: usize = 1;
/// On spot of the first group, changed over; those of the others follow.
pub(super) const SPOT: usize = 2;

/// A solved table.
#[derive(Clone, Debug)]
pub(super) struct ValueTable {
    pub(super) terms: HorizonTerms,
    /// Steps of a row.
    pub(super) stride: usize,
    /// Points of slack, in steps.
    pub(super) slacks: Vec<f64>,
    pub(super) classes: usize,
    pub(super) states: usize,
    pub(super) places: usize,
    /// By row (strides to the deadline), market state, place and slack.
    pub(super) dollars: Vec<f32>,
}

/// Two neighbours of a point of the slack grid, and the weight of the upper one.
pub(super) type Between = (usize, f32);

impl ValueTable {
    pub(super) fn row(&self) -> usize {
        self.states * self.places * self.slacks.len()
    }

    /// Expected dollars with `steps` to the deadline and this much slack in a
    /// place, the market being in a class of each group with some chance.
    pub(super) fn expected(
        &self,
        steps: f64,
        slack: f64,
        market: &[Vec<(usize, f64)>],
        place: usize,
    ) -> f64 {
        let work = steps - slack - self.terms.changeover;
        if work <= 0.0 {
            return 0.0;
        }
        if slack < -1e-9 {
            let stuck = place == ON_DEMAND;
            return if stuck { self.terms.on_demand * work } else { f64::from(NEVER) };
        }
        let (at, weight) = between(&self.slacks, slack);
        let rows = self.dollars.len() / self.row();
        let row = (steps / self.stride as f64).min((rows - 1) as f64);
        let (low, part) = (row.floor() as usize, row.fract());
        let read = |row: usize, state: usize| {
            let from = row * self.row() + (state * self.places + place) * self.slacks.len() + at;
            let (a, b) = (f64::from(self.dollars[from]), f64::from(self.dollars[from + 1]));
            a + (b - a) * f64::from(weight)
        };
        let mut sum = 0.0;
        self.each_state(market, 0, 0, 1.0, &mut |state, chance| {
            let mut dollars = read(low, state);
            if part > 0.0 {
                dollars += (read(low + 1, state) - dollars) * part;
            }
            sum += chance * dollars;
        });
        sum
    }

    fn each_state(
        &self,
        market: &[Vec<(usize, f64)>],
        group: usize,
        state: usize,
        chance: f64,
        each: &mut dyn FnMut(usize, f64),
    ) {
        let Some(classes) = market.get(group) else { return each(state, chance) };
        let unit = self.classes.pow(group as u32);
        for (class, of) in classes {
            self.each_state(market, group + 1, state + class * unit, chance * of, each);
        }
    }
}

/// Where a slack that is not negative lies; beyond the grid, at its end.
pub(super) fn between(points: &[f64], slack: f64) -> Between {
    let slack = slack.max(0.0);
    let upper = points.partition_point(|point| *point <= slack).clamp(1, points.len() - 1);
    let (low, high) = (points[upper - 1], points[upper]);
    (upper - 1, ((slack - low) / (high - low)).min(1.0) as f32)
}
