//! What the scheduler knows of the spot market of a machine type, and what it
//! says to a job: wait for spot, or go on demand.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::OfferKey;
use spotwise_model::id::{Account, InstanceType, Zone};
use spotwise_model::time::between;

use crate::spot::horizon::{BelievedEpoch, DecisionEpoch, Horizon, JobPosition, On, ZoneNow};
use crate::spot::own::Estimator;

/// The spot markets of one machine type of one account, for jobs of one size, fitted
/// once in a while and looked at in every round.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The account on whose markets it is.
    pub account: Account,
    /// The machine type.
    pub instance_type: InstanceType,
    /// Machines that a job takes at once: a zone with fewer counts as unavailable.
    pub nodes: u32,
    /// The decision process.
    pub horizon: Arc<Horizon>,
    /// Its zones, in its order, as they are now.
    pub zones: Vec<(Zone, ZoneNow)>,
    /// Length of a step.
    pub step: Duration,
    /// Steps that the process looks ahead.
    pub steps: usize,
    /// When the first step of its memory began (market time).
    pub first: Timestamp,
    /// What it was fitted to.
    pub training: TrainingWindow,
    /// Where the markets show nothing of what they have: what our own machines show of the
    /// zones by now, in their order. Of [`Self::zones`] only the prices count then.
    pub own: Option<Arc<Estimator>>,
}

/// What a forecast was fitted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainingWindow {
    /// For how long, gaps left out (market time).
    pub span: Duration,
    /// Of that, what the scheduler has seen itself; the rest is a recording.
    pub own: Duration,
    /// Spells with enough machines and without, of all zones, each cut where its
    /// history begins.
    pub spells: usize,
}

impl Forecast {
    /// The step of a time, counted as the process counts: the first is 1.
    pub fn step_of(&self, time: Timestamp) -> usize {
        let since = between(self.first, time).as_secs_f64() / self.step.as_secs_f64();
        since as usize + 1
    }
}

/// A forecast at the moment of a round.
#[derive(Debug)]
pub(crate) struct Outlook<'a> {
    forecast: &'a Forecast,
    epoch: Epoch<'a>,
}

/// The market at that moment.
#[derive(Debug)]
enum Epoch<'a> {
    /// What it has is seen.
    Seen(DecisionEpoch<'a>),
    /// What it has is believed, with so much chance by zone.
    Believed(BelievedEpoch<'a>, Vec<f64>),
}

impl<'a> Outlook<'a> {
    pub(crate) fn new(forecast: &'a Forecast, now: Timestamp) -> Self {
        let zones = forecast.zones.iter().map(|(_, zone)| *zone);
        let epoch = match &forecast.own {
            None => Epoch::Seen(forecast.horizon.at(zones.collect(), forecast.step_of(now))),
            Some(own) => {
                let prices: Vec<f64> = zones.map(|zone| zone.price).collect();
                let chances = (0..prices.len()).map(|zone| own.chance_up(zone)).collect();
                Epoch::Believed(forecast.horizon.believing(own.zones(&prices)), chances)
            }
        };
        Self { forecast, epoch }
    }

    /// Whether it speaks of that offer.
    pub(crate) fn is_of(&self, offer: &OfferKey) -> bool {
        self.forecast.account == offer.market.account
            && self.forecast.instance_type == offer.market.instance_type
    }

    /// How many machines at once it speaks of.
    pub(crate) fn nodes(&self) -> u32 {
        self.forecast.nodes
    }

    /// Whether a job that has nothing goes on demand now rather than wait for
    /// spot: with that much work left and that long to its deadline.
    pub(crate) fn goes_on_demand(&self, left: Duration, time_left: Duration) -> bool {
        let position = self.position(left, time_left, On::Nothing);
        self.dollars(position, On::OnDemand) < self.dollars(position, On::Nothing)
    }

    /// Whether a job on demand goes to spot of that offer, which is there, or may be: refused,
    /// it begins anew on demand.
    pub(crate) fn goes_back(&self, offer: &OfferKey, left: Duration, time_left: Duration) -> bool {
        let zone = self.forecast.zones.iter().position(|(zone, _)| *zone == offer.market.zone);
        let Some(zone) = zone else { return false };
        let position = self.position(left, time_left, On::OnDemand);
        let anew = JobPosition { on: On::Nothing, ..position };
        let refused = || self.dollars(anew, On::OnDemand);
        self.tried(position, zone, refused) < self.dollars(position, On::OnDemand)
    }

    /// Expected dollars a machine of a job that has nothing yet.
    pub(crate) fn expected(&self, left: Duration, time_left: Duration) -> f64 {
        let position = self.position(left, time_left, On::Nothing);
        let dollars = self.least(position);
        // On the table's scale the job is as much shorter.
        dollars * left.as_secs_f64() / (position.work * self.forecast.step.as_secs_f64())
    }

    /// Expected dollars a machine that `more` time to the deadline saves.
    pub(crate) fn saved_by(&self, left: Duration, time_left: Duration, more: Duration) -> f64 {
        let with = self.expected(left, time_left.saturating_add(more));
        let saved = self.expected(left, time_left) - with;
        if saved.is_finite() { saved.max(0.0) } else { 0.0 }
    }

    fn dollars(&self, position: JobPosition, to: On) -> f64 {
        match &self.epoch {
            Epoch::Seen(epoch) => epoch.dollars(position, to),
            Epoch::Believed(epoch, _) => epoch.dollars(position, to),
        }
    }

    /// Expected dollars of trying a zone, and of what `refused` says if it has nothing.
    fn tried(&self, position: JobPosition, zone: usize, refused: impl Fn() -> f64) -> f64 {
        let there = self.dollars(position, On::Spot(zone));
        match &self.epoch {
            Epoch::Seen(_) => there,
            Epoch::Believed(_, chances) => match chances.get(zone).copied().unwrap_or(0.0) {
                never if never <= 0.0 => f64::INFINITY,
                certain if certain >= 1.0 => there,
                chance => chance * there + (1.0 - chance) * refused(),
            },
        }
    }

    /// Expected dollars of the best way to go on.
    fn least(&self, position: JobPosition) -> f64 {
        match &self.epoch {
            Epoch::Seen(epoch) => {
                let actions = epoch.actions(position);
                actions.iter().map(|action| action.dollars).fold(f64::INFINITY, f64::min)
            }
            Epoch::Believed(epoch, chances) => {
                let without =
                    epoch.dollars(position, On::Nothing).min(epoch.dollars(position, On::OnDemand));
                let zones = 0..chances.len();
                zones.map(|zone| self.tried(position, zone, || without)).fold(without, f64::min)
            }
        }
    }

    /// Deadlines beyond the table's are looked at on its scale: the same part of
    /// the time is to spare.
    fn position(&self, left: Duration, time_left: Duration, on: On) -> JobPosition {
        let steps = |span: Duration| span.as_secs_f64() / self.forecast.step.as_secs_f64();
        let scale = (self.forecast.steps as f64 / steps(time_left).max(1.0)).min(1.0);
        JobPosition {
            steps: steps(time_left) * scale,
            work: steps(left) * scale,
            changeover_left: 0.0,
            on,
        }
    }
}

#[cfg(test)]
mod tests {
    use spotwise_model::CapacityType;
    use spotwise_model::OfferKey;
    use spotwise_model::id::PoolName;

    use super::*;
    use crate::spot::horizon::HorizonTerms;
    use crate::spot::own::{Sight, StatedPrior};

    const STEP: Duration = Duration::from_secs(900);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// Of a cheap zone that nobody looks into, and a dear one.
    fn believed(sights: &[Sight]) -> Forecast {
        let mut own = Estimator::new(vec![0, 0], 900.0, StatedPrior::Recorded);
        for sight in sights {
            own.pass();
            own.see(0, *sight);
        }
        let prices = [0.1, 0.2];
        let terms = HorizonTerms { step_seconds: 900.0, on_demand: 0.75, changeover: 0.3 };
        let now = |price| ZoneNow { up: false, age: 1, price };
        Forecast {
            account: Account::local(),
            instance_type: InstanceType::new("m"),
            nodes: 1,
            horizon: Arc::new(own.horizon(&prices, terms, 288, 288.0)),
            zones: vec![(Zone::new("a"), now(prices[0])), (Zone::new("b"), now(prices[1]))],
            step: STEP,
            steps: 288,
            first: Timestamp::UNIX_EPOCH,
            training: TrainingWindow::default(),
            own: Some(Arc::new(own)),
        }
    }

    fn offer(zone: &str) -> OfferKey {
        let (zone, kind) = (Zone::new(zone), InstanceType::new("m"));
        OfferKey::recorded(PoolName::new("p"), zone, kind, CapacityType::Spot)
    }

    fn outlook(forecast: &Forecast) -> Outlook<'_> {
        Outlook::new(forecast, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_job_leaves_on_demand_for_what_is_there_and_not_for_what_was_just_refused() {
        let goes = |sights: &[Sight]| {
            let forecast = believed(sights);
            outlook(&forecast).goes_back(&offer("a"), 8 * HOUR, 20 * HOUR)
        };
        assert!(goes(&[Sight::Held; 8]));
        assert!(!goes(&[Sight::Refused; 8]));
        assert!(!goes(&[Sight::Held, Sight::Taken]));
    }

    #[test]
    fn what_is_expected_lies_between_spot_and_on_demand_by_what_is_believed() {
        let expected = |sights: &[Sight]| {
            let forecast = believed(sights);
            outlook(&forecast).expected(8 * HOUR, 20 * HOUR)
        };
        let (there, unknown, gone) =
            (expected(&[Sight::Held; 40]), expected(&[]), expected(&[Sight::Refused; 40]));
        assert!(
            32.0 * 0.1 < there && there < unknown && unknown < gone,
            "{there} {unknown} {gone}"
        );
        assert!(gone < 33.0 * 0.75, "{gone}");
    }

    #[test]
    fn a_job_with_no_slack_goes_on_demand_and_one_with_much_waits() {
        let forecast = believed(&[Sight::Held; 8]);
        let outlook = outlook(&forecast);
        assert!(outlook.goes_on_demand(8 * HOUR, 8 * HOUR + STEP));
        assert!(!outlook.goes_on_demand(2 * HOUR, 40 * HOUR));
    }
}
