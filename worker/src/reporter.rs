//! Tells the scheduler what happens: output as it arrives, reports in order, and the final
//! report until it is acknowledged.

use std::time::Duration;

use spotwise_api::spool::{Bounds, Spool};
use spotwise_api::v1::{ReportRequest, StartFailed};
use spotwise_supervisor::Order;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::checkpoint::AckedCheckpoints;
use crate::folder::Folder;
use crate::log_upload::{LogUpload, upload_log};
use crate::output::Level;
use crate::scheduler_client::{Backoff, CallError, SchedulerClient};

/// How long the final report is repeated to a scheduler that does not answer.
const FINAL_REPORT_TIMEOUT: Duration = Duration::from_secs(600);

/// The two tasks that upload the output and send reports.
pub(crate) struct Reporter {
    uploading: AbortOnDropHandle<()>,
    reporting: AbortOnDropHandle<()>,
    reports: mpsc::UnboundedSender<ReportRequest>,
}

impl Reporter {
    /// Starts to upload the output and to send reports, whose answers may say that the
    /// attempt is superseded.
    pub(crate) fn start(
        client: SchedulerClient,
        output: LogUpload,
        orders: mpsc::Sender<Order>,
        acked: AckedCheckpoints,
    ) -> Self {
        let (reports, receiver) = mpsc::unbounded_channel();
        let uploading = AbortOnDropHandle::new(tokio::spawn(upload_log(client.clone(), output)));
        let reporting =
            AbortOnDropHandle::new(tokio::spawn(send_all(client, receiver, orders, acked)));
        Self { uploading, reporting, reports }
    }

    /// Accepts reports; they are sent in this order.
    pub(crate) const fn reports(&self) -> &mpsc::UnboundedSender<ReportRequest> {
        &self.reports
    }

    /// Uploads the rest of the output, then sends the final report: after it the
    /// scheduler accepts nothing. All other senders of reports must be gone.
    pub(crate) async fn finish(self, last: impl IntoIterator<Item = ReportRequest>) {
        let Self { uploading, reporting, reports } = self;
        let finished = tokio::time::timeout(FINAL_REPORT_TIMEOUT, async {
            // A task that panicked has nothing more to send.
            let _ = uploading.await;
            for report in last {
                let _ = reports.send(report);
            }
            drop(reports);
            let _ = reporting.await;
        });
        if finished.await.is_err() {
            tracing::warn!("the final report was not acknowledged; it stays in exit.json");
        }
    }
}

/// Sends what an earlier worker of this folder could not: the rest of the output, then
/// its reports.
pub(crate) async fn repeat(client: SchedulerClient, folder: &Folder, last: Vec<ReportRequest>) {
    let log = Spool::at(folder.log());
    let bytes = log.end().unwrap_or_default();
    let (_sender, level) = watch::channel(Level { bytes, drained: true, closed: true });
    // One report at most says that it is superseded, and nobody has to act on it.
    let (orders, _orders) = mpsc::channel(1);
    let output = LogUpload { log, bounds: Bounds::of(0), level };
    Reporter::start(client, output, orders, AckedCheckpoints::default()).finish(last).await;
}

/// The report of an attempt whose command was not started by this worker.
pub(crate) fn start_failed(message: impl Into<String>) -> ReportRequest {
    let failed = StartFailed { message: message.into(), lost: false };
    ReportRequest { start_failed: Some(failed), ..ReportRequest::default() }
}

/// The report of an attempt whose command an earlier worker had started: its outcome is
/// unknown, and it is not a failure of the job.
pub(crate) fn lost() -> ReportRequest {
    let message = "the worker was restarted, and a command is never started twice".to_owned();
    let lost = StartFailed { message, lost: true };
    ReportRequest { start_failed: Some(lost), ..ReportRequest::default() }
}

/// Sends every report until it is acknowledged; ends when no more will come, or when the
/// attempt is superseded.
async fn send_all(
    client: SchedulerClient,
    mut reports: mpsc::UnboundedReceiver<ReportRequest>,
    orders: mpsc::Sender<Order>,
    acked: AckedCheckpoints,
) {
    while let Some(report) = reports.recv().await {
        let sequence = report.checkpoint.as_ref().map(|checkpoint| checkpoint.sequence);
        if sequence.is_some_and(|sequence| !acked.reporting(sequence)) {
            continue;
        }
        let mut backoff = Backoff::new();
        loop {
            match client.report(report.clone()).await {
                Ok(()) => {
                    sequence.into_iter().for_each(|sequence| acked.acked(sequence));
                    break;
                }
                Err(CallError::Away(_)) => tokio::time::sleep(backoff.pause()).await,
                Err(CallError::Superseded(message)) => {
                    tracing::info!(message, "superseded: no more reports");
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
