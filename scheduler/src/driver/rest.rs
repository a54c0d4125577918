//! When the loop looks at the world, and what it starts alongside itself.

use std::time::{Duration, Instant};

use spotwise_model::{JobState, Now};

use super::{Driver, Parts};
use spotwise_control::phase::{due, forecast, plan};
use spotwise_control::view::offers::available_spot;

impl Driver {
    /// How long nothing needs doing, if no call arrives.
    pub(super) fn pause(&self) -> Duration {
        let now = self.now();
        let look = self.alarm.rest(now.wall);
        let look = self.plan_rest(now).map_or(look, |plan| plan.min(look));
        look.max(self.phases.rest(Instant::now()))
    }

    /// How long until the next plan is due; `None` if there is nothing to plan, or one is
    /// being made.
    fn plan_rest(&self, now: Now) -> Option<Duration> {
        let open =
            |state: &JobState| matches!(state, JobState::Waiting { .. } | JobState::Active { .. });
        let any = self.state.jobs.values().any(|job| open(&job.state));
        let rest = any.then(|| self.planner.rest(self.news, now)).flatten()?;
        Some(rest.max(self.fitter.holds_plans()))
    }

    /// Whether the phases run in this round: when something is due or was received, or a
    /// question arrived, and they have rested.
    pub(super) fn phases_due(&mut self, told: bool, asked: bool, now: Now) -> bool {
        let wants = self.parts.inbox.take_wake()
            || told
            || self.alarm.rings(now.wall)
            || self.plan_rest(now) == Some(Duration::ZERO)
            || (asked && self.alarm.is_stale(now.wall));
        let rested = self.phases.rest(Instant::now()).is_zero();
        if wants && !rested {
            self.alarm.ring();
        }
        wants && rested
    }

    /// Changes are looked at once more, soon; after that only what the passage of time
    /// requires.
    pub(super) fn set_alarm(&mut self, changed: bool, now: Now) {
        let Parts { market, config, scale, effects, .. } = &self.parts;
        let again = changed.then_some(now.wall);
        let due = due::next(&self.state, market, &config.control, now).earliest(*scale);
        let due = again.into_iter().chain(due).chain(effects.due(&self.state)).min();
        self.alarm.set(now.wall, due);
    }

    /// Has a plan made, if one is due.
    pub(super) fn start_planning(&mut self, now: Now) {
        if self.plan_rest(now) == Some(Duration::ZERO) {
            self.news = false;
            let input = plan::plan_input(&self.state, &self.parts.config.control, now);
            self.planner.begin(input, &self.parts.handle, now);
        }
    }

    /// Has a missing or outdated forecast fitted.
    pub(super) fn start_fitting(&mut self, now: Now) {
        self.fitter.note(forecast::is_any_missing(&self.state));
        if self.fitter.is_busy() || !forecast::is_any_due(&self.state, now.market) {
            return;
        }
        let Parts { market, config, handle, .. } = &self.parts;
        let available = available_spot(&self.state, &market.quotes(now.market));
        let changeover = config.control.policy.changeover;
        if let Some(fit) = forecast::due(&self.state, market, &available, changeover, now.market) {
            self.fitter.begin(fit, handle);
        }
    }
}
