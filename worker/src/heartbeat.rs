//! Renews the lease, reports progress, and passes orders on. It ends when the
//! lease is lost or the attempt is superseded; both are orders too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use spotwise_api::v1::HeartbeatResponse;
use spotwise_supervisor::{HeartbeatAnswer, Lease, Notice, Order, SHORTEST};
use tokio::sync::mpsc;

use crate::progress::ProgressLog;
use crate::scheduler_client::{CallError, SchedulerClient};
use crate::usage::Sampler;

/// How often to send one: the assignment's milliseconds.
pub(crate) fn interval(heartbeat_ms: u32) -> Duration {
    Duration::from_millis(heartbeat_ms.into()).max(SHORTEST)
}

/// Sends heartbeats until the lease ends, the first one `interval` after the call that
/// granted the lease. A command that ends sooner costs no heartbeat.
pub(crate) async fn beat(
    client: SchedulerClient,
    interval: Duration,
    mut lease: Lease,
    progress: Arc<Mutex<ProgressLog>>,
    mut sampler: Sampler,
    orders: mpsc::Sender<Order>,
) {
    let first = lease.renewed_at() + interval;
    tokio::time::sleep_until(first.min(lease.ends()).into()).await;
    loop {
        let begun = Instant::now();
        let Some(left) = lease.left(begun) else {
            tracing::warn!(?lease, "the scheduler did not answer for a whole lease");
            let _ = orders.send(Order::LeaseLost).await;
            return;
        };
        let known =
            progress.lock().unwrap_or_else(PoisonError::into_inner).refresh(SystemTime::now());
        match client.heartbeat(known, Some(sampler.sample(begun)), left).await {
            Ok(answer) => {
                lease.renew(begun);
                if answer.lease_ms > 0 {
                    lease.set_length(Duration::from_millis(answer.lease_ms.into()));
                }
                for order in read(answer).orders(begun) {
                    if orders.send(order).await.is_err() {
                        return;
                    }
                }
            }
            Err(CallError::Superseded(message)) => {
                tracing::warn!(message, "superseded");
                let _ = orders.send(Order::Superseded).await;
                return;
            }
            Err(error) => tracing::debug!(%error, "a heartbeat was not answered"),
        }
        tokio::time::sleep_until((begun + interval).min(lease.ends()).into()).await;
    }
}

fn read(answer: HeartbeatResponse) -> HeartbeatAnswer {
    let millis = |ms: u32| Duration::from_millis(ms.into());
    HeartbeatAnswer {
        money_lasts: answer.money_lasts_ms.map(millis),
        notice: answer.notice.map(|notice| Notice {
            reclaim_in: millis(notice.reclaim_in_ms),
            action: notice.action,
        }),
        stop_within: answer.stop.map(|stop| millis(stop.kill_in_ms)),
    }
}
