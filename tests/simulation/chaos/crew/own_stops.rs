//! When a worker stops its command without being told: its money is over, or its
//! lease. The rules of `worker::supervise`.

use super::super::time::{Ms, SECOND};
use super::{Phase, Worker};

/// The longest grace after a lost lease.
const LEASE_GRACE: Ms = 3 * SECOND;
/// So long before its money is over it asks whether there is more.
const BEFORE_MONEY: Ms = 3 * SECOND;

impl Worker {
    /// When it has to stop by itself, where it has not yet.
    pub(crate) fn money_left(&self) -> Option<Ms> {
        let works = matches!(
            self.phase,
            Phase::Prepare { .. } | Phase::Run | Phase::Warned { .. } | Phase::Stopping { .. }
        );
        self.money.filter(|_| works && !self.out_of_money)
    }

    /// It is told how long its money lasts from its call on.
    pub(crate) fn told_of_money(&mut self, made: Ms, lasts: Option<Ms>) {
        self.money = lasts.map(|lasts| made + lasts).or(self.money);
    }

    /// Nobody has told it a later time.
    pub(crate) fn money_over(&mut self, now: Ms, leave_after: Ms) {
        let Some(until) = self.money_left().filter(|until| *until <= now) else { return };
        self.out_of_money = true;
        let grace = self.task.map_or(10 * SECOND, |task| task.grace);
        self.stop(now, until + grace, leave_after);
    }

    /// The next heartbeat. A worker speaks twice a second: here only where it may
    /// matter.
    pub(crate) fn beats(&mut self, now: Ms) {
        self.next_beat = now + self.pause;
        if let Some(until) = self.money_left() {
            let soon = until.saturating_sub(BEFORE_MONEY).max(now + SECOND / 2);
            self.next_beat = self.next_beat.min(soon);
        }
    }

    /// Nobody has answered for a whole lease.
    pub(crate) fn lease_lost(&mut self, now: Ms, leave_after: Ms) {
        self.may_save = false;
        self.next_beat = Ms::MAX;
        let grace = self.task.map_or(LEASE_GRACE, |task| task.grace.min(LEASE_GRACE));
        self.stop(now, now + grace, leave_after);
    }
}
