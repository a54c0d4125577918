//! What the worker has to say, said in order and until it is heard.

use spotwise_api::v1::{ReportRequest, StartFailed};
use tokio::sync::mpsc;

use crate::link::{Backoff, Link, LinkError};
use crate::supervise::Order;

/// Says every report until it is answered; ends when no more will come, or
/// when the attempt is superseded.
pub(crate) async fn say(
    link: Link,
    mut reports: mpsc::UnboundedReceiver<ReportRequest>,
    orders: mpsc::Sender<Order>,
) {
    while let Some(report) = reports.recv().await {
        let mut backoff = Backoff::new();
        loop {
            match link.report(report.clone()).await {
                Ok(()) => break,
                Err(LinkError::Away(_)) => tokio::time::sleep(backoff.pause()).await,
                Err(LinkError::Superseded(message)) => {
                    tracing::info!(message, "reports are over");
                    // Nobody listens any more where the command has ended.
                    let _ = orders.send(Order::Superseded).await;
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "a report was refused");
                    break;
                }
            }
        }
    }
}

/// The report of an attempt whose command never ran.
pub(crate) fn start_failed(message: impl Into<String>) -> ReportRequest {
    let failed = StartFailed { message: message.into() };
    ReportRequest { start_failed: Some(failed), ..ReportRequest::default() }
}
