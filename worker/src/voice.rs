//! What the worker has to say: output as it comes, reports in order, and the
//! last words until they are heard.

use std::time::Duration;

use spotwise_api::spool::{Bounds, Spool};
use spotwise_api::v1::{ReportRequest, StartFailed};
use spotwise_supervisor::Order;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::checkpoint::Known;
use crate::folder::Folder;
use crate::link::{Backoff, Link, LinkError};
use crate::output::Level;
use crate::ship::{Shipment, ship};

/// How long the last words are repeated to a scheduler that is away.
const PATIENCE: Duration = Duration::from_secs(600);

/// The two tasks that speak to the scheduler.
pub(crate) struct Voice {
    shipping: AbortOnDropHandle<()>,
    saying: AbortOnDropHandle<()>,
    reports: mpsc::UnboundedSender<ReportRequest>,
}

impl Voice {
    /// Ships the output, and hears in the answers to reports whether
    /// the attempt is superseded.
    pub(crate) fn start(
        link: Link,
        output: Shipment,
        orders: mpsc::Sender<Order>,
        known: Known,
    ) -> Self {
        let (reports, receiver) = mpsc::unbounded_channel();
        let shipping = AbortOnDropHandle::new(tokio::spawn(ship(link.clone(), output)));
        let saying = AbortOnDropHandle::new(tokio::spawn(say(link, receiver, orders, known)));
        Self { shipping, saying, reports }
    }

    /// Where reports are handed in; they are said in this order.
    pub(crate) const fn reports(&self) -> &mpsc::UnboundedSender<ReportRequest> {
        &self.reports
    }

    /// Ships the rest, then says the last words: after them the scheduler no
    /// longer listens. All other senders of reports must be gone.
    pub(crate) async fn finish(self, words: impl IntoIterator<Item = ReportRequest>) {
        let Self { shipping, saying, reports } = self;
        let heard = tokio::time::timeout(PATIENCE, async {
            // A task that broke has nothing more to say.
            let _ = shipping.await;
            for word in words {
                let _ = reports.send(word);
            }
            drop(reports);
            let _ = saying.await;
        });
        if heard.await.is_err() {
            tracing::warn!("the last words were not heard; they stay in exit.json");
        }
    }
}

/// Says what an earlier worker of this folder could not: the rest of the
/// output, then its reports.
pub(crate) async fn repeat(link: Link, folder: &Folder, words: Vec<ReportRequest>) {
    let log = Spool::at(folder.log());
    let bytes = log.end().unwrap_or_default();
    let (_sender, level) = watch::channel(Level { bytes, drained: true, closed: true });
    // One report at most says that it is superseded, and nobody has to act on it.
    let (orders, _orders) = mpsc::channel(1);
    let output = Shipment { log, bounds: Bounds::of(0), level };
    Voice::start(link, output, orders, Known::default()).finish(words).await;
}

/// The report of an attempt whose command was not started by this worker.
pub(crate) fn start_failed(message: impl Into<String>) -> ReportRequest {
    let failed = StartFailed { message: message.into(), lost: false };
    ReportRequest { start_failed: Some(failed), ..ReportRequest::default() }
}

/// The report of an attempt whose command an earlier worker had started: what became
/// of it nobody knows, and it is no failure of the job.
pub(crate) fn lost() -> ReportRequest {
    let message = "the worker was restarted, and a command is never started twice".to_owned();
    let lost = StartFailed { message, lost: true };
    ReportRequest { start_failed: Some(lost), ..ReportRequest::default() }
}

/// Says every report until it is answered; ends when no more will come, or
/// when the attempt is superseded.
async fn say(
    link: Link,
    mut reports: mpsc::UnboundedReceiver<ReportRequest>,
    orders: mpsc::Sender<Order>,
    known: Known,
) {
    while let Some(report) = reports.recv().await {
        let sequence = report.checkpoint.as_ref().map(|checkpoint| checkpoint.sequence);
        if sequence.is_some_and(|sequence| !known.saying(sequence)) {
            continue;
        }
        let mut backoff = Backoff::new();
        loop {
            match link.report(report.clone()).await {
                Ok(()) => {
                    sequence.into_iter().for_each(|sequence| known.heard(sequence));
                    break;
                }
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
