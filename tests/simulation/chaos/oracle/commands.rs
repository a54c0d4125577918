//! What runs, judged at every start and end of a command.

use super::super::crew::Pid;
use super::super::sim::Sim;
use super::super::time::{self, SECOND};
use super::ORPHAN_BOUND;

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
                self.say(|| {
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
        if !worker.alive {
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
}
