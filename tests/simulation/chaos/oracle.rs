//! What must hold after every round and at the end, judged from outside.

mod commands;
mod end;
mod layouts;
mod money;
mod tally;

use std::collections::BTreeMap;

use spotwise_control::core::Change;
use spotwise_model::{AttemptId, InstanceState, JobId, JobState};

use super::events::Event;
use super::faults::Kind;
use super::sim::Sim;
use super::time::{self, MINUTE, Ms, SECOND};
use money::over_budget;
pub(crate) use tally::Tally;

/// Nothing of an attempt that is over is left for longer: the reaper's period,
/// the longest lag of a list, and the latest kill.
const ORPHAN_BOUND: Ms = 20 * MINUTE;

impl Sim {
    /// Before a round is written.
    pub(crate) fn check_round(&mut self, changes: &[Change]) {
        let mut broken = Vec::new();
        let mut now_live: BTreeMap<JobId, AttemptId> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Job(job) => {
                    let before = self.store.tables.jobs.get(&job.id);
                    if let Some(before) = before.filter(|before| before.state.is_terminal())
                        && before.state != job.state
                    {
                        broken.push(format!(
                            "{} was {:?} and is {:?}",
                            job.id, before.state, job.state
                        ));
                    }
                }
                Change::Attempt(attempt) => {
                    let before = self.store.tables.attempts.get(&attempt.id);
                    if before.is_some_and(|b| b.slots != attempt.slots) {
                        broken.push(format!("{} has left its slot", attempt.id));
                    }
                    if before.is_some_and(|b| !b.state.is_live()) && attempt.state.is_live() {
                        broken.push(format!("{} lives again", attempt.id));
                    }
                    let heard =
                        |a: &spotwise_model::Attempt| (a.nodes.clone(), a.checkpoint, a.progress);
                    if before.is_some_and(|b| !b.state.is_live() && heard(b) != heard(attempt)) {
                        broken.push(format!("{} is over and was heard", attempt.id));
                    }
                    if before.is_none() {
                        broken.extend(self.runs_too_soon(attempt.id, changes));
                    }
                    if attempt.state.is_live() {
                        now_live.insert(attempt.id.job, attempt.id);
                    }
                }
                _ => {}
            }
        }
        for what in broken {
            self.fail(what);
        }
    }

    /// A job is tried although something that it waits for has not come.
    fn runs_too_soon(&self, attempt: AttemptId, changes: &[Change]) -> Option<String> {
        let find = |id: JobId| {
            let changed = changes.iter().rev().find_map(|change| match change {
                Change::Job(job) if job.id == id => Some(&**job),
                _ => None,
            });
            changed.or_else(|| self.store.tables.jobs.get(&id))
        };
        let job = find(attempt.job)?;
        let missing = job.after.iter().find(|parent| {
            let ending = find(**parent).and_then(|parent| parent.state.ending());
            !ending.is_some_and(|ending| job.condition(**parent).is_met_by(ending))
        })?;
        Some(format!("{attempt} is tried and {missing} has not ended as it should"))
    }

    /// After a round was written: the cloud hears of it, and what must hold
    /// between rounds is checked.
    pub(crate) fn follow(&mut self, changes: &[Change]) {
        let now = self.cloud_time();
        for change in changes {
            match change {
                Change::Event(event) => {
                    self.log(|| format!("  {} {}", event.job, event.message));
                }
                Change::Instance(machine) if super::account::is_cloud(&machine.offer) => {
                    self.log(|| format!("  {} {:?}", machine.id, machine.state));
                }
                Change::Instance(machine) => {
                    if let Err(what) = self.cloud.follow(machine, now) {
                        self.fail(what);
                    }
                    if let InstanceState::Noticed { at, reclaim_at, .. } = machine.state {
                        self.on_notice(
                            machine,
                            time::moment(self.start, at),
                            time::moment(self.start, reclaim_at),
                        );
                    }
                }
                Change::Attempt(attempt) => {
                    // It asks twice a second, and so hears of this soon.
                    if attempt.state.is_live()
                        && (attempt.stop.is_some() || attempt.cutoff.is_some())
                    {
                        self.hint(attempt.id);
                    }
                    if let Some(what) = self.runs_after_its_end(attempt) {
                        self.fail(what);
                    }
                    if let (Some(cutoff), true) = (attempt.cutoff, attempt.state.is_live()) {
                        self.expect_the_end(attempt.id, cutoff);
                    }
                }
                _ => {}
            }
        }
        self.check_jobs(changes);
        self.check_layouts(changes);
    }

    fn on_notice(&mut self, machine: &spotwise_model::Instance, at: Ms, reclaim_at: Ms) {
        let id = machine.id;
        let offer = &machine.offer;
        if self.simulated_market.reclaims.iter().any(|r| (*r..*r + 15 * SECOND).contains(&at)) {
            self.note(Kind::MassReclaim);
        }
        if self
            .simulated_market
            .droughts
            .iter()
            .any(|(from, _)| (*from..*from + 5 * SECOND).contains(&at))
        {
            self.note(Kind::IceAllPools);
        }
        // Capacity that comes back, or goes once more, before the machine goes.
        let mut moment = at;
        let mut available = 0;
        while let Some(next) =
            self.simulated_market.market.next_change(time::at(self.start, moment))
        {
            moment = time::moment(self.start, next);
            if moment >= reclaim_at {
                break;
            }
            let quote = self.simulated_market.market.quote(
                &offer.market.zone,
                &offer.market.instance_type,
                offer.market.capacity_type,
                next,
            );
            let there = quote.map_or(0, |quote| quote.available);
            if there > available && self.scenario.kinds.contains(&Kind::NoticeWithdrawn) {
                self.note(Kind::NoticeWithdrawn);
            }
            if there < available && self.scenario.kinds.contains(&Kind::NoticeTwice) {
                self.note(Kind::NoticeTwice);
            }
            available = there;
        }
        let goes = if self.strikes(Kind::NoticeLate, 8) { self.now + SECOND } else { reclaim_at };
        if self.strikes(Kind::WrongInstance, 8) {
            let others: Vec<_> = self
                .store
                .tables
                .live_machines()
                .filter(|m| m.offer == *offer && m.id != id)
                .map(|m| m.id)
                .collect();
            if let Some(other) = others.first() {
                self.at(reclaim_at, Event::MachineGone(*other));
            }
        } else {
            self.at(goes, Event::MachineGone(id));
        }
    }

    fn check_jobs(&mut self, changes: &[Change]) {
        let touched = changes.iter().filter_map(|change| match change {
            Change::Job(job) => Some(job.id),
            Change::Attempt(attempt) => Some(attempt.id.job),
            _ => None,
        });
        let (mut broken, mut overruns) = (Vec::new(), Vec::new());
        for id in touched.collect::<std::collections::BTreeSet<_>>() {
            let tables = &self.store.tables;
            let Some(job) = tables.jobs.get(&id) else {
                broken.push(format!("{id} has attempts and is not there"));
                continue;
            };
            let all = AttemptId { job: id, number: 0 }..=AttemptId { job: id, number: u32::MAX };
            let attempts: Vec<_> = tables.attempts.range(all).map(|(_, attempt)| attempt).collect();
            let live = attempts.iter().filter(|a| a.state.is_live()).count();
            let active = matches!(job.state, JobState::Active { .. });
            if live > 1 || active != (live == 1) {
                broken.push(format!("{id} is {} and has {live} live attempts", job.state.name()));
            }
            if let Some(budget) = job.spec.budget {
                if attempts.iter().any(|a| a.state.is_live() && a.hold.micros() <= 0) {
                    broken.push(format!("{id} has a budget and runs without a hold"));
                }
                let over = over_budget(job, budget, &attempts);
                overruns.extend((over > 0).then(|| (id, over, self.cost_of_rises(&attempts))));
            }
            broken.extend(attempts.iter().filter_map(|attempt| self.runs_on_no_money(attempt)));
        }
        for (id, over, explained) in overruns {
            broken.extend(self.judge_overrun(id, over, explained));
        }
        for what in broken {
            self.fail(what);
        }
    }
}
