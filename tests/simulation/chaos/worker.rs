//! The workers: each boots, registers, starts its command, sends heartbeats and
//! reports, saves, and obeys. When a command is warned, stopped and killed, how long a
//! lease lasts and what is reported in the end, the product's own code decides
//! (`spotwise_supervisor`): here are only the process and the messages around it.

mod command;
mod messages;
mod orders;

use std::collections::{BTreeMap, VecDeque};

use spotwise_control::WorkerId;
use spotwise_control::command::Loaded;
use spotwise_control::reply::Assigned;
use spotwise_model::attempt::Told;
use spotwise_model::id::ProviderId;
use spotwise_supervisor::{Lease, Supervisor};

pub(crate) use messages::WorkerMessage;

use super::submissions::CommandBehaviour;
use super::time::{self, HOUR, Ms, SECOND};

/// A report that was not answered is sent again.
pub(crate) const RESEND_AFTER: Ms = 5 * SECOND;
/// A worker whose last report is never answered ends.
const GIVES_UP_AFTER: Ms = 2 * HOUR;

/// Number of a process in the cloud.
pub(crate) type Pid = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Boot,
    Register,
    /// Brings its inputs in, until then.
    Prepare {
        until: Ms,
    },
    Run,
    /// The command has ended; the last report is being sent.
    Report {
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
    pub(crate) behaviour: CommandBehaviour,
}

impl Task {
    /// What a worker runs. How its command behaves is not in the documents.
    pub(crate) fn of(assigned: &Assigned) -> Self {
        let spec = &assigned.job.spec;
        let checkpoint = spec.checkpoint.as_ref();
        let restored = assigned.restore.and_then(|c| c.progress.step).unwrap_or(0);
        Self {
            restore: assigned.restore.map(Into::into),
            newest_saved: assigned.newest_saved,
            done: restored * SECOND,
            whole: time::millis(spec.longest_expected_duration()),
            saves_every: checkpoint.map(|c| time::millis(c.interval)),
            grace: checkpoint.map_or(10 * SECOND, |c| time::millis(c.grace)),
            money_lasts: assigned.money_lasts.map(time::millis),
            behaviour: CommandBehaviour::default(),
        }
    }
}

/// One worker process and its command.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) place: WorkerId,
    /// Its machine in the account.
    pub(crate) host: Option<ProviderId>,
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
    /// The product's rules for its command, from its registration on.
    supervisor: Option<Supervisor>,
    lease: Lease,
    /// By the simulator's own count: when the last call that was answered was made, and
    /// for how long it may run without another answer.
    pub(crate) answered: Ms,
    pub(crate) unanswered_for: Ms,
    /// What its command has been told while it was alive.
    told: Told,
    /// When the command ends because it was told to.
    leaves: Ms,
    /// SIGKILL was sent.
    killed: bool,
    /// Until when its money lasts, by what it was told.
    pub(crate) money: Option<Ms>,
    /// When its machine goes, by the first notice that its command could have had.
    pub(crate) noticed: Option<Ms>,
    pub(crate) pause: Ms,
    pub(crate) next_beat: Ms,
    /// Up to when `task.done` counts.
    counted: Ms,
    saved_at: Ms,
    sequence: u32,
    /// What it has saved: the checkpoints, and how far each is.
    pub(crate) saves: BTreeMap<u32, Ms>,
    /// Reports not yet answered; the first may be under way.
    pub(crate) messages: VecDeque<WorkerMessage>,
    /// Request under way, and when it was made.
    pub(crate) asked: Option<(u64, Ms)>,
    pub(crate) beat: Option<(u64, Ms)>,
    /// Wakes of an older number are void.
    pub(crate) wake: u64,
    pub(crate) deaf_until: Ms,
    pub(crate) mute_until: Ms,
    /// No report is sent before: its link is slow.
    pub(crate) reports_after: Ms,
    /// Whether the scheduler that it speaks to is node 0.
    pub(crate) speaks_to: usize,
}

impl Worker {
    pub(crate) fn new(place: WorkerId, boots_at: Ms, lease: Ms) -> Self {
        Self {
            place,
            host: None,
            phase: Phase::Boot,
            boots_at,
            task: None,
            alive: true,
            started: false,
            died_at: None,
            running_since: None,
            ran_until: None,
            supervisor: None,
            lease: Lease::new(time::span(lease), time::instant(boots_at)),
            answered: boots_at,
            unanswered_for: lease,
            told: Told::Nothing,
            leaves: Ms::MAX,
            killed: false,
            money: None,
            noticed: None,
            pause: lease / 3,
            next_beat: Ms::MAX,
            counted: 0,
            saved_at: 0,
            sequence: 0,
            saves: BTreeMap::new(),
            messages: VecDeque::new(),
            asked: None,
            beat: None,
            wake: 0,
            deaf_until: 0,
            mute_until: 0,
            reports_after: 0,
            speaks_to: 0,
        }
    }

    /// Takes in what it is to run.
    pub(crate) fn assigned(&mut self, task: Task, made: Ms, ready_at: Ms) {
        self.task = Some(task);
        self.supervisor = Some(Supervisor::new(time::span(task.grace), false));
        self.renew(made);
        self.phase = Phase::Prepare { until: ready_at };
        self.told_of_money(made, task.money_lasts);
        self.beats(made);
    }

    /// When it has to be looked at again, whatever happens.
    pub(crate) fn next(&self, now: Ms) -> Ms {
        if !self.alive {
            return self.ends_alone().unwrap_or(Ms::MAX);
        }
        let say = match (self.messages.front(), self.asked) {
            (Some(_), Some((_, made))) => made + RESEND_AFTER,
            (Some(_), None) => now.max(self.reports_after),
            (None, _) => Ms::MAX,
        };
        let own = match self.phase {
            Phase::Boot => self.boots_at,
            Phase::Register | Phase::Gone => Ms::MAX,
            Phase::Prepare { until } => until,
            Phase::Run => self.next_of_command(),
            Phase::Report { since } => since + GIVES_UP_AFTER,
        };
        let supervised = self.next_of_supervisor();
        own.min(say).min(self.next_beat).min(self.lease_ends()).min(supervised)
    }

    /// Whether anything of it is left.
    pub(crate) fn exists(&self) -> bool {
        self.alive || self.running_since.is_some()
    }

    /// Whether it sends its last report in vain.
    pub(crate) fn gives_up(&self, now: Ms) -> bool {
        matches!(self.phase, Phase::Report { since } if now >= since + GIVES_UP_AFTER)
    }

    /// The worker and its command end without a message.
    pub(crate) fn vanish(&mut self, now: Ms) {
        self.alive = false;
        self.running_since = None;
        self.phase = Phase::Gone;
        self.messages.clear();
        self.died_at = Some(now);
    }
}
