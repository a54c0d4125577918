//! What runs, judged at every start and end of a command.

use spotwise_model::attempt::StopReason;
use spotwise_model::timing::LEASE_MARGIN;
use spotwise_model::{Attempt, InstanceId, Outcome};

use super::super::sim::Sim;
use super::super::time::{self, Ms, SECOND};
use super::super::worker::Pid;
use super::ORPHAN_BOUND;

/// A notice was this late on its way to the worker at most; what was later, the worker
/// cannot know.
const ON_ITS_WAY: Ms = SECOND / 2;

impl Sim {
    /// A command is about to run: no other of its job may.
    pub(crate) fn start_command(&mut self, pid: Pid) {
        let now = self.now;
        let place = self.cloud.workers[&pid].place;
        let others: Vec<(Pid, bool)> = self
            .cloud
            .workers
            .iter()
            .filter(|(other, w)| {
                **other != pid
                    && w.place.attempt.job == place.attempt.job
                    && w.running_since.is_some()
                    && (w.place.attempt != place.attempt || w.place.rank == place.rank)
            })
            .map(|(other, w)| (*other, w.alive))
            .collect();
        for (other, alive) in others {
            let whose = self.cloud.workers[&other].place.attempt;
            if alive {
                self.fail(format!("{} starts while {whose} (worker {other}) runs", place.attempt));
            } else {
                self.tally.abandoned.entry(other).or_insert(now);
                self.log(|| {
                    format!("{} starts while an abandoned command of {whose} runs", place.attempt)
                });
            }
        }
        if let Some(worker) = self.cloud.workers.get_mut(&pid) {
            worker.start(now);
        }
    }

    /// A command has ended: whatever it was, how long was it nobody's?
    pub(crate) fn command_over(&mut self, pid: Pid) {
        let Some(worker) = self.cloud.workers.get(&pid) else { return };
        // From then on a replacement may run.
        let lost = worker.answered + worker.unanswered_for + time::millis(LEASE_MARGIN);
        if worker.alive && self.now > lost {
            let late = (self.now - lost) / SECOND;
            self.fail(format!("worker {pid} ran its command for {late} s without a lease"));
        }
        if !self.cloud.workers[&pid].alive {
            self.pool_changed();
        }
        if let Some(since) = self.tally.abandoned.remove(&pid) {
            let overlap = self.now.saturating_sub(since);
            self.tally.longest_overlap = self.tally.longest_overlap.max(overlap);
        }
        let Some(worker) = self.cloud.workers.get(&pid) else { return };
        let attempt = self.store.tables.attempts.get(&worker.place.attempt);
        let Some(over) = attempt.and_then(|a| a.state.ended()) else { return };
        if worker.started {
            let orphan = self.now.saturating_sub(time::moment(self.start, over.wall));
            if orphan > ORPHAN_BOUND {
                let whose = worker.place.attempt;
                self.fail(format!("{whose} ran on for {} s after its end", orphan / SECOND));
            }
            self.tally.longest_orphan = self.tally.longest_orphan.max(orphan);
        }
    }

    /// A machine goes when it was announced to go: the commands that were noticed have
    /// ended by then.
    pub(crate) fn check_noticed(&mut self, machine: InstanceId, on: &[Pid]) {
        let known = self.cloud.machines.get(&machine).and_then(|known| known.reclaim_at);
        let goes = known.map_or(Ms::MAX, |at| time::moment(self.start, at));
        if self.now < goes {
            return;
        }
        for pid in on {
            let worker = &self.cloud.workers[pid];
            let noticed = worker.noticed.is_some_and(|gone| gone <= goes + ON_ITS_WAY);
            if !worker.alive || !noticed || worker.running_since.is_none() {
                continue;
            }
            self.fail(format!("worker {pid} was noticed, and its command ran to the reclaim"));
        }
    }

    /// An attempt is over and another may follow: no command of it runs beside a worker
    /// that lives.
    pub(super) fn runs_after_its_end(&self, attempt: &Attempt) -> Option<String> {
        let replaced = matches!(
            attempt.state.outcome()?,
            Outcome::Lost | Outcome::Stopped { reason: StopReason::Moved | StopReason::GangBroken }
        );
        let workers = self.cloud.of_attempt(attempt.id).into_iter();
        let left = workers.filter(|_| replaced).find(|pid| {
            let worker = &self.cloud.workers[pid];
            worker.alive && worker.running_since.is_some()
        })?;
        Some(format!("{} is over, and its worker {left} still runs its command", attempt.id))
    }
}
