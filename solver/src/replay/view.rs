//! What a policy sees.

use super::job::FIFTHS;
use super::market::{RecordedMarket, RecordedStep};
use super::place::JobLocation;

/// What a policy sees when a step begins: nothing later than this step.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All of it, the future too: this module keeps that to itself.
    market: &'a RecordedMarket,
    /// This step, from the market's first.
    now: usize,
    /// This step, from the window's first.
    pub step: usize,
    /// Steps to the deadline, this one included.
    pub steps_left: usize,
    /// The whole work, in fifths of a step.
    pub work: u64,
    /// Work left, in fifths of a step.
    pub work_left: u64,
    /// What every start spends without progress, in fifths of a step.
    pub changeover: u64,
    /// What is left of that on the machine that the job is on, in fifths.
    pub changeover_left: u64,
    /// Where the job is, after the market of this step has taken what it takes.
    pub on: JobLocation,
}

/// Where a job stands when a step begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepState {
    pub(super) step: usize,
    pub(super) work_left: u64,
    pub(super) changeover_left: u64,
    pub(super) on: JobLocation,
}

impl<'a> View<'a> {
    pub(super) fn new(
        market: &'a RecordedMarket,
        start: usize,
        job: &super::Job,
        step_state: StepState,
    ) -> Self {
        Self {
            market,
            now: start.saturating_add(step_state.step),
            step: step_state.step,
            steps_left: job.deadline.saturating_sub(step_state.step),
            work: job.work,
            work_left: step_state.work_left,
            changeover: job.changeover,
            changeover_left: step_state.changeover_left,
            on: step_state.on,
        }
    }

    /// How many zones there are; they are numbered from 0.
    pub fn zones(&self) -> usize {
        self.market.zones().len()
    }

    /// The name of a zone; empty of one that is not there.
    pub fn zone_name(&self, zone: usize) -> &'a str {
        self.market.zones().get(zone).map_or("", |zone| zone.name.as_str())
    }

    /// Seconds of a step.
    pub fn step_seconds(&self) -> u32 {
        self.market.step_seconds()
    }

    /// A zone during this step. A zone that is not there is never available.
    pub fn spot(&self, zone: usize) -> RecordedStep {
        let nothing = RecordedStep { available: false, price_micros: 0 };
        self.market.quote(zone, self.now).unwrap_or(nothing)
    }

    /// Micro-dollars an hour on demand.
    pub fn on_demand_micros(&self) -> i64 {
        self.market.on_demand_micros()
    }

    /// A zone this many steps ago, before the window and in the earlier recording
    /// too; `None` if nothing is known.
    pub fn past(&self, zone: usize, steps_back: usize) -> Option<RecordedStep> {
        self.history(zone).iter().rev().nth(steps_back).copied()
    }

    /// Everything known of a zone, oldest first: the earlier recording, the
    /// market before the window, and up to this step, which is the last one.
    pub fn history(&self, zone: usize) -> &'a [RecordedStep] {
        self.market.up_to(zone, self.now)
    }

    /// The cheapest zone that is available in this step, and its price in
    /// micro-dollars an hour; the first of equals.
    pub fn cheapest_spot(&self) -> Option<(usize, i64)> {
        (0..self.zones())
            .filter_map(|zone| Some((zone, self.market.price_if_available(zone, self.now)?)))
            .min_by_key(|(zone, price)| (*price, *zone))
    }

    /// Whether whole steps for the work left and `extra` fifths fill all that is
    /// left to the deadline.
    pub fn is_tight(&self, extra: u64) -> bool {
        let steps = self.work_left.saturating_add(extra).div_ceil(FIFTHS);
        steps >= self.steps_left as u64
    }

    /// The simulator's last check of the published policies: where one more
    /// start just fits, only a spot machine that makes progress is kept; all
    /// else goes on demand.
    pub fn last_check(&self, choice: JobLocation) -> JobLocation {
        match self.on {
            _ if !self.is_tight(self.changeover) => choice,
            JobLocation::Spot(zone) if self.changeover_left == 0 => JobLocation::Spot(zone),
            _ => JobLocation::OnDemand,
        }
    }
}
