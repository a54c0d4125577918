//! What a worker waits for alongside its command: orders that end something.

use std::time::{Duration, Instant};

use spotwise_supervisor::{Order, Supervisor};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A worker that was told to stop waits this long for an unresponsive scheduler to
/// acknowledge the final report.
const STOPPED_REPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Before the start: an order that ends the attempt.
pub(crate) async fn told_to_end(
    orders: &mut mpsc::Receiver<Order>,
    supervisor: &mut Supervisor,
) -> Order {
    loop {
        let wake = supervisor.next();
        let end = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => supervisor.order_before_start(order, Instant::now()),
                None => std::future::pending().await,
            },
            () = sleep_until(wake) => supervisor.wake_before_start(Instant::now()),
        };
        if let Some(order) = end {
            return order;
        }
    }
}

/// After the end: whatever forbids writing checkpoints and outputs. True if the budget is
/// used up.
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
                Some(order) => {
                    supervisor.order_after_end(order, Instant::now()).then_some(false)
                }
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

/// While the final report is sent: the scheduler will refuse it.
pub(crate) async fn superseded(orders: &mut mpsc::Receiver<Order>) {
    loop {
        match orders.recv().await {
            Some(Order::Superseded) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// A signal after the command has ended means: exit now. An earlier one has ended the
/// command, and leaves time for the final report.
pub(crate) async fn told_to_leave(asked_to_stop: &CancellationToken) {
    let before = asked_to_stop.is_cancelled();
    asked_to_stop.cancelled().await;
    if before {
        tokio::time::sleep(STOPPED_REPORT_TIMEOUT).await;
    }
}

/// Until then; forever if there is no such time.
pub(crate) async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
