//! The worker's final report.

use spotwise_model::outcome::EXIT_REQUEUE;

use crate::supervisor::{Order, Supervisor};

/// The report that ends an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastReport {
    /// How the command ended.
    Exited,
    /// The same, and that the worker stopped it because the budget was used up.
    OutOfMoney,
}

impl Supervisor {
    /// The last report of a command that ended with this exit code. `stopped` says
    /// whether it was told to stop while it was alive, `budget_over` whether the budget
    /// ran out while its results were being saved.
    ///
    /// `None` if the worker itself killed it because its lease had expired or a newer
    /// attempt exists: that is not a failure of the job, and the scheduler counts it as
    /// lost.
    pub fn last_report(&self, code: i32, stopped: bool, budget_over: bool) -> Option<LastReport> {
        if budget_over || self.out_of_money() && stopped {
            return Some(LastReport::OutOfMoney);
        }
        let counts = self.may_save() || matches!(code, 0 | EXIT_REQUEUE);
        counts.then_some(LastReport::Exited)
    }

    /// The last report of a command that was never started, because of this order.
    pub const fn report_unstarted(&self, order: &Order) -> Option<LastReport> {
        match order {
            Order::LeaseLost | Order::Superseded => None,
            _ if self.out_of_money() => Some(LastReport::OutOfMoney),
            _ => Some(LastReport::Exited),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "only differences count")]
    fn told(order: Order) -> Supervisor {
        let mut it = Supervisor::new(Duration::from_secs(10), false);
        it.order(order, Instant::now());
        it
    }

    #[test]
    fn what_the_worker_killed_for_a_lost_lease_is_no_failure() {
        let it = told(Order::LeaseLost);
        assert_eq!(it.last_report(137, true, false), None);
        assert_eq!(it.last_report(EXIT_REQUEUE, true, false), Some(LastReport::Exited));
        assert_eq!(it.last_report(0, true, false), Some(LastReport::Exited));
        assert_eq!(told(Order::Superseded).last_report(137, true, false), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "only differences count")]
    fn out_of_money_is_what_was_stopped_for_it() {
        let it = told(Order::Money { until: Instant::now() });
        assert_eq!(it.last_report(143, true, false), Some(LastReport::OutOfMoney));
        assert_eq!(
            it.last_report(1, false, false),
            Some(LastReport::Exited),
            "it had ended before"
        );
        let it = told(Order::Stop { within: None });
        assert_eq!(it.last_report(143, true, false), Some(LastReport::Exited));
        assert_eq!(it.last_report(143, true, true), Some(LastReport::OutOfMoney));
    }

    #[test]
    fn an_attempt_without_a_lease_that_never_started_reports_nothing() {
        let it = told(Order::Stop { within: None });
        assert_eq!(it.report_unstarted(&Order::LeaseLost), None);
        assert_eq!(it.report_unstarted(&Order::Superseded), None);
        assert_eq!(it.report_unstarted(&Order::Stop { within: None }), Some(LastReport::Exited));
    }
}
