//! The workers: each boots, registers, starts its command, speaks, saves, obeys,
//! and stops itself when nobody answers. The rules are those of the `worker`
//! crate (`heartbeat`, `supervise`, `voice`).

mod own_stops;

use std::collections::{BTreeMap, VecDeque};

use spotwise_control::command::Loaded;
use spotwise_control::{Command, WorkerId};
use spotwise_model::attempt::{Exit, Told};

use super::jobs::Nature;
use super::time::{HOUR, Ms, SECOND};

/// The time to save before a reclaim: `worker::supervise`.
const SAVE_TIME: Ms = 2 * SECOND;
const KILL_MARGIN: Ms = SECOND;
/// A report that was not answered is said again.
pub(crate) const SAY_AGAIN: Ms = 5 * SECOND;
/// A worker whose last words nobody wants to hear ends.
const PATIENCE: Ms = 2 * HOUR;

/// Number of a process in the cloud.
pub(crate) type Pid = u64;

/// Something to tell the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Register,
    Heartbeat,
    Started,
    Checkpoint {
        sequence: u32,
        done: Ms,
    },
    Exited {
        exit: Exit,
        told: Told,
    },
    /// It stopped its command by itself for want of money.
    OutOfMoney {
        exit: Exit,
        told: Told,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Boot,
    Register,
    /// Brings its inputs in, until then.
    Prepare {
        until: Ms,
    },
    Run,
    Warned {
        term_at: Ms,
        kill_at: Ms,
    },
    /// Told to stop; would be done by itself at `leaves`.
    Stopping {
        leaves: Ms,
        kill_at: Ms,
    },
    /// The command has ended; the last words are being said.
    Say {
        since: Ms,
    },
    Gone,
}

/// What it was told at its registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) restore: Option<Loaded>,
    /// Whether the newest checkpoint of any earlier attempt is wanted instead.
    pub(crate) newest_saved: bool,
    /// Milliseconds of work done before.
    pub(crate) done: Ms,
    pub(crate) whole: Ms,
    pub(crate) saves_every: Option<Ms>,
    pub(crate) grace: Ms,
    /// How long its money lasts, counted from its call.
    pub(crate) money_lasts: Option<Ms>,
    pub(crate) nature: Nature,
}

/// One worker process and its command.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) place: WorkerId,
    pub(crate) phase: Phase,
    pub(crate) boots_at: Ms,
    pub(crate) task: Option<Task>,
    /// Whether the worker process itself is there.
    pub(crate) alive: bool,
    /// Whether its command was ever started.
    pub(crate) started: bool,
    pub(crate) died_at: Option<Ms>,
    /// Since when the command runs.
    pub(crate) running_since: Option<Ms>,
    /// When its command had ended, while the worker was there.
    pub(crate) ran_until: Option<Ms>,
    /// It stops by itself then, unless it is told a later time.
    pub(crate) money: Option<Ms>,
    out_of_money: bool,
    /// When the last call that was answered was made.
    pub(crate) answered: Ms,
    pub(crate) lease: Ms,
    pub(crate) pause: Ms,
    pub(crate) next_beat: Ms,
    /// Up to when `task.done` counts.
    counted: Ms,
    saved_at: Ms,
    sequence: u32,
    /// What it has saved: the checkpoints, and how far each is.
    pub(crate) saves: BTreeMap<u32, Ms>,
    may_save: bool,
    /// Reports not yet answered; the first may be under way.
    pub(crate) words: VecDeque<Word>,
    /// Request under way, and when it was made.
    pub(crate) asked: Option<(u64, Ms)>,
    pub(crate) beat: Option<(u64, Ms)>,
    /// Wakes of an older number are void.
    pub(crate) wake: u64,
    pub(crate) deaf_until: Ms,
    pub(crate) mute_until: Ms,
    /// No report is said before: its link is slow.
    pub(crate) reports_after: Ms,
    /// Whether the scheduler that speaks is node 0.
    pub(crate) speaks_to: usize,
}

impl Worker {
    pub(crate) fn new(place: WorkerId, boots_at: Ms, lease: Ms) -> Self {
        Self {
            place,
            phase: Phase::Boot,
            boots_at,
            task: None,
            alive: true,
            started: false,
            died_at: None,
            running_since: None,
            ran_until: None,
            money: None,
            out_of_money: false,
            answered: boots_at,
            lease,
            pause: lease / 3,
            next_beat: Ms::MAX,
            counted: 0,
            saved_at: 0,
            sequence: 0,
            saves: BTreeMap::new(),
            may_save: true,
            words: VecDeque::new(),
            asked: None,
            beat: None,
            wake: 0,
            deaf_until: 0,
            mute_until: 0,
            reports_after: 0,
            speaks_to: 0,
        }
    }

    /// How far work is, as its command tells it.
    pub(crate) fn steps(&self, done: Ms) -> Option<(u64, u64)> {
        let whole = self.task.map_or(1, |task| task.whole.max(1));
        Some((done.min(whole) / SECOND, whole.div_ceil(SECOND)))
    }

    pub(crate) fn command(&self, word: Word) -> Command {
        let worker = self.place;
        let steps = |done: Ms| self.steps(done);
        let done = self.task.map_or(0, |task| task.done);
        match word {
            Word::Register => {
                Command::Register { worker, handle: "1".to_owned(), address: String::new() }
            }
            Word::Heartbeat => Command::Heartbeat {
                worker,
                step: self.started.then(|| steps(done)).flatten(),
                memory: None,
            },
            Word::Started => Command::Started {
                worker,
                restored: self.task.and_then(|task| task.restore),
                rejected_checkpoints: 0,
            },
            Word::Checkpoint { sequence, done } => {
                Command::Checkpointed { worker, sequence, bytes: 1, step: steps(done) }
            }
            Word::Exited { exit, told } => {
                let step = self.started.then(|| steps(done)).flatten();
                Command::Exited { worker, exit, told, step }
            }
            Word::OutOfMoney { exit, told } => {
                let step = self.started.then(|| steps(done)).flatten();
                Command::OutOfMoney { worker, exit, told, step }
            }
        }
    }

    /// When it has to be looked at again, whatever happens.
    pub(crate) fn next(&self, now: Ms) -> Ms {
        if !self.alive {
            return self.ends_alone().unwrap_or(Ms::MAX);
        }
        let say = match (self.words.front(), self.asked) {
            (Some(_), Some((_, made))) => made + SAY_AGAIN,
            (Some(_), None) => now.max(self.reports_after),
            (None, _) => Ms::MAX,
        };
        let lease = if self.next_beat < Ms::MAX { self.answered + self.lease } else { Ms::MAX };
        let own = match self.phase {
            Phase::Boot => self.boots_at,
            Phase::Register | Phase::Gone => Ms::MAX,
            Phase::Prepare { until } => until,
            Phase::Run => self.done_at().min(self.save_at()),
            Phase::Warned { term_at, .. } => self.done_at().min(self.save_at()).min(term_at),
            Phase::Stopping { leaves, kill_at } => leaves.min(kill_at),
            Phase::Say { since } => since + PATIENCE,
        };
        own.min(say).min(self.next_beat).min(lease).min(self.money_left().unwrap_or(Ms::MAX))
    }

    /// When a command without its worker is done.
    fn ends_alone(&self) -> Option<Ms> {
        self.running_since.map(|_| self.done_at())
    }

    fn done_at(&self) -> Ms {
        self.task.map_or(Ms::MAX, |task| self.counted + task.length().saturating_sub(task.done))
    }

    fn save_at(&self) -> Ms {
        let every = self.task.and_then(|task| task.saves_every);
        every.map_or(Ms::MAX, |every| self.saved_at + every)
    }

    /// Takes in what it is to run.
    pub(crate) fn assigned(&mut self, task: Task, made: Ms, ready_at: Ms) {
        self.task = Some(task);
        self.answered = made;
        self.told_of_money(made, task.money_lasts);
        self.phase = Phase::Prepare { until: ready_at };
        self.beats(made);
    }

    /// Starts the command.
    pub(crate) fn start(&mut self, now: Ms) {
        self.started = true;
        self.running_since = Some(now);
        self.counted = now;
        self.saved_at = now;
        self.phase = Phase::Run;
        self.words.push_back(Word::Started);
    }

    /// Work done up to now counts.
    pub(crate) fn count(&mut self, now: Ms) {
        if let (Some(task), Some(_)) = (&mut self.task, self.running_since) {
            let span = now.saturating_sub(self.counted);
            task.done = (task.done + span).min(task.length());
            self.counted = now;
        }
    }

    /// Saves, where it may.
    pub(crate) fn save(&mut self, now: Ms) {
        self.saved_at = now;
        // The first of a gang saves for all.
        if let (Some(task), true, 0) = (self.task, self.may_save, self.place.rank)
            && task.saves_every.is_some()
        {
            self.sequence += 1;
            self.saves.insert(self.sequence, task.done);
            self.words.push_back(Word::Checkpoint { sequence: self.sequence, done: task.done });
        }
    }

    /// What is due while the command runs.
    pub(crate) fn run(&mut self, now: Ms, leave_after: Ms) {
        self.count(now);
        if self.alive && self.save_at() <= now {
            self.save(now);
        }
        if self.done_at() <= now {
            let nature = self.task.map(|task| task.nature).unwrap_or_default();
            let code = nature.exits_at_once.unwrap_or(i32::from(nature.fails_late));
            self.ended(Exit::Code(code), now);
        } else if let Phase::Warned { term_at, kill_at } = self.phase
            && term_at <= now
        {
            self.stop(now, kill_at, leave_after);
        }
    }

    /// SIGTERM now, SIGKILL at `kill_at`.
    pub(crate) fn stop(&mut self, now: Ms, kill_at: Ms, leave_after: Ms) {
        match &mut self.phase {
            Phase::Stopping { kill_at: standing, .. } => *standing = kill_at.min(*standing),
            Phase::Run | Phase::Warned { .. } => {
                let kill_at = match self.phase {
                    Phase::Warned { kill_at: standing, .. } => kill_at.min(standing),
                    _ => kill_at,
                };
                let stubborn = self.task.is_some_and(|task| task.nature.ignores_term);
                let leaves = if stubborn { Ms::MAX } else { now + leave_after };
                self.phase = Phase::Stopping { leaves, kill_at };
            }
            // Nothing runs yet: it never will.
            Phase::Boot | Phase::Register | Phase::Prepare { .. } => {
                self.ended(Exit::Code(143), now);
            }
            Phase::Say { .. } | Phase::Gone => {}
        }
    }

    /// The time of a stop has come, in one way or the other.
    pub(crate) fn leave(&mut self, now: Ms) {
        self.count(now);
        let Phase::Stopping { leaves, .. } = self.phase else { return };
        let saves = self.task.is_some_and(|task| task.saves_every.is_some());
        let returns_0 = self.task.is_some_and(|task| task.nature.returns_0);
        if now < leaves {
            self.ended(Exit::Signal(9), now);
            return;
        }
        if saves {
            self.save(now);
        }
        let code = match (returns_0, saves) {
            (true, _) => 0,
            (false, true) => 75,
            (false, false) => 143,
        };
        self.ended(Exit::Code(code), now);
    }

    /// An order to stop within `within`.
    pub(crate) fn told_to_stop(&mut self, now: Ms, within: Ms, leave_after: Ms) {
        let grace = self.task.map_or(10 * SECOND, |task| task.grace);
        self.stop(now, now + within.min(grace), leave_after);
    }

    /// Its machine goes in `reclaim_in`.
    pub(crate) fn noticed(&mut self, now: Ms, reclaim_in: Ms) {
        let grace = self.task.map_or(10 * SECOND, |task| task.grace);
        let term_at = now + reclaim_in.saturating_sub(grace + SAVE_TIME);
        let latest = now + reclaim_in.saturating_sub(KILL_MARGIN);
        let kill_at = (term_at + grace).min(latest);
        match &mut self.phase {
            Phase::Run => self.phase = Phase::Warned { term_at, kill_at },
            Phase::Warned { term_at: term, kill_at: kill } => {
                (*term, *kill) = (term_at.min(*term), kill_at.min(*kill));
            }
            Phase::Stopping { kill_at: kill, .. } => *kill = latest.min(*kill),
            _ => {}
        }
    }

    /// A newer attempt has taken its place.
    pub(crate) fn superseded(&mut self) {
        self.may_save = false;
        self.words.clear();
        self.running_since = None;
        self.phase = Phase::Gone;
        self.alive = false;
    }

    pub(crate) fn ended(&mut self, exit: Exit, now: Ms) {
        self.count(now);
        if self.running_since.take().is_some() && self.alive {
            self.ran_until = Some(now);
        }
        let told = self.told();
        if self.alive && self.out_of_money && told == Told::Stop {
            self.phase = Phase::Say { since: now };
            self.words.push_back(Word::OutOfMoney { exit, told });
        } else if self.alive && !self.may_save && !matches!(exit, Exit::Code(0 | 75)) {
            // It ended its command itself: that is no failure of the job. The
            // pool will say that it is gone.
            self.alive = false;
            self.died_at = Some(now);
            self.phase = Phase::Gone;
            self.words.clear();
        } else if self.alive {
            self.phase = Phase::Say { since: now };
            self.words.push_back(Word::Exited { exit, told });
        } else {
            self.phase = Phase::Gone;
        }
    }

    /// What its command has been told while it was alive.
    const fn told(&self) -> Told {
        match self.phase {
            Phase::Run | Phase::Say { .. } | Phase::Gone => Told::Nothing,
            Phase::Warned { .. } => Told::Notice,
            // What was stopped before its start never runs.
            Phase::Stopping { .. } | Phase::Boot | Phase::Register | Phase::Prepare { .. } => {
                Told::Stop
            }
        }
    }

    /// Whether its command has come to its end, or says so.
    pub(crate) fn is_done(&self) -> bool {
        self.task.is_some_and(|task| {
            let says = self.steps(task.done).is_some_and(|(step, total)| step >= total);
            task.done >= task.length() || says
        })
    }

    /// Whether anything of it is left.
    pub(crate) fn exists(&self) -> bool {
        self.alive || self.running_since.is_some()
    }
}

impl Task {
    /// Milliseconds of work until the command ends by itself.
    fn length(&self) -> Ms {
        match self.nature.exits_at_once {
            Some(_) => SECOND,
            None => self.whole * self.nature.length_percent / 100,
        }
    }
}
