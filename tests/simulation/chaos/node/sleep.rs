//! When a scheduler's loop has to look again, and that it misses nothing until then.

use spotwise_control::core::Change;
use spotwise_control::phase::due;
use spotwise_control::phase::round::{self, Received, RoundInputs, WorkingState};
use spotwise_model::time::TimeScale;
use spotwise_model::{JobState, Now};

use super::super::sim::Sim;
use super::super::time::{self, Ms};
use super::leader::{Leader, PLAN_GAP, REAP, REPLAN, Sleep};

/// What a round has changed is looked at once more after so long.
const TICK: Ms = 100;
/// One sleep in so many is looked into: a round on a copy of everything.
const LOOKED_INTO: u64 = 24;

impl Sim {
    /// When the loop has to look again, if nobody calls: when the product says that
    /// something is due, and where the pool or the planner has something to say.
    pub(super) fn next_tick(&self, leader: &mut Leader, changed: bool) -> Option<Ms> {
        let state = &leader.state;
        let mut next = Vec::new();
        if let Some((ready, ..)) = &leader.plan {
            next.push(*ready);
        }
        let open = state
            .jobs
            .values()
            .any(|j| matches!(j.state, JobState::Waiting { .. } | JobState::Active { .. }));
        leader.sleep = None;
        if open || !state.instances.is_empty() {
            let planned = leader.planned_at.unwrap_or(self.now);
            let pause = if leader.news { PLAN_GAP } else { REPLAN };
            next.push(planned + pause);
            let due = due::next(state, &self.simulated_market.market, &self.config, self.clock());
            let due = due.earliest(TimeScale::real(self.start)).map(|at| self.no_sooner(at));
            leader.sleep = Some(Sleep { from: self.now, until: due }).filter(|_| !changed);
            next.extend(due);
        }
        next.extend(changed.then_some(self.now + TICK));
        next.extend(leader.outstanding.due(state).map(|at| self.no_sooner(at)));
        next.extend(self.next_listing(leader));
        next.push(self.feed.silent);
        if self.cloud.workers.values().any(|w| !w.alive && w.running_since.is_some()) {
            next.push(leader.reaped.unwrap_or(0) + REAP);
        }
        next.into_iter().filter(|at| *at > self.now).min()
    }

    /// The first moment that is not before a time.
    fn no_sooner(&self, at: jiff::Timestamp) -> Ms {
        let moment = time::moment(self.start, at);
        moment + Ms::from(time::at(self.start, moment) < at)
    }

    /// A round at any moment of a sleep would have changed nothing.
    pub(super) fn check_sleep(&mut self, leader: &mut Leader) {
        let Some(Sleep { from, until }) = leader.sleep.take() else { return };
        let end = until.map_or(self.now, |until| until.min(self.now));
        // No die of the world's own: with and without this it is the same.
        let die = (self.now ^ from.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        if end <= from + 1 || !die.is_multiple_of(LOOKED_INTO) {
            return;
        }
        // The last moment of all most often: what is due rarely comes early.
        let at = if die & 64 == 0 { end - 1 } else { from + 1 + die % (end - from - 1) };
        let wall = time::at(self.start, at);
        let market = jiff::Timestamp::from_second(wall.as_second()).unwrap_or(wall);
        let mut state = leader.state.clone();
        let now = Now { wall, market };
        let (prices, _) = self.ask_feed(&state, now);
        let mut working = WorkingState { state: &mut state, changes: Vec::new() };
        let inputs = RoundInputs { market: &self.simulated_market.market, config: &self.config };
        round::run(&mut working, Received { plan: None, prices }, inputs, now);
        let nearly_due = until.is_some_and(|until| until <= at + TICK);
        let missed = working.changes.iter().find(|change| is_missed(leader, change, nearly_due));
        if let Some(missed) = missed {
            let when = format!("asleep from {from} until {until:?} a scheduler missed at {at}");
            let before = match missed {
                Change::Attempt(attempt) => leader.state.attempts.get(&attempt.id),
                _ => None,
            };
            self.fail(format!("{when}: {missed:?}, which was {before:?}"));
        }
        self.fired.note("slept");
    }
}

/// Whether a change should have been made by then. What an ended attempt still holds
/// and until when money lasts are reckoned anew in every round, to the last
/// micro-dollar and second: no moment is the right one, and that there is more money is
/// told up to a tenth of a second late.
fn is_missed(leader: &Leader, change: &Change, nearly_due: bool) -> bool {
    match change {
        Change::Availability(_) | Change::Prices(_) => false,
        Change::Attempt(attempt) => {
            let Some(before) = leader.state.attempts.get(&attempt.id) else { return true };
            let mut same = (**attempt).clone();
            same.hold = before.hold;
            if let (Some(cutoff), Some(standing)) = (same.cutoff, before.cutoff) {
                let earlier = standing.stop_at.duration_since(cutoff.stop_at).as_secs_f64();
                if earlier.abs() <= 2.0 || (earlier < 0.0 && nearly_due) {
                    same.cutoff = before.cutoff;
                }
            }
            same != *before
        }
        _ => true,
    }
}
