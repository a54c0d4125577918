//! Faults that come by themselves, from time to time.

use rand::RngExt;
use spotwise_control::command::EditJob;
use spotwise_control::{Command, WorkerId};
use spotwise_model::attempt::BudgetCutoff;
use spotwise_model::spec::{Format, parse_edit};
use spotwise_model::{AttemptId, InstanceId, Job, JobId, Money};

use super::events::{Caller, Event};
use super::faults::Kind;
use super::node::TERM;
use super::sim::Sim;
use super::submissions::CommandBehaviour;
use super::time::{self, HOUR, MINUTE, Ms, SECOND};
use super::worker::{Phase, Pid, Task, Worker};

/// An outage for the end of a budget begins at most so long before it.
const AT_THE_END: Ms = 30 * SECOND;

impl Sim {
    pub(crate) fn inject(&mut self) {
        if !self.is_stormy() {
            return;
        }
        let next = self.rng.random_range(MINUTE..3 * HOUR);
        self.later(next, Event::Inject);
        let kinds: Vec<Kind> = self.scenario.kinds.iter().copied().collect();
        let kind = kinds[self.rng.random_range(0..kinds.len())];
        match kind {
            Kind::Throttled => self.cloud.throttled_until = self.now + 30 * MINUTE,
            Kind::NoCapacity => {
                let span = self.rng.random_range(MINUTE..6 * HOUR);
                self.cloud.empty_until = self.now + span;
            }
            Kind::ListLag => {
                self.cloud.blind_since = self.now;
                self.cloud.blind_until = self.now + self.rng.random_range(0..300) * SECOND;
                // Something to be blind to.
                self.on_a_worker(Self::die);
            }
            Kind::SlowKill => {
                self.note(kind);
                self.cloud.kills_late_until = self.now + HOUR;
            }
            Kind::NoticeNever => self.lose_machine(kind),
            Kind::ProcessDeath => self.note_if(kind, Self::die),
            Kind::CommandOutlives => self.note_if(kind, Self::die_alone),
            Kind::StrayOurs => self.stray(),
            Kind::StrayForeign => {
                self.note(kind);
                let pid = self.cloud.next_pid();
                let place = WorkerId {
                    attempt: spotwise_model::AttemptId { job: JobId(1 + pid % 40), number: 1 },
                    rank: 0,
                };
                self.cloud.foreign.insert(pid, place);
            }
            Kind::Partition | Kind::PartitionOneWay | Kind::LateReport => self.cut(kind),
            Kind::StoreOutage => self.store_goes(),
            Kind::RenewalDelayed => self.delay_renewals(),
            Kind::CrashIdle | Kind::Restart => {
                if let Some(node) = self.leading() {
                    self.note(kind);
                    self.crash(node);
                }
            }
            Kind::PauseIdle => {
                if let Some(node) = self.leading() {
                    self.note(kind);
                    self.pause(node);
                }
            }
            Kind::CrashBeforeCommit
            | Kind::CrashBeforeAnswers
            | Kind::CrashBeforeEffects
            | Kind::CrashMidEffects
            | Kind::PauseBeforeCommit
            | Kind::PauseBeforeEffects => self.armed = Some(kind),
            Kind::Cancel => self.cancel_some_job(),
            Kind::Edit => self.edit_some_job(),
            Kind::OldBackup => self.back_up(),
            Kind::FeedSilent | Kind::FeedAbsurd | Kind::FeedDisordered => {
                let span = self.rng.random_range(MINUTE..12 * HOUR);
                self.feed.strike(kind, self.now, self.now + span);
            }
            _ => {}
        }
    }

    pub(crate) fn leading(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.up && !node.paused && node.leader.is_some())
    }

    pub(crate) fn running(&self) -> Vec<Pid> {
        let there = self.cloud.workers.iter().filter(|(_, w)| w.alive && w.phase != Phase::Gone);
        there.map(|(pid, _)| *pid).collect()
    }

    fn note_if(&mut self, kind: Kind, what: impl Fn(&mut Self, Pid)) {
        if self.on_a_worker(what) {
            self.note(kind);
        }
    }

    fn on_a_worker(&mut self, what: impl Fn(&mut Self, Pid)) -> bool {
        let pids = self.running();
        if pids.is_empty() {
            return false;
        }
        let pid = pids[self.rng.random_range(0..pids.len())];
        self.log(|| format!("worker {pid} is struck"));
        what(self, pid);
        true
    }

    fn lose_machine(&mut self, kind: Kind) {
        let machines: Vec<InstanceId> =
            self.store.tables.live_machines().map(|machine| machine.id).collect();
        if !machines.is_empty() {
            self.note(kind);
            let machine = machines[self.rng.random_range(0..machines.len())];
            self.machine_gone(machine);
        }
    }

    /// A command of an attempt that nobody knows any more, or never did.
    fn stray(&mut self) {
        self.note(Kind::StrayOurs);
        let pid = self.cloud.next_pid();
        let job = JobId(1_000_000 + pid);
        let place = WorkerId { attempt: spotwise_model::AttemptId { job, number: 1 }, rank: 0 };
        let mut worker = Worker::new(place, self.now, 30 * SECOND);
        worker.task = Some(Task {
            restore: None,
            newest_saved: false,
            done: 0,
            whole: 1_000 * HOUR,
            saves_every: None,
            grace: 10 * SECOND,
            money_lasts: None,
            behaviour: CommandBehaviour { length_percent: 100, ..CommandBehaviour::default() },
        });
        worker.start(self.now);
        worker.alive = false;
        worker.messages.clear();
        self.cloud.workers.insert(pid, worker);
        self.pool_changed();
    }

    fn cut(&mut self, kind: Kind) {
        let pids = self.running();
        if pids.is_empty() {
            return;
        }
        let pid = pids[self.rng.random_range(0..pids.len())];
        let span = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(SECOND..MINUTE),
            1 => self.rng.random_range(MINUTE..10 * MINUTE),
            _ => self.rng.random_range(10 * MINUTE..2 * HOUR),
        };
        let until = self.now + span;
        self.note(kind);
        self.log(|| format!("worker {pid} for {} s", span / SECOND));
        let now = self.now;
        let Some(worker) = self.cloud.workers.get_mut(&pid) else { return };
        match kind {
            Kind::LateReport => worker.reports_after = until,
            _ => {
                // It spoke a moment ago, as it does twice a second.
                if worker.next_beat < crate::chaos::time::Ms::MAX {
                    worker.renew(now);
                }
                worker.deaf_until = until;
                if kind == Kind::Partition {
                    worker.mute_until = until;
                }
            }
        }
        self.heard_of(pid);
        self.set_wake(pid);
    }

    /// The heartbeat of a moment ago, on the other side.
    fn heard_of(&mut self, pid: Pid) {
        let Some(worker) = self.cloud.workers.get(&pid) else { return };
        let key = (worker.place.attempt, worker.place.rank);
        let wall = crate::chaos::time::at(self.start, self.now);
        for leader in self.nodes.iter_mut().filter_map(|node| node.leader.as_mut()) {
            let heard = leader.state.seen.heartbeats.entry(key).or_insert(wall);
            *heard = (*heard).max(wall);
        }
    }

    fn store_goes(&mut self) {
        if self.store_away {
            return;
        }
        self.note(Kind::StoreOutage);
        self.store_away = true;
        self.nobody_leads();
        self.tally.away_since.get_or_insert(self.now);
        let span = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(200..2 * SECOND),
            1 => self.rng.random_range(SECOND..2 * MINUTE),
            _ => self.rng.random_range(MINUTE..30 * MINUTE),
        };
        if let Some(node) = self.holder {
            self.stop_renewing(node);
        }
        self.later(span, Event::StoreBack);
    }

    /// The end of a budget is known ahead: an outage may begin just before it.
    pub(crate) fn expect_the_end(&mut self, attempt: AttemptId, cutoff: BudgetCutoff) {
        if self.is_stormy() && self.scenario.kinds.contains(&Kind::AwayAtTheEnd) {
            let before = self.rng.random_range(0..AT_THE_END);
            let stop_at = crate::chaos::time::moment(self.start, cutoff.stop_at);
            self.at(stop_at.saturating_sub(before), Event::MoneyEnds(attempt));
        }
    }

    /// Unless it has ended, or has more money by now.
    pub(crate) fn away_at_the_end(&mut self, attempt: AttemptId) {
        let known = self.store.tables.attempts.get(&attempt).filter(|a| a.state.is_live());
        let Some(cutoff) = known.and_then(|attempt| attempt.cutoff) else { return };
        let stop_at = crate::chaos::time::moment(self.start, cutoff.stop_at);
        if stop_at < self.now + AT_THE_END && self.strikes(Kind::AwayAtTheEnd, 2) {
            self.store_goes();
        }
    }

    fn delay_renewals(&mut self) {
        if let (Some(node), 2) = (self.leading(), self.nodes.len()) {
            self.note(Kind::RenewalDelayed);
            self.stop_renewing(node);
            let span = self.rng.random_range(0..2 * TERM);
            self.later(span, Event::RenewalsBack(node));
        }
    }

    /// More money for whatever lives, less only for what does not run: how much of a
    /// budget is used, only the market tells.
    fn edit_some_job(&mut self) {
        let open: Vec<Job> = self
            .store
            .tables
            .jobs
            .values()
            .filter(|job| !job.state.is_terminal())
            .cloned()
            .collect();
        if open.is_empty() {
            return;
        }
        let job = &open[self.rng.random_range(0..open.len())];
        let budget = job.spec.budget.map_or(0, |budget| budget.micros());
        let (percent, used) = match self.rng.random_range(0..3) {
            0 => (80, None),
            _ => (180, Some((time::at(self.start, self.now), Money::ZERO))),
        };
        let money = (budget * percent / 100).max(10_000);
        let text = match self.rng.random_range(0..4) {
            // A first budget is less than none.
            2.. if budget == 0 => "priority: 7".to_owned(),
            0 => "deadline: +4h".to_owned(),
            1 => format!("priority: {}", self.rng.random_range(-100..=100)),
            _ => format!("budget_usd: \"{}.{:06}\"", money / 1_000_000, money % 1_000_000),
        };
        let edit = parse_edit(text.as_bytes(), Format::Yaml).expect("an edit of the simulator");
        let job = job.id;
        self.note(Kind::Edit);
        self.log(|| format!("{job} is to have {text}"));
        for node in 0..self.nodes.len() {
            let (key, known) = (None, None);
            let asked = EditJob { job, edit, key, hash: String::new(), known, used };
            self.send(node, Caller::Client(usize::MAX), Command::Edit(asked));
        }
    }

    fn cancel_some_job(&mut self) {
        let open: Vec<JobId> = self
            .store
            .tables
            .jobs
            .values()
            .filter(|job| !job.state.is_terminal())
            .map(|job| job.id)
            .collect();
        if open.is_empty() {
            return;
        }
        let job = open[self.rng.random_range(0..open.len())];
        self.note(Kind::Cancel);
        self.log(|| format!("{job} is to be cancelled"));
        let group = self.rng.random_range(0..4) == 0;
        for node in 0..self.nodes.len() {
            self.send(node, Caller::Client(usize::MAX), Command::Cancel { job, group });
        }
    }
}
