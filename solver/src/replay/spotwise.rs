//! Our policy: the least expected dollars of a decision process that learns the
//! hazards of the zones as it goes.

use super::{FIFTHS, Place, Policy, View};
use crate::horizon::{Asked, Horizon, Spot, Terms, Zone};

/// Chooses the way with the least expected dollars ([`crate::horizon`]).
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

    fn choose(&mut self, view: &View<'_>) -> Place {
        self.watch(view);
        let asked = asked(view);
        let zones = zones(view, &self.seen);
        let now = zones.iter().map(|zone| zone.seen.len()).max().unwrap_or(0);
        let stale = self.horizon.as_ref().is_none_or(|horizon| horizon.is_stale(now));
        let solve = || {
            let terms = terms(view);
            let slack = asked.steps - asked.work;
            Horizon::solve(&zones, terms, view.steps_left, slack)
        };
        if stale {
            self.horizon = Some(solve());
        }
        let best = self.horizon.as_ref().map_or(Spot::OnDemand, |h| h.best(&zones, asked));
        let choice = match best {
            Spot::Away => Place::Idle,
            Spot::Zone(zone) => Place::Spot(zone),
            Spot::OnDemand => Place::OnDemand,
        };
        if keeps_deadline(view, choice) { choice } else { Place::OnDemand }
    }
}

impl Spotwise {
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
fn keeps_deadline(view: &View<'_>, choice: Place) -> bool {
    let changeover = if choice == view.on { view.changeover_left } else { view.changeover };
    let done = match choice {
        Place::OnDemand => return true,
        Place::Idle => 0,
        Place::Spot(_) => FIFTHS.saturating_sub(changeover),
    };
    let left = view.work_left.saturating_sub(done);
    let steps = left.saturating_add(view.changeover).div_ceil(FIFTHS);
    left == 0 || steps < view.steps_left as u64
}

fn asked(view: &View<'_>) -> Asked {
    let steps = |fifths: u64| fifths as f64 / FIFTHS as f64;
    let (on, changeover_left) = match view.on {
        Place::Idle => (Spot::Away, 0),
        Place::Spot(zone) => (Spot::Zone(zone), view.changeover_left),
        Place::OnDemand => (Spot::OnDemand, view.changeover_left),
    };
    Asked {
        steps: view.steps_left as f64,
        work: steps(view.work_left),
        changeover_left: steps(changeover_left),
        on,
    }
}

fn dollars_a_step(view: &View<'_>, micros_an_hour: i64) -> f64 {
    micros_an_hour as f64 / 1e6 * f64::from(view.step_seconds()) / 3_600.0
}

fn terms(view: &View<'_>) -> Terms {
    Terms {
        step_seconds: f64::from(view.step_seconds()),
        on_demand: dollars_a_step(view, view.on_demand_micros()),
        changeover: view.changeover as f64 / FIFTHS as f64,
    }
}

/// The zones as they are now. The region of a zone is its name less the last
/// letter.
fn zones<'s>(view: &View<'_>, seen: &'s [Vec<bool>]) -> Vec<Zone<'s>> {
    let region = |zone: usize| view.zone_name(zone).trim_end_matches(|c: char| c.is_ascii_lowercase());
    let first_alike = |zone: usize| (0..zone).find(|other| region(*other) == region(zone));
    seen.iter()
        .enumerate()
        .map(|(zone, seen)| Zone {
            region: first_alike(zone).unwrap_or(zone),
            price: dollars_a_step(view, view.spot(zone).price_micros),
            seen,
        })
        .collect()
}
