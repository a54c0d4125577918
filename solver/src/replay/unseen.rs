//! Our policy where the market shows nothing of its capacity: the same decision process,
//! with beliefs from our own launches and machines in place of what is seen.

use super::job::FIFTHS;
use super::own_view::OwnView;
use super::place::JobLocation;
use super::policy::Policy;
use super::view::View;
use crate::spot::horizon::{BelievedEpoch, Horizon, HorizonTerms, JobPosition, On, regions};
use crate::spot::own::{Estimator, Sight, StatedPrior};

/// Hazards enter the table anew after so many hours.
const REFIT_HOURS: f64 = 3.0;
/// Dollars below which two ways are the same: the one named first is taken.
const SAME: f64 = 1e-9;

/// Chooses as [`Spotwise`](super::Spotwise) does, and sees only its own machines
/// ([`crate::spot::own`]).
#[derive(Clone, Debug)]
pub struct Unseen {
    name: &'static str,
    /// Launches tried a step.
    tries: usize,
    /// Whether it was told how often the type is interrupted.
    told: bool,
    own: Option<Estimator>,
    horizon: Option<Horizon>,
    on: JobLocation,
}

impl Unseen {
    /// Under a name, with at most `tries` launches a step, and `told` what a published
    /// figure of the type says, or not.
    pub fn new(name: &'static str, tries: usize, told: bool) -> Self {
        Self { name, tries, told, own: None, horizon: None, on: JobLocation::Idle }
    }
}

#[cfg(test)]
impl Unseen {
    /// Whether it looked at a zone in a step of its window: held a machine there, or tried.
    pub(super) fn saw(&self, zone: usize, step: usize) -> bool {
        self.own.as_ref().is_some_and(|own| own.sight(step, zone) != Sight::Nothing)
    }
}

impl Policy for Unseen {
    fn name(&self) -> &'static str {
        self.name
    }

    fn choose(&mut self, view: &View<'_>) -> JobLocation {
        let mut view = OwnView::new(view, self.tries);
        let mut own = self.own.take().unwrap_or_else(|| self.begin(&view));
        own.pass();
        if let JobLocation::Spot(zone) = self.on {
            let kept = view.on() == self.on;
            own.see(zone, if kept { Sight::Held } else { Sight::Taken });
        }
        let horizon = match self.horizon.take() {
            Some(horizon) if horizon.hours_old(own.steps()) < REFIT_HOURS => horizon,
            _ => solve(&own, &view),
        };
        let choice = choose(&horizon, &mut own, &mut view);
        self.on = if view.keeps_deadline(choice) { choice } else { JobLocation::OnDemand };
        (self.own, self.horizon) = (Some(own), Some(horizon));
        self.on
    }
}

impl Unseen {
    fn begin(&self, view: &OwnView<'_>) -> Estimator {
        let told = self.told.then(|| view.published()).flatten();
        let prior = told.unwrap_or(StatedPrior::Recorded);
        Estimator::new(regions(view.zone_names()), view.step_seconds(), prior)
    }
}

fn solve(own: &Estimator, view: &OwnView<'_>) -> Horizon {
    let position = view.position();
    let terms = HorizonTerms {
        step_seconds: view.step_seconds(),
        on_demand: view.on_demand(),
        changeover: view.changeover() as f64 / FIFTHS as f64,
    };
    own.horizon(&view.prices(), terms, view.steps_left(), position.steps - position.work)
}

/// Tries the zones that are worth it, one after the other, until one is granted; each
/// refusal is learnt before the next try.
fn choose(horizon: &Horizon, own: &mut Estimator, view: &mut OwnView<'_>) -> JobLocation {
    let prices = view.prices();
    let position = view.position();
    let mut refused = vec![false; prices.len()];
    loop {
        let epoch = horizon.believing(own.zones(&prices));
        let (without, dollars) = without_launch(&epoch, position);
        let may = |zone: &usize| !refused[*zone] && JobLocation::Spot(*zone) != view.on();
        let spot = |zone: usize| (zone, epoch.dollars(position, On::Spot(zone)));
        let mut worth: Vec<(usize, f64)> = (0..prices.len()).filter(may).map(spot).collect();
        worth.retain(|(zone, of)| {
            *of < dollars - SAME && view.keeps_deadline(JobLocation::Spot(*zone))
        });
        let next = next(worth, view.tries_left(), dollars, |zone| own.chance_up(zone));
        let Some(zone) = next else { return without };
        match view.try_launch(zone) {
            Some(true) => {
                own.see(zone, Sight::Held);
                return JobLocation::Spot(zone);
            }
            Some(false) => own.see(zone, Sight::Refused),
            None => return without,
        }
        refused[zone] = true;
    }
}

/// The best that needs no launch of spot: to stay, to wait, or to go on demand.
fn without_launch(epoch: &BelievedEpoch<'_>, position: JobPosition) -> (JobLocation, f64) {
    let stay = match position.on {
        On::Spot(zone) => Some((JobLocation::Spot(zone), position.on)),
        On::OnDemand | On::Nothing => None,
    };
    let mut best = (JobLocation::OnDemand, f64::INFINITY);
    let always = [(JobLocation::Idle, On::Nothing), (JobLocation::OnDemand, On::OnDemand)];
    let on_demand_first = position.on == On::OnDemand;
    let always = if on_demand_first { [always[1], always[0]] } else { always };
    for (place, to) in stay.into_iter().chain(always) {
        let dollars = epoch.dollars(position, to);
        if dollars < best.1 - SAME {
            best = (place, dollars);
        }
    }
    best
}

/// Which zone to try: of the `tries` zones that are expected to save most, the one that
/// saves most if it is there.
fn next(
    mut worth: Vec<(usize, f64)>,
    tries: usize,
    without: f64,
    chance: impl Fn(usize) -> f64,
) -> Option<usize> {
    let gain = |(zone, dollars): &(usize, f64)| chance(*zone) * (without - dollars);
    if worth.len() > tries {
        worth.sort_by(|a, b| gain(b).total_cmp(&gain(a)).then(a.0.cmp(&b.0)));
        worth.truncate(tries);
    }
    let best = worth.iter().min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    best.map(|(zone, _)| *zone)
}
