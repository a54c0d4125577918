//! What a scheduler does after a commit: launches, kills, looks, plans.

use rand::RngExt;
use spotwise_control::core::queue::Queue;
use spotwise_control::phase::plan::plan_input;
use spotwise_control::phase::reconcile::Effect;
use spotwise_model::{JobId, JobState};
use spotwise_solver::Guide;

use super::super::events::Event;
use super::super::faults::Kind;
use super::super::sim::Sim;
use super::super::time::{MINUTE, Ms};
use super::leader::{LOOK, Leader, PLAN_GAP, Pending, REAP, REPLAN};

impl Sim {
    /// What follows a commit.
    pub(super) fn act(&mut self, node: usize, pending: Pending) {
        if !pending.looks {
            let rest = self.rng.random_range(1..100);
            self.tick_by(node, self.now + rest);
            return;
        }
        let half = pending.effects.len() / 2;
        let dies = pending.effects.len() > 1 && self.armed == Some(Kind::CrashMidEffects);
        let incarnation = self.nodes[node].incarnation;
        for (index, effect) in pending.effects.into_iter().enumerate() {
            if dies && index >= half {
                self.armed = None;
                self.note(Kind::CrashMidEffects);
                self.crash(node);
                return;
            }
            let span = self.rng.random_range(5..300);
            match effect {
                Effect::LaunchMachine(machine) => {
                    if let Some(leader) = self.nodes[node].leader.take() {
                        self.ask_for_machine(node, machine, &leader);
                        self.nodes[node].leader = Some(leader);
                    }
                }
                Effect::TerminateMachine(machine) => {
                    self.later(span, Event::TerminateMachine(node, incarnation, machine));
                }
                Effect::StartWorker(worker) => {
                    self.later(span, Event::Launch(node, incarnation, worker));
                }
                Effect::Kill(attempt) => {
                    let late = self.now < self.cloud.kills_late_until;
                    let span =
                        if late { span + self.rng.random_range(0..5 * MINUTE) } else { span };
                    self.later(span, Event::Kill(attempt));
                }
            }
        }
        let Some(mut leader) = self.nodes[node].leader.take() else { return };
        let due = |last: Option<Ms>, every, now| last.is_none_or(|last| now >= last + every);
        if due(leader.looked, LOOK, self.now) {
            leader.looked = Some(self.now);
            self.look(node, &leader);
        }
        if due(leader.reaped, REAP, self.now) {
            leader.reaped = Some(self.now);
            self.reap(&leader);
        }
        self.list_pools(node, &leader);
        leader.state.forget_settled();
        self.plan(&mut leader);
        let next = self.next_tick(&mut leader, pending.changed);
        self.nodes[node].leader = Some(leader);
        if let Some(next) = next {
            self.tick_by(node, next);
        }
    }

    fn plan(&mut self, leader: &mut Leader) {
        let open =
            |state: &JobState| matches!(state, JobState::Waiting { .. } | JobState::Active { .. });
        let age = leader.planned_at.map_or(Ms::MAX, |at| self.now - at);
        let due = (leader.news && age >= PLAN_GAP) || age >= REPLAN;
        if leader.plan.is_some() || !due || !leader.state.jobs.values().any(|j| open(&j.state)) {
            return;
        }
        leader.news = false;
        leader.planned_at = Some(self.now);
        let input = plan_input(&leader.state, &self.config, self.clock());
        if input.jobs.is_empty() && input.running.is_empty() {
            return;
        }
        let (plan, report) = spotwise_solver::plan(&input);
        if !report.checked {
            self.fail("the solver's own audit refused its plan".to_owned());
        }
        self.tally.plans += 1;
        let newest = input.jobs.last().map_or(JobId(0), |job| job.id);
        let left = Queue::of(&plan, Guide::of(&plan, &report), newest);
        leader.plan = Some((self.now + self.rng.random_range(10..800), plan, left));
    }
}
