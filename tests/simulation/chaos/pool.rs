//! What happens in the pool: launches, kills, looks, reaping, machines that go,
//! and the workers' wakes.

mod answers;
mod launch;

use std::collections::BTreeSet;

use rand::RngExt;
use spotwise_control::{Command, WorkerId};
use spotwise_model::{AttemptId, InstanceId};

use super::events::{Caller, Event};
use super::faults::Kind;
use super::node::Leader;
use super::sim::Sim;
use super::time::{self, Ms, SECOND};
use super::worker::{Phase, Pid, RESEND_AFTER, WorkerMessage};

impl Sim {
    pub(crate) fn kill(&mut self, attempt: AttemptId) {
        for pid in self.cloud.of_attempt(attempt) {
            if self.cloud.workers[&pid].exists() {
                self.log(|| format!("worker {pid} of {attempt} is killed"));
                self.die(pid);
            }
        }
    }

    /// A worker and its command are gone.
    pub(crate) fn die(&mut self, pid: Pid) {
        if self.cloud.workers.get(&pid).is_some_and(|w| w.running_since.is_some()) {
            self.command_over(pid);
        }
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        worker.vanish(self.now);
        self.pool_changed();
    }

    /// The worker dies, what it started runs on.
    pub(crate) fn die_alone(&mut self, pid: Pid) {
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        worker.count(self.now);
        worker.alive = false;
        worker.messages.clear();
        worker.died_at = Some(self.now);
        self.set_wake(pid);
        self.pool_changed();
    }

    pub(crate) fn machine_gone(&mut self, machine: InstanceId) {
        let on: Vec<Pid> = self.workers_on(machine);
        if !on.is_empty() {
            self.log(|| format!("{machine} is taken back with {on:?}"));
        }
        self.check_noticed(machine, &on);
        for pid in on {
            self.die(pid);
        }
    }

    pub(crate) fn workers_on(&self, machine: InstanceId) -> Vec<Pid> {
        let on = self.cloud.workers.iter().filter(|(_, worker)| {
            let attempt = self.store.tables.attempts.get(&worker.place.attempt);
            let place = attempt.and_then(|a| a.instances.get(worker.place.rank as usize));
            worker.exists() && place == Some(&machine)
        });
        on.map(|(pid, _)| *pid).collect()
    }

    /// The pool's list, as `effects` looks at it: workers that died without a
    /// message.
    pub(crate) fn look(&mut self, node: usize, leader: &Leader) {
        let mut gone = Vec::new();
        let mut hidden = false;
        for attempt in leader.state.attempts.values().filter(|a| a.state.is_live()) {
            for rank in 0..attempt.nodes.len() as u32 {
                let place = WorkerId { attempt: attempt.id, rank };
                let Some(worker) = self.cloud.by_name(place).filter(|w| !w.alive) else { continue };
                if self.cloud.shows(self.now, worker.died_at.unwrap_or(0)) {
                    gone.push(place);
                } else {
                    hidden = true;
                }
            }
        }
        if hidden {
            self.note(Kind::ListLag);
            let until = self.cloud.blind_until;
            self.tick_by(node, until);
        }
        let incarnation = self.nodes[node].incarnation;
        for worker in gone {
            self.tell(node, incarnation, Command::WorkerGone { worker });
        }
    }

    /// Ends what runs of ours although its worker is gone and its attempt over,
    /// or its command started: `capacity::local::is_stray`.
    pub(crate) fn reap(&mut self, leader: &Leader) {
        let live: BTreeSet<AttemptId> =
            leader.state.attempts.values().filter(|a| a.state.is_live()).map(|a| a.id).collect();
        let strays: Vec<Pid> = self
            .cloud
            .workers
            .iter()
            .filter(|(_, w)| !w.alive && w.running_since.is_some())
            .filter(|(_, w)| !live.contains(&w.place.attempt) || w.started)
            .map(|(pid, _)| *pid)
            .collect();
        for pid in strays {
            self.fired.note("reaped");
            self.log(|| format!("stray {pid} is reaped"));
            self.die(pid);
        }
    }

    pub(crate) fn set_wake(&mut self, pid: Pid) {
        let now = self.now;
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        worker.wake += 1;
        let (number, at) = (worker.wake, worker.next(now));
        if at < Ms::MAX {
            self.at(at, Event::Wake(pid, number));
        }
    }

    pub(crate) fn wake_worker(&mut self, pid: Pid, number: u64) {
        let now = self.now;
        let leave_after = self.leaves_after(pid);
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        if worker.wake != number || !worker.exists() {
            return;
        }
        let (ran, had_money) = (worker.running_since.is_some(), !worker.is_out_of_money());
        if worker.is_due(now, leave_after) {
            self.fired.note("worker_stopped_itself");
            self.log(|| format!("worker {pid}: nobody answers, it stops"));
        }
        self.note_money(pid, had_money);
        let worker = self.cloud.workers.get_mut(&pid).expect("it is there");
        let reclaimed = worker.noticed.is_some_and(|gone| gone <= now + time::MINUTE);
        if ran && worker.was_killed() && reclaimed {
            self.note(Kind::ShortNotice);
        }
        let worker = self.cloud.workers.get_mut(&pid).expect("it is there");
        match worker.phase {
            Phase::Boot if worker.boots_at <= now => {
                worker.phase = Phase::Register;
                worker.messages.push_back(WorkerMessage::Register);
            }
            Phase::Prepare { until } if until <= now => self.start_command(pid),
            Phase::Report { .. } if worker.gives_up(now) => self.die(pid),
            _ => {}
        }
        self.command_over_if(pid, ran);
        self.speak(pid);
        self.set_wake(pid);
    }

    /// Its money is over, which it was not before.
    fn note_money(&mut self, pid: Pid, had_money: bool) {
        if had_money && self.cloud.workers[&pid].is_out_of_money() {
            let when = if self.is_led() { "money_over" } else { "money_over_while_nobody_led" };
            self.fired.note(when);
            self.log(|| format!("worker {pid}: its money is over, it stops"));
        }
    }

    /// Its command ran and does so no more.
    fn command_over_if(&mut self, pid: Pid, ran: bool) {
        if self.cloud.workers.get(&pid).is_some_and(|w| ran && w.running_since.is_none()) {
            self.command_over(pid);
        }
    }

    fn leaves_after(&mut self, pid: Pid) -> Ms {
        let grace =
            self.cloud.workers.get(&pid).and_then(|w| w.task).map_or(10 * SECOND, |t| t.grace);
        self.rng.random_range(100..grace + grace / 4)
    }

    /// Says the next message, and a heartbeat where it is due.
    pub(crate) fn speak(&mut self, pid: Pid) {
        let now = self.now;
        let Some(worker) = self.cloud.workers.get_mut(&pid).filter(|w| w.alive) else { return };
        if worker.asked.is_some_and(|(_, made)| now >= made + RESEND_AFTER) {
            worker.asked = None;
            worker.speaks_to += 1;
        }
        if worker.next_beat <= now {
            worker.beats(now);
            worker.count(now);
            let id = self.ask(pid, WorkerMessage::Heartbeat);
            if let Some(worker) = self.cloud.workers.get_mut(&pid) {
                worker.beat = Some((id, now));
            }
        }
        let Some(worker) = self.cloud.workers.get(&pid) else { return };
        if let (Some(message), None) = (worker.messages.front().copied(), worker.asked)
            && now >= worker.reports_after
        {
            let id = self.ask(pid, message);
            if let Some(worker) = self.cloud.workers.get_mut(&pid) {
                worker.asked = Some((id, now));
            }
        }
    }

    fn ask(&mut self, pid: Pid, message: WorkerMessage) -> u64 {
        let worker = &self.cloud.workers[&pid];
        let (command, to, mute) =
            (worker.command(message), worker.speaks_to, now_before(self.now, worker.mute_until));
        if mute || self.strikes(Kind::RequestLost, 500) {
            return self.next_request();
        }
        self.send(to, Caller::Worker(pid), command)
    }

    /// Whether an answer to this caller gets lost.
    pub(crate) fn reply_is_lost(&mut self, caller: Caller) -> bool {
        match caller {
            Caller::Pool => true,
            Caller::Worker(pid) => {
                let deaf = self.cloud.workers.get(&pid).is_some_and(|w| self.now < w.deaf_until);
                deaf || self.strikes(Kind::ReplyLost, 500)
            }
            Caller::Client(_) => self.strikes(Kind::ReplyLost, 20),
        }
    }

    /// An order was committed: the worker hears of it with its next heartbeat,
    /// which is never far.
    pub(crate) fn hint(&mut self, attempt: AttemptId) {
        for pid in self.cloud.of_attempt(attempt) {
            let soon = self.now + self.rng.random_range(50..600);
            if let Some(worker) = self.cloud.workers.get_mut(&pid)
                && worker.next_beat < Ms::MAX
            {
                worker.next_beat = worker.next_beat.min(soon);
                self.set_wake(pid);
            }
        }
    }
}

const fn now_before(now: Ms, until: Ms) -> bool {
    now < until
}
