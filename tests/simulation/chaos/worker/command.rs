//! The command of a worker: it works, saves, and ends by itself, when it is told to, or
//! by SIGKILL.

use spotwise_model::attempt::{Exit, Told};
use spotwise_model::outcome::EXIT_REQUEUE;
use spotwise_supervisor::{Action, LastReport};

use super::super::time::{Ms, SECOND};
use super::{Phase, Task, Worker, WorkerMessage};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

impl Worker {
    /// Starts the command.
    pub(crate) fn start(&mut self, now: Ms) {
        self.started = true;
        self.running_since = Some(now);
        self.counted = now;
        self.saved_at = now;
        self.phase = Phase::Run;
        self.messages.push_back(WorkerMessage::Started);
    }

    /// Work done up to now counts.
    pub(crate) fn count(&mut self, now: Ms) {
        if let (Some(task), Some(_)) = (&mut self.task, self.running_since) {
            let span = now.saturating_sub(self.counted);
            task.done = (task.done + span).min(task.length());
            self.counted = now;
        }
    }

    /// When a command without its worker is done.
    pub(super) fn ends_alone(&self) -> Option<Ms> {
        self.running_since.map(|_| self.done_at())
    }

    /// When the command does something by itself.
    pub(super) fn next_of_command(&self) -> Ms {
        match self.told {
            _ if self.killed => 0,
            Told::Stop => self.leaves,
            _ => self.done_at().min(self.save_at()),
        }
    }

    fn done_at(&self) -> Ms {
        self.task.map_or(Ms::MAX, |task| self.counted + task.length().saturating_sub(task.done))
    }

    fn save_at(&self) -> Ms {
        let every = self.task.and_then(|task| task.saves_every);
        every.map_or(Ms::MAX, |every| self.saved_at + every)
    }

    /// What the command does by itself: it saves, is done, or leaves as it was told.
    pub(super) fn run(&mut self, now: Ms) {
        self.count(now);
        if !self.alive || self.told != Told::Stop {
            if self.alive && self.save_at() <= now {
                self.save(now);
            }
            if self.done_at() <= now {
                let behaviour = self.task.map(|task| task.behaviour).unwrap_or_default();
                let code = behaviour.exits_at_once.unwrap_or(i32::from(behaviour.fails_late));
                self.ended(Exit::Code(code), now);
            }
        } else if self.leaves <= now {
            self.leave(now);
        }
    }

    /// The command ends as it was told to.
    fn leave(&mut self, now: Ms) {
        let saves = self.task.is_some_and(|task| task.saves_every.is_some());
        let returns_0 = self.task.is_some_and(|task| task.behaviour.returns_0);
        if saves {
            self.save(now);
        }
        self.ended(
            match (returns_0, saves) {
                (true, _) => Exit::Code(0),
                (false, true) => Exit::Code(EXIT_REQUEUE),
                (false, false) => Exit::Signal(SIGTERM),
            },
            now,
        );
    }

    /// Saves, if it may.
    fn save(&mut self, now: Ms) {
        self.saved_at = now;
        let may_save = self.supervisor.as_ref().is_some_and(|supervisor| supervisor.may_save());
        // The first of a gang saves for all.
        if let (Some(task), true, 0) = (self.task, may_save, self.place.rank)
            && task.saves_every.is_some()
        {
            self.sequence += 1;
            self.saves.insert(self.sequence, task.done);
            self.messages
                .push_back(WorkerMessage::Checkpoint { sequence: self.sequence, done: task.done });
        }
    }

    /// What the supervisor wants done to the command. It would leave by itself
    /// `leave_after` a SIGTERM.
    pub(super) fn act(&mut self, actions: Vec<Action>, now: Ms, leave_after: Ms) {
        for action in actions {
            match action {
                Action::WriteNotice { .. } => self.tell(Told::Notice),
                Action::Warn => {}
                Action::Terminate => {
                    let stubborn = self.task.is_some_and(|task| task.behaviour.ignores_term);
                    self.leaves = if stubborn { Ms::MAX } else { now + leave_after };
                    self.tell(Told::Stop);
                }
                Action::Kill => {
                    self.tell(Told::Stop);
                    self.killed = true;
                }
            }
        }
    }

    /// The last message stays the strongest.
    fn tell(&mut self, told: Told) {
        if self.told != Told::Stop {
            self.told = told;
        }
    }

    /// Whether it was ended by SIGKILL.
    pub(crate) const fn was_killed(&self) -> bool {
        self.killed && self.running_since.is_none()
    }

    /// SIGKILL ends the command.
    pub(super) fn die_if_killed(&mut self, now: Ms) {
        if self.killed && self.phase == Phase::Run {
            self.ended(Exit::Signal(SIGKILL), now);
        }
    }

    /// The attempt ends before its command was started.
    pub(super) fn end_unstarted(&mut self, last: Option<LastReport>, now: Ms) {
        self.tell(Told::Stop);
        self.report(last, Exit::Signal(SIGTERM), now);
    }

    fn ended(&mut self, exit: Exit, now: Ms) {
        self.count(now);
        if self.running_since.take().is_some() && self.alive {
            self.ran_until = Some(now);
        }
        let Some(supervisor) = self.supervisor.as_mut().filter(|_| self.alive) else {
            self.phase = Phase::Gone;
            return;
        };
        supervisor.exited();
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        };
        let last = supervisor.last_report(code, self.told == Told::Stop, false);
        self.report(last, exit, now);
    }

    /// Without a report the pool will say that it is gone.
    fn report(&mut self, last: Option<LastReport>, exit: Exit, now: Ms) {
        let told = self.told;
        let message = match last {
            Some(LastReport::Exited) => WorkerMessage::Exited { exit, told },
            Some(LastReport::OutOfMoney) => WorkerMessage::OutOfMoney { exit, told },
            None => return self.vanish(now),
        };
        self.phase = Phase::Report { since: now };
        self.messages.push_back(message);
    }

    /// Whether its command has come to its end, or says so.
    pub(crate) fn is_done(&self) -> bool {
        self.task.is_some_and(|task| {
            let says = self.steps(task.done).is_some_and(|(step, total)| step >= total);
            task.done >= task.length() || says
        })
    }
}

impl Task {
    /// Milliseconds of work until the command ends by itself.
    fn length(&self) -> Ms {
        match self.behaviour.exits_at_once {
            Some(_) => SECOND,
            None => self.whole * self.behaviour.length_percent / 100,
        }
    }
}
