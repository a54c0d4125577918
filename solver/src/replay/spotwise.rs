//! Our policy: the least expected dollars of a decision process that learns the
//! hazards of the zones as it goes.

use super::job::FIFTHS;
use super::place::JobLocation;
use super::policy::Policy;
use super::view::View;
use crate::spot::horizon::{
    Horizon, HorizonTerms, JobPosition, ObservedZone, On, ZoneNow, age, regions,
};

/// Hazards are fitted and the table is solved again after so many hours.
const REFIT_HOURS: f64 = 3.0;

/// Chooses the way with the least expected dollars ([`crate::spot::horizon`]).
#[derive(Clone, Debug, Default)]
pub struct Spotwise {
    horizon: Option<Horizon>,
    /// By zone: whether it was available, as far as it is known.
    seen: Vec<Vec<bool>>,
}

impl Policy for Spotwise {
    fn name(&self) -> &'static str {
        "spotwise"
    }

    fn choose(&mut self, view: &View<'_>) -> JobLocation {
        self.watch(view);
        let position = position(view);
        let now = self.seen.iter().map(Vec::len).max().unwrap_or(0);
        let horizon = match self.horizon.take() {
            Some(horizon) if horizon.hours_old(now) < REFIT_HOURS => horizon,
            _ => self.solve(view, position.steps - position.work),
        };
        let best = horizon.at(self.zones_now(view), now).best(position);
        self.horizon = Some(horizon);
        let choice = match best {
            On::Nothing => JobLocation::Idle,
            On::Spot(zone) => JobLocation::Spot(zone),
            On::OnDemand => JobLocation::OnDemand,
        };
        if keeps_deadline(view, choice) { choice } else { JobLocation::OnDemand }
    }
}

impl Spotwise {
    fn solve(&self, view: &View<'_>, spare: f64) -> Horizon {
        let regions = regions((0..view.zones()).map(|zone| view.zone_name(zone)));
        let zones: Vec<ObservedZone<'_>> = self
            .seen
            .iter()
            .zip(regions)
            .enumerate()
            .map(|(zone, (seen, region))| ObservedZone { region, price: price(view, zone), seen })
            .collect();
        let terms = HorizonTerms {
            step_seconds: f64::from(view.step_seconds()),
            on_demand: dollars_a_step(view, view.on_demand_micros()),
            changeover: view.changeover as f64 / FIFTHS as f64,
        };
        Horizon::solve(&zones, terms, view.steps_left, spare)
    }

    fn zones_now(&self, view: &View<'_>) -> Vec<ZoneNow> {
        let now = |(zone, seen): (usize, &Vec<bool>)| ZoneNow {
            up: view.spot(zone).available,
            age: age(seen),
            price: price(view, zone),
        };
        self.seen.iter().enumerate().map(now).collect()
    }

    /// Takes in what has been seen since.
    fn watch(&mut self, view: &View<'_>) {
        self.seen.resize_with(view.zones(), Vec::new);
        for (zone, seen) in self.seen.iter_mut().enumerate() {
            let known = view.history(zone);
            let new = known.get(seen.len()..).unwrap_or_default();
            seen.extend(new.iter().map(|quote| quote.available));
        }
    }
}

/// Whether on-demand capacity still meets the deadline after a step there.
pub(super) fn keeps_deadline(view: &View<'_>, choice: JobLocation) -> bool {
    let changeover = if choice == view.on { view.changeover_left } else { view.changeover };
    let done = match choice {
        JobLocation::OnDemand => return true,
        JobLocation::Idle => 0,
        JobLocation::Spot(_) => FIFTHS.saturating_sub(changeover),
    };
    let left = view.work_left.saturating_sub(done);
    let steps = left.saturating_add(view.changeover).div_ceil(FIFTHS);
    left == 0 || steps < view.steps_left as u64
}

pub(super) fn position(view: &View<'_>) -> JobPosition {
    let steps = |fifths: u64| fifths as f64 / FIFTHS as f64;
    let (on, changeover_left) = match view.on {
        JobLocation::Idle => (On::Nothing, 0),
        JobLocation::Spot(zone) => (On::Spot(zone), view.changeover_left),
        JobLocation::OnDemand => (On::OnDemand, view.changeover_left),
    };
    JobPosition {
        steps: view.steps_left as f64,
        work: steps(view.work_left),
        changeover_left: steps(changeover_left),
        on,
    }
}

fn price(view: &View<'_>, zone: usize) -> f64 {
    dollars_a_step(view, view.spot(zone).price_micros)
}

pub(super) fn dollars_a_step(view: &View<'_>, micros_an_hour: i64) -> f64 {
    micros_an_hour as f64 / 1e6 * f64::from(view.step_seconds()) / 3_600.0
}
