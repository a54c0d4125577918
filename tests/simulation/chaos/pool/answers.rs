//! What workers make of the scheduler's answers.

use rand::RngExt;
use spotwise_supervisor::HeartbeatAnswer;

use super::super::events::Response;
use super::super::sim::Sim;
use super::super::submissions::CommandBehaviour;
use super::super::time::{Ms, SECOND};
use super::super::worker::{Phase, Pid, Task};

/// A worker turns to the other scheduler, or asks again, after this.
const RETRY_AFTER: Ms = 700;

impl Sim {
    pub(crate) fn worker_receives(&mut self, pid: Pid, id: u64, made: Ms, response: &Response) {
        let leave_after = self.leaves_after(pid);
        let ready = self.now + self.rng.random_range(500..5 * SECOND);
        let Some(worker) = self.cloud.workers.get(&pid).filter(|w| w.alive) else { return };
        let ran = worker.running_since.is_some();
        let report = worker.asked.is_some_and(|(asked, _)| asked == id);
        let beat = worker.beat.is_some_and(|(asked, _)| asked == id);
        if !report && !beat {
            return;
        }
        match response {
            Response::Fenced => return self.worker_is_superseded(pid, ran),
            Response::Unavailable => return self.asks_again(pid, report, RETRY_AFTER),
            Response::Assigned(None) => return self.asks_later(pid),
            Response::Assigned(Some(task)) => self.takes_task(pid, *task, made, ready),
            Response::Orders(orders) => self.takes_orders(pid, made, orders.clone(), leave_after),
            _ => {}
        }
        if report {
            self.is_answered(pid);
        }
        self.command_over_if(pid, ran);
        self.speak(pid);
        self.set_wake(pid);
    }

    fn worker_is_superseded(&mut self, pid: Pid, ran: bool) {
        let now = self.now;
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        if worker.messages.front().is_some_and(|message| message.is_last()) {
            self.fired.note("late_result_refused");
        }
        self.log(|| format!("worker {pid} is superseded"));
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        if !worker.superseded(now) {
            return self.set_wake(pid);
        }
        if ran {
            self.command_over(pid);
        }
        if let Some(worker) = self.cloud.workers.get_mut(&pid) {
            worker.vanish(now);
        }
        self.pool_changed();
    }

    /// Nobody could answer.
    fn asks_again(&mut self, pid: Pid, report: bool, after: Ms) {
        let at = self.now + after;
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        worker.speaks_to += 1;
        if report {
            worker.asked = None;
            worker.reports_after = at;
        } else {
            worker.next_beat = at;
        }
        self.set_wake(pid);
    }

    /// Its gang is not complete.
    fn asks_later(&mut self, pid: Pid) {
        let at = self.now + SECOND;
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        worker.asked = None;
        worker.reports_after = at;
        self.set_wake(pid);
    }

    fn takes_task(&mut self, pid: Pid, mut task: Task, made: Ms, ready: Ms) {
        task.behaviour = self.behaviour_of(pid);
        let newest = self.newest_saved_before(pid);
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        if worker.phase != Phase::Register {
            return;
        }
        if task.newest_saved {
            (task.restore, task.done) = newest;
        }
        worker.assigned(task, made, ready);
        self.note_money(pid, true);
        self.check_resumed(pid, newest);
    }

    fn takes_orders(&mut self, pid: Pid, made: Ms, orders: HeartbeatAnswer, leave_after: Ms) {
        let now = self.now;
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        let had_money = !worker.is_out_of_money();
        worker.obey(made, orders, now, leave_after);
        self.note_money(pid, had_money);
    }

    /// A report is answered: the next one follows, or the worker ends.
    fn is_answered(&mut self, pid: Pid) {
        let now = self.now;
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        worker.asked = None;
        if worker.messages.pop_front().is_some_and(|message| message.is_last()) {
            worker.alive = false;
            worker.phase = Phase::Gone;
            worker.died_at = Some(now);
        }
    }

    fn behaviour_of(&self, pid: Pid) -> CommandBehaviour {
        let job = self.cloud.workers.get(&pid).map(|w| w.place.attempt.job);
        let job = job.and_then(|job| self.store.tables.jobs.get(&job));
        job.and_then(|job| self.submission_of(&job.spec.name))
            .map_or_else(CommandBehaviour::default, |c| c.behaviour)
    }
}
