//! Renews the lease, reports progress, and passes orders on. It ends when the
//! lease is lost or the attempt is superseded; both are orders too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use spotwise_api::v1::HeartbeatResponse;
use tokio::sync::mpsc;

use crate::link::{Link, LinkError};
use crate::progress::ProgressLog;
use crate::supervise::Order;
use crate::usage::Sampler;

/// Pauses and leases are never shorter, whatever the scheduler says.
const SHORTEST: Duration = Duration::from_millis(50);

/// How often to speak, and how long an answer lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    pause: Duration,
    lease: Duration,
}

impl Rhythm {
    /// From the assignment's milliseconds.
    pub(crate) fn new(heartbeat_ms: u32, lease_ms: u32) -> Self {
        let at_least = |ms: u32| Duration::from_millis(ms.into()).max(SHORTEST);
        Self { pause: at_least(heartbeat_ms), lease: at_least(lease_ms) }
    }
}

/// Speaks until the lease ends, a pause after the last call that was answered:
/// `answered` is when that was *made*. The scheduler's lease runs from later than
/// that. A command that is over before the first pause costs no heartbeat.
pub(crate) async fn beat(
    link: Link,
    mut rhythm: Rhythm,
    mut answered: Instant,
    progress: Arc<Mutex<ProgressLog>>,
    mut sampler: Sampler,
    orders: mpsc::Sender<Order>,
) {
    tokio::time::sleep_until((answered + rhythm.pause.min(rhythm.lease)).into()).await;
    loop {
        let begun = Instant::now();
        let left = (answered + rhythm.lease).saturating_duration_since(begun);
        if left.is_zero() {
            tracing::warn!(lease = ?rhythm.lease, "nobody answered for a whole lease");
            let _ = orders.send(Order::LeaseLost).await;
            return;
        }
        let known =
            progress.lock().unwrap_or_else(PoisonError::into_inner).refresh(SystemTime::now());
        match link.heartbeat(known, Some(sampler.sample(begun)), left).await {
            Ok(answer) => {
                answered = begun;
                if answer.lease_ms > 0 {
                    rhythm.lease = Duration::from_millis(answer.lease_ms.into()).max(SHORTEST);
                }
                for order in orders_of(answer, begun) {
                    if orders.send(order).await.is_err() {
                        return;
                    }
                }
            }
            Err(LinkError::Superseded(message)) => {
                tracing::warn!(message, "superseded");
                let _ = orders.send(Order::Superseded).await;
                return;
            }
            Err(error) => tracing::debug!(%error, "a heartbeat was not answered"),
        }
        let lease_end = answered + rhythm.lease;
        tokio::time::sleep_until((begun + rhythm.pause).min(lease_end).into()).await;
    }
}

/// `asked` is when the call was made.
fn orders_of(answer: HeartbeatResponse, asked: Instant) -> Vec<Order> {
    // First: an order to stop may only shorten what the money leaves.
    let money = answer.money_lasts_ms.map(|lasts| money(lasts, asked));
    let notice = answer.notice.map(|notice| Order::Notice {
        reclaim_in: Duration::from_millis(notice.reclaim_in_ms.into()),
        action: notice.action,
    });
    let stop = answer
        .stop
        .map(|stop| Order::Stop { within: Some(Duration::from_millis(stop.kill_in_ms.into())) });
    money.into_iter().chain(notice).chain(stop).collect()
}

/// How long the money lasts, counted from when the call was `asked`: the answer
/// was given later, so that no clock has to agree with another.
pub(crate) fn money(lasts_ms: u32, asked: Instant) -> Order {
    Order::Money { until: asked + Duration::from_millis(lasts_ms.into()) }
}
