//! What a worker waits for beside its command: orders that end something.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::supervise::{Order, Supervisor};

/// Before the start: anything that ends an attempt. A notice is repeated by
/// every heartbeat, and so is heard again when the command runs.
pub(crate) async fn told_to_end(
    orders: &mut mpsc::Receiver<Order>,
    supervisor: &mut Supervisor,
) -> Order {
    while !supervisor.out_of_money() {
        let wake = supervisor.next();
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Notice { .. }) => {}
                Some(order @ Order::Money { .. }) => drop(supervisor.order(order, Instant::now())),
                Some(order) => return order,
                None => std::future::pending().await,
            },
            () = sleep_until(wake) => drop(supervisor.wake(Instant::now())),
        }
    }
    Order::Stop { within: None }
}

/// After the end: what forbids to write checkpoints and outputs. True where it is
/// that the budget pays for no more.
pub(crate) async fn fenced(
    orders: &mut mpsc::Receiver<Order>,
    fence: &CancellationToken,
    supervisor: &mut Supervisor,
) -> bool {
    loop {
        let last = supervisor.last_save();
        let over = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::LeaseLost | Order::Superseded) => Some(false),
                Some(order @ Order::Money { .. }) => {
                    supervisor.order(order, Instant::now());
                    None
                }
                Some(Order::Stop { .. } | Order::Notice { .. }) => None,
                None => std::future::pending().await,
            },
            () = sleep_until(last) => Some(true),
        };
        if let Some(over) = over {
            fence.cancel();
            return over;
        }
    }
}

/// While the last words are said: nobody wants them.
pub(crate) async fn superseded(orders: &mut mpsc::Receiver<Order>) {
    loop {
        match orders.recv().await {
            Some(Order::Superseded) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Until then; for ever where there is no such time.
pub(crate) async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
