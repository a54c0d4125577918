//! When a scheduler's loop has to look again: the driver looks ten times a
//! second, here it is enough to be there when it matters.

use jiff::{SignedDuration, Timestamp};
use spotwise_model::JobState;
use spotwise_model::attempt::StopReason;
use spotwise_scheduler::core::State;

use super::super::sim::Sim;
use super::super::time::{self, Ms, SECOND};
use super::{Leader, PLAN_GAP, REAP, REPLAN};

impl Sim {
    /// When the loop has to look again, if nobody calls.
    pub(super) fn next_tick(&self, leader: &Leader) -> Option<Ms> {
        let state = &leader.state;
        let mut next = Vec::new();
        if let Some((ready, _)) = &leader.plan {
            next.push(*ready);
        }
        let open = state
            .jobs
            .values()
            .any(|j| matches!(j.state, JobState::Waiting { .. } | JobState::Active { .. }));
        if open || !state.instances.is_empty() {
            let planned = leader.planned_at.unwrap_or(self.now);
            let pause = if leader.news { PLAN_GAP } else { REPLAN };
            next.push(planned + pause);
            let change = self.place.market.next_change(self.cloud_time());
            next.extend(change.map(|at| time::moment(self.start, at)));
        }
        if self.cloud.workers.values().any(|w| !w.alive && w.running_since.is_some()) {
            next.push(leader.reaped.unwrap_or(0) + REAP);
        }
        for moment in self.deadlines(state) {
            let moment = time::moment(self.start, moment);
            next.push(moment.div_ceil(SECOND) * SECOND + 1);
        }
        next.extend(self.budget_moments(state));
        next.into_iter().filter(|at| *at > self.now).min()
    }

    /// Times at which some phase has something to do.
    fn deadlines(&self, state: &State) -> Vec<Timestamp> {
        use spotwise_model::time::{add, after};
        let secs = std::time::Duration::from_secs;
        let mut times = Vec::new();
        for attempt in state.attempts.values() {
            let job = state.jobs.get(&attempt.id.job);
            let own = job.and_then(|job| job.spec.checkpoint.as_ref()).map(|c| c.grace);
            let grace = own.unwrap_or(self.config.default_grace);
            if !attempt.state.is_live() {
                let unanswered = attempt.nodes.iter().any(|node| node.exited.is_none());
                let ended = attempt.state.ended().map(|at| at.wall);
                if let (true, Some(ended)) = (unanswered, ended) {
                    times.extend([11, 32, 73, 160].map(|s| after(ended, secs(s))));
                }
                continue;
            }
            // Where others pay their part of its machine it may have more.
            times.extend(attempt.fuse.map(|fuse| add(fuse.burns, -SignedDuration::from_secs(4))));
            if let Some(order) = attempt.stop {
                times.push(after(order.at.wall, grace + secs(5)));
                times.push(after(order.at.wall, grace + secs(30)));
                times.push(after(order.at.wall, self.config.lease + secs(5)));
                times.extend(order.reclaim_wall.map(|at| after(at, secs(5))));
            }
            let begun = state.seen.since.unwrap_or(self.clock().wall);
            let patience = self.config.lease + grace + secs(6);
            for rank in 0..attempt.nodes.len() as u32 {
                let heard = state.seen.heartbeats.get(&(attempt.id, rank)).copied();
                times.push(after(heard.unwrap_or(begun).max(begun), patience));
            }
            if let spotwise_model::AttemptState::Launching { since, .. } = attempt.state {
                times.push(after(since.wall.max(begun), secs(61)));
                times.push(after(self.clock().wall, secs(5)));
            }
            let timeout = job.and_then(|job| job.spec.timeout);
            times.extend(timeout.zip(attempt.state.started()).map(|(t, s)| after(s.market, t)));
        }
        for machine in state.instances.values() {
            if let spotwise_model::InstanceState::Noticed { reclaim_at, .. } = machine.state {
                times.push(reclaim_at);
            }
        }
        times.extend(state.jobs.values().filter_map(|job| job.not_before));
        times
    }

    /// When a budget has to be looked at again: the driver looks ten times a
    /// second, here it is enough to be there when it matters.
    fn budget_moments(&self, state: &State) -> Option<Ms> {
        use spotwise_scheduler::phase::settle::accrued;
        let bounded = |a: &&spotwise_model::Attempt| {
            a.state.is_live()
                && a.stop.is_none_or(|order| StopReason::Budget.tightens(order.reason))
                && state.jobs.get(&a.id.job).is_some_and(|job| job.spec.budget.is_some())
        };
        let live: Vec<_> = state.attempts.values().filter(bounded).collect();
        if live.is_empty() {
            return None;
        }
        let costs = accrued(state, &self.place.market, &self.config.policy, self.clock());
        let seconds = live.iter().filter_map(|attempt| {
            let job = state.jobs.get(&attempt.id.job)?;
            let all: i64 = state
                .attempts_of(job.id)
                .filter_map(|a| costs.get(&a.id))
                .map(|m| m.micros())
                .sum();
            let left = job.spec.budget?.micros() - job.spent.micros() - all;
            // A commitment that ends leaves its machines on demand.
            let machines = attempt.instances.iter().filter_map(|id| state.instances.get(id));
            let on_demand = machines.filter(|machine| !machine.stints.is_empty());
            let on_demand: i64 = on_demand.map(|machine| machine.on_demand.micros_per_hour()).sum();
            let offer = state.seen.offers.iter().find(|offer| offer.key == attempt.offer);
            let rate = match offer.map(|offer| offer.price.micros_per_hour()) {
                Some(price) => on_demand.max(price * attempt.nodes.len() as i64),
                None if on_demand > 0 => on_demand,
                None => return None,
            };
            let grace = job.spec.checkpoint.as_ref().map_or(self.config.default_grace, |c| c.grace);
            let seconds = left.saturating_mul(3_600) / rate.max(1) - grace.as_secs() as i64 - 6;
            Some(seconds.max(0) as u64 * 9 / 10)
        });
        seconds.min().map(|seconds| (self.now / SECOND + seconds.max(1)) * SECOND)
    }
}
