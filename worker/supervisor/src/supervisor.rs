//! When to warn, stop and kill the command: a state machine.
//!
//! ```text
//! Running -> Warned -> Stopping -> Killed -> Over
//!       \________\________\____________^
//! ```

use std::time::{Duration, Instant};

use spotwise_model::timing::{BUDGET_SAVE, LEASE_GRACE};

/// From the end of the grace period to the reclaim: time to commit the last checkpoint.
const SAVE_TIME: Duration = Duration::from_secs(2);

/// SIGKILL comes at least this long before the reclaim.
const KILL_MARGIN: Duration = Duration::from_secs(1);

const _: () = assert!(KILL_MARGIN.as_millis() <= SAVE_TIME.as_millis());

/// What the worker was told, or found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// End the command; SIGKILL at the latest after `within`.
    Stop {
        /// `None` for the job's own grace period.
        within: Option<Duration>,
    },
    /// The capacity is gone in `reclaim_in`.
    Notice {
        /// Wall time.
        reclaim_in: Duration,
        /// `terminate`.
        action: String,
    },
    /// The job's budget pays until then; the worker stops the command by itself. A
    /// later order replaces an earlier one.
    Money {
        /// When to begin to stop.
        until: Instant,
    },
    /// The scheduler has not answered for a whole lease: a replacement may start soon.
    LeaseLost,
    /// A newer attempt exists.
    Superseded,
}

impl Order {
    /// The budget pays for this long, counted from when the call was made: the answer was
    /// given later, so that no two clocks have to agree.
    pub fn money(lasts: Duration, called: Instant) -> Self {
        Self::Money { until: called + lasts }
    }
}

/// What must be done to the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell it through the interruption file.
    WriteNotice {
        /// Wall time until the capacity is gone.
        reclaim_in: Duration,
        /// `terminate`.
        action: String,
    },
    /// SIGUSR1 to the command.
    Warn,
    /// SIGTERM to the process group.
    Terminate,
    /// SIGKILL to everything.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Warned { term_at: Instant, kill_at: Instant },
    Stopping { kill_at: Instant },
    Killed,
    Over,
}

/// The life of one command.
#[derive(Clone, Debug)]
pub struct Supervisor {
    grace: Duration,
    signal_on_notice: bool,
    phase: Phase,
    may_save: bool,
    money: Option<Instant>,
    out_of_money: bool,
}

impl Supervisor {
    /// A running command.
    pub const fn new(grace: Duration, signal_on_notice: bool) -> Self {
        Self {
            grace,
            signal_on_notice,
            phase: Phase::Running,
            may_save: true,
            money: None,
            out_of_money: false,
        }
    }

    /// Accepts an order. Orders are repeated by every heartbeat: the earliest deadline
    /// stands, and nothing is done twice.
    pub fn order(&mut self, order: Order, now: Instant) -> Vec<Action> {
        match order {
            Order::Stop { within } => {
                let grace = within.map_or(self.grace, |within| within.min(self.grace));
                self.stop(now, now + grace)
            }
            Order::Notice { reclaim_in, action } => self.notice(reclaim_in, action, now),
            Order::Money { until } => {
                self.money = Some(until);
                self.wake(now)
            }
            Order::LeaseLost => {
                self.may_save = false;
                self.stop(now, now + self.grace.min(LEASE_GRACE))
            }
            Order::Superseded => {
                self.may_save = false;
                self.kill()
            }
        }
    }

    /// Accepts an order before the command is started. `Some` if the attempt ends because
    /// of it: the order, or a stop once the budget is used up. A notice changes nothing
    /// yet; every heartbeat repeats it.
    pub fn order_before_start(&mut self, order: Order, now: Instant) -> Option<Order> {
        match order {
            Order::Notice { .. } => None,
            Order::Money { .. } => {
                self.order(order, now);
                self.stop_unstarted()
            }
            order => Some(order),
        }
    }

    /// What is due at `now`, before the command is started: `Some` if the attempt ends.
    pub fn wake_before_start(&mut self, now: Instant) -> Option<Order> {
        self.wake(now);
        self.stop_unstarted()
    }

    fn stop_unstarted(&self) -> Option<Order> {
        self.out_of_money.then_some(Order::Stop { within: None })
    }

    /// Accepts an order after the command has ended, while its results are being saved.
    /// True if nothing more may be saved.
    pub fn order_after_end(&mut self, order: Order, now: Instant) -> bool {
        match order {
            Order::LeaseLost | Order::Superseded => true,
            Order::Money { .. } => {
                self.order(order, now);
                false
            }
            Order::Stop { .. } | Order::Notice { .. } => false,
        }
    }

    /// What is due at `now`.
    pub fn wake(&mut self, now: Instant) -> Vec<Action> {
        if let Some(until) = self.money_left().filter(|until| now >= *until) {
            self.out_of_money = true;
            return self.stop(now, until + self.grace);
        }
        match self.phase {
            Phase::Warned { term_at, kill_at } if now >= term_at => self.stop(now, kill_at),
            Phase::Stopping { kill_at } if now >= kill_at => self.kill(),
            _ => Vec::new(),
        }
    }

    /// When to wake.
    pub fn next(&self) -> Option<Instant> {
        let due = match self.phase {
            Phase::Warned { term_at, .. } => Some(term_at),
            Phase::Stopping { kill_at } => Some(kill_at),
            Phase::Running | Phase::Killed | Phase::Over => None,
        };
        due.into_iter().chain(self.money_left()).min()
    }

    /// When it must stop because the budget is used up, unless it has already.
    fn money_left(&self) -> Option<Instant> {
        let ends = matches!(self.phase, Phase::Killed | Phase::Over);
        self.money.filter(|_| !ends && !self.out_of_money)
    }

    /// Whether it was stopped because the budget was used up.
    pub const fn out_of_money(&self) -> bool {
        self.out_of_money
    }

    /// When everything that follows the command must be done, because the budget ends.
    pub fn last_save(&self) -> Option<Instant> {
        Some(self.money? + self.grace + BUDGET_SAVE)
    }

    /// The command has ended.
    pub const fn exited(&mut self) {
        self.phase = Phase::Over;
    }

    /// Whether this attempt may still write checkpoints: not once a newer attempt may
    /// exist.
    pub const fn may_save(&self) -> bool {
        self.may_save
    }

    fn stop(&mut self, now: Instant, kill_at: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match &mut self.phase {
            Phase::Running | Phase::Warned { .. } => {
                let earlier = match self.phase {
                    Phase::Warned { kill_at: set, .. } => kill_at.min(set),
                    _ => kill_at,
                };
                self.phase = Phase::Stopping { kill_at: earlier };
                actions.push(Action::Terminate);
            }
            Phase::Stopping { kill_at: set } => *set = kill_at.min(*set),
            Phase::Killed | Phase::Over => return actions,
        }
        actions.extend(self.wake(now));
        actions
    }

    fn notice(&mut self, reclaim_in: Duration, action: String, now: Instant) -> Vec<Action> {
        let term_at = now + reclaim_in.saturating_sub(self.grace + SAVE_TIME);
        let latest = now + reclaim_in.saturating_sub(KILL_MARGIN);
        let kill_at = (term_at + self.grace).min(latest);
        let mut actions = Vec::new();
        match &mut self.phase {
            Phase::Running => {
                actions.push(Action::WriteNotice { reclaim_in, action });
                if self.signal_on_notice {
                    actions.push(Action::Warn);
                }
                self.phase = Phase::Warned { term_at, kill_at };
            }
            Phase::Warned { term_at: set, kill_at: latest } => {
                *set = term_at.min(*set);
                *latest = kill_at.min(*latest);
            }
            Phase::Stopping { kill_at: set } => *set = latest.min(*set),
            Phase::Killed | Phase::Over => return actions,
        }
        actions.extend(self.wake(now));
        actions
    }

    fn kill(&mut self) -> Vec<Action> {
        match self.phase {
            Phase::Killed | Phase::Over => Vec::new(),
            _ => {
                self.phase = Phase::Killed;
                vec![Action::Kill]
            }
        }
    }
}

#[cfg(test)]
mod tests;
