//! What the answer to a heartbeat asks for.

use std::time::{Duration, Instant};

use crate::supervisor::Order;

/// A machine that will be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Wall time left.
    pub reclaim_in: Duration,
    /// `terminate`.
    pub action: String,
}

/// The orders in the answer to a heartbeat. Each answer repeats those that still stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// How long the budget pays, counted from the call; `None` without a budget.
    pub money_lasts: Option<Duration>,
    /// The machine is about to go.
    pub notice: Option<Notice>,
    /// End the command within this time.
    pub stop_within: Option<Duration>,
}

impl HeartbeatAnswer {
    /// The orders in the sequence in which they must be carried out. `called` is when the
    /// call was made.
    pub fn orders(self, called: Instant) -> impl Iterator<Item = Order> {
        // First: an order to stop may only shorten what the money leaves.
        let money = self.money_lasts.map(|lasts| Order::money(lasts, called));
        let notice =
            self.notice.map(|Notice { reclaim_in, action }| Order::Notice { reclaim_in, action });
        let stop = self.stop_within.map(|within| Order::Stop { within: Some(within) });
        money.into_iter().chain(notice).chain(stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "only differences count")]
    fn money_comes_first_and_counts_from_the_call() {
        let (t, secs) = (Instant::now(), Duration::from_secs);
        let notice = Notice { reclaim_in: secs(120), action: "terminate".to_owned() };
        let answer = HeartbeatAnswer {
            money_lasts: Some(secs(60)),
            notice: Some(notice),
            stop_within: Some(secs(10)),
        };
        let orders: Vec<_> = answer.orders(t).collect();
        assert!(matches!(
            orders.as_slice(),
            [Order::Money { until }, Order::Notice { .. }, Order::Stop { within: Some(_) }]
                if *until == t + secs(60)
        ));
    }
}
