//! The table is solved row by row, backwards from the deadline.

use super::backward_induction::{BackwardInduction, Chances, chances};
use super::group::Group;
use super::hazard_model::HazardModel;
use super::terms::HorizonTerms;
use super::value_table::{SPOT, ValueTable};

/// The slack grid is a step fine at its low end and this much coarser with each
/// point: what a step of slack is worth changes fast only where there is little.
const SLACK_GROWTH: f64 = 1.12;

/// Longer horizons are solved in strides of several steps.
const MOST_ROWS: usize = 1_500;

impl ValueTable {
    /// Solves for jobs with at most `steps` to their deadline and at most `slack`
    /// steps of slack, from the step `now` on.
    pub(super) fn solve(
        groups: &[Group],
        hazards: &HazardModel,
        terms: HorizonTerms,
        now: usize,
        steps: usize,
        slack: f64,
    ) -> Self {
        let stride = steps.div_ceil(MOST_ROWS).max(1);
        let classes = hazards.classes.all();
        let mut table = Self {
            terms,
            stride,
            slacks: slack_points(slack.max(1.0) + stride as f64),
            classes,
            states: classes.pow(groups.len() as u32),
            places: SPOT + groups.len(),
            dollars: Vec::new(),
        };
        let parts: Vec<Chances> =
            (0..hazards.parts()).map(|part| chances(groups, hazards, stride, part)).collect();
        let mut induction = BackwardInduction::new(&table, groups, hazards);
        let rows = steps / stride + 2;
        table.dollars = vec![0.0; rows * table.row()];
        for row in 0..rows {
            // The absolute time of a row: its steps before the deadline.
            let at = (now + steps).saturating_sub(row * stride);
            let part = &parts[hazards.part_of_day(at)];
            let (before, this) = table.dollars.split_at_mut(row * induction.row);
            let this = &mut this[..induction.row];
            if row > 0 {
                induction.expect(&before[(row - 1) * induction.row..], part);
            }
            induction.choose((row * stride) as f64, row == 0, part, this);
        }
        table
    }
}

/// 0, 1, 2, … and then ever coarser, up to at least `top`.
fn slack_points(top: f64) -> Vec<f64> {
    let mut points = vec![0.0];
    let mut last: f64 = 0.0;
    while last < top {
        last = (last + 1.0).max(last * SLACK_GROWTH);
        points.push(last);
    }
    points
}
