//! What one sees of a market that shows nothing of its capacity: prices, what becomes of
//! the machine held, and whether a launch just tried is granted.

use super::place::JobLocation;
use super::spotwise::{dollars_a_step, keeps_deadline, position};
use super::view::View;
use crate::spot::horizon::JobPosition;
use crate::spot::own::StatedPrior;

/// A step as seen from our own machines. Everything else of the [`View`] stays in here.
#[derive(Debug)]
pub(super) struct OwnView<'a> {
    view: &'a View<'a>,
    tries: usize,
}

impl<'a> OwnView<'a> {
    /// At most `tries` launches are tried in the step.
    pub(super) fn new(view: &'a View<'a>, tries: usize) -> Self {
        Self { view, tries }
    }

    /// Tries to launch a machine; `None` where no try is left in this step. One that is
    /// granted is to be taken.
    pub(super) fn try_launch(&mut self, zone: usize) -> Option<bool> {
        self.tries = self.tries.checked_sub(1)?;
        Some(self.view.spot(zone).available)
    }

    pub(super) fn tries_left(&self) -> usize {
        self.tries
    }

    /// Where the job is: nowhere, if its machine has just been taken.
    pub(super) fn on(&self) -> JobLocation {
        self.view.on
    }

    pub(super) fn position(&self) -> JobPosition {
        position(self.view)
    }

    pub(super) fn steps_left(&self) -> usize {
        self.view.steps_left
    }

    pub(super) fn keeps_deadline(&self, choice: JobLocation) -> bool {
        keeps_deadline(self.view, choice)
    }

    pub(super) fn zone_names(&self) -> impl Iterator<Item = &'a str> {
        (0..self.view.zones()).map(|zone| self.view.zone_name(zone))
    }

    pub(super) fn step_seconds(&self) -> f64 {
        f64::from(self.view.step_seconds())
    }

    /// Dollars a step in each zone: prices are published.
    pub(super) fn prices(&self) -> Vec<f64> {
        let price = |zone| dollars_a_step(self.view, self.view.spot(zone).price_micros);
        (0..self.view.zones()).map(price).collect()
    }

    pub(super) fn on_demand(&self) -> f64 {
        dollars_a_step(self.view, self.view.on_demand_micros())
    }

    /// A step's changeover, in fifths.
    pub(super) fn changeover(&self) -> u64 {
        self.view.changeover
    }

    /// What a published figure of the machine type would have said when the window began:
    /// how long its capacity lasts and stays away on the mean, each as a bucket of two.
    /// `None` where nothing was recorded before.
    pub(super) fn published(&self) -> Option<StatedPrior> {
        let mut steps = [0_u32; 2];
        let mut ends = [0_u32; 2];
        for zone in 0..self.view.zones() {
            let known = self.view.history(zone);
            let before = known.len().saturating_sub(self.view.step + 1);
            for pair in known[..before].windows(2) {
                let side = usize::from(!pair[0].available);
                steps[side] += 1;
                ends[side] += u32::from(pair[0].available != pair[1].available);
            }
        }
        let hours = |side: usize| {
            let hours = f64::from(steps[side]) * self.step_seconds() / 3_600.0;
            StatedPrior::bucket((hours + 0.5) / (f64::from(ends[side]) + 0.5))
        };
        (steps[0] + steps[1] > 0).then(|| StatedPrior::MeanHours { up: hours(0), down: hours(1) })
    }
}
