//! Orders, from the scheduler's answers and from the worker's own lease and money: each
//! goes to the product's supervisor.

use spotwise_supervisor::{HeartbeatAnswer, Order};

use super::super::time::{self, Ms, SECOND};
use super::{Phase, Worker};

/// So long before its money is over it asks whether there is more.
const BEFORE_MONEY: Ms = 3 * SECOND;

impl Worker {
    /// A call made at `made` was answered.
    pub(crate) fn renew(&mut self, made: Ms) {
        self.answered = self.answered.max(made);
        self.lease.renew(time::instant(made));
    }

    /// When its lease ends, while it is to be renewed.
    pub(super) fn lease_ends(&self) -> Ms {
        if self.next_beat < Ms::MAX { time::moment_of(self.lease.ends()) } else { Ms::MAX }
    }

    /// When its supervisor has something to do.
    pub(super) fn next_of_supervisor(&self) -> Ms {
        if !self.works() {
            return Ms::MAX;
        }
        let next = self.supervisor.as_ref().and_then(|supervisor| supervisor.next());
        next.map_or(Ms::MAX, time::moment_of)
    }

    fn works(&self) -> bool {
        matches!(self.phase, Phase::Prepare { .. } | Phase::Run)
    }

    pub(crate) fn is_out_of_money(&self) -> bool {
        self.supervisor.as_ref().is_some_and(|supervisor| supervisor.out_of_money())
    }

    /// The answer to a call made at `made`.
    pub(crate) fn obey(&mut self, made: Ms, answer: HeartbeatAnswer, now: Ms, leave_after: Ms) {
        self.renew(made);
        self.money = answer.money_lasts.map(|lasts| made + time::millis(lasts)).or(self.money);
        if let (Some(notice), Phase::Run) = (&answer.notice, self.phase) {
            let gone = now + time::millis(notice.reclaim_in);
            self.noticed = Some(self.noticed.map_or(gone, |noticed| noticed.min(gone)));
        }
        for order in answer.orders(time::instant(made)) {
            self.order(order, now, leave_after);
        }
    }

    /// How long its money lasts, by its assignment.
    pub(super) fn told_of_money(&mut self, made: Ms, lasts: Option<Ms>) {
        let Some(lasts) = lasts else { return };
        self.money = Some(made + lasts);
        self.order(Order::money(time::span(lasts), time::instant(made)), made, 0);
    }

    fn order(&mut self, order: Order, now: Ms, leave_after: Ms) {
        let at = time::instant(now);
        let Some(supervisor) = &mut self.supervisor else { return };
        match self.phase {
            Phase::Prepare { .. } => {
                if let Some(order) = supervisor.order_before_start(order, at) {
                    let last = supervisor.report_unstarted(&order);
                    self.end_unstarted(last, now);
                }
            }
            Phase::Run => {
                let actions = supervisor.order(order, at);
                self.act(actions, now, leave_after);
            }
            Phase::Boot | Phase::Register | Phase::Report { .. } | Phase::Gone => {}
        }
    }

    /// What is due: first what the command does by itself. Answers whether the lease is
    /// lost.
    pub(crate) fn is_due(&mut self, now: Ms, leave_after: Ms) -> bool {
        let at = time::instant(now);
        let lost = self.alive && self.next_beat < Ms::MAX && self.lease.left(at).is_none();
        if lost {
            self.next_beat = Ms::MAX;
            self.order(Order::LeaseLost, now, leave_after);
        }
        if self.phase == Phase::Run {
            self.run(now);
        }
        let Some(supervisor) = self.supervisor.as_mut().filter(|_| self.alive) else {
            return lost;
        };
        match self.phase {
            Phase::Prepare { .. } => {
                if let Some(order) = supervisor.wake_before_start(at) {
                    let last = supervisor.report_unstarted(&order);
                    self.end_unstarted(last, now);
                }
            }
            Phase::Run => {
                let actions = supervisor.wake(at);
                self.act(actions, now, leave_after);
                self.die_if_killed(now);
            }
            Phase::Boot | Phase::Register | Phase::Report { .. } | Phase::Gone => {}
        }
        lost
    }

    /// A newer attempt has taken its place. Answers whether its command is over.
    pub(crate) fn superseded(&mut self, now: Ms) -> bool {
        self.order(Order::Superseded, now, 0);
        self.running_since.is_none() || self.killed
    }

    /// The next heartbeat. A worker sends one twice a second: here only when it may
    /// matter.
    pub(crate) fn beats(&mut self, now: Ms) {
        self.next_beat = now + self.pause;
        if let Some(until) = self.money.filter(|_| self.works() && !self.is_out_of_money()) {
            let soon = until.saturating_sub(BEFORE_MONEY).max(now + SECOND / 2);
            self.next_beat = self.next_beat.min(soon);
        }
    }
}
