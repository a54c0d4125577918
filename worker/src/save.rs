//! When checkpoints are committed: regularly, and once more at the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use spotwise_api::v1::{CheckpointCommitted, ReportRequest};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{CheckpointError, Committer};
use crate::notes::Notes;
use crate::output::Capture;
use crate::progress::ProgressLog;

/// A folder that was being written is checked again after this time, or after the interval
/// if that is shorter.
const SOON: Duration = Duration::from_secs(1);

/// Commits checkpoints and reports them to the scheduler, and failures to the owner.
pub(crate) struct Saver {
    committer: Committer,
    progress: Arc<Mutex<ProgressLog>>,
    capture: Arc<Capture>,
    reports: mpsc::UnboundedSender<ReportRequest>,
    notes: Notes,
    complaint: String,
    unstable: bool,
}

impl Saver {
    pub(crate) const fn new(
        committer: Committer,
        progress: Arc<Mutex<ProgressLog>>,
        capture: Arc<Capture>,
        reports: mpsc::UnboundedSender<ReportRequest>,
        notes: Notes,
    ) -> Self {
        let complaint = String::new();
        Self { committer, progress, capture, reports, notes, complaint, unstable: false }
    }

    /// Commits every `pause`. Once `done`, it finishes what it has begun and
    /// hands itself back.
    pub(crate) async fn run(mut self, pause: Duration, done: CancellationToken) -> Self {
        self.committer.hurry(done.clone());
        loop {
            let pause = if self.unstable { pause.min(SOON) } else { pause };
            tokio::select! {
                biased;
                () = done.cancelled() => return self,
                () = tokio::time::sleep(pause) => self.commit().await,
            }
        }
    }

    /// Commits what the command has left: it has ended.
    pub(crate) async fn commit_the_rest(&mut self) {
        self.committer.ended();
        self.commit().await;
    }

    /// Commits what is new.
    async fn commit(&mut self) {
        let progress = Arc::clone(&self.progress);
        lock(&progress).refresh(SystemTime::now());
        let committed_now = self.committer.commit(|time| lock(&progress).at(time)).await;
        self.unstable = matches!(committed_now, Err(CheckpointError::Unstable));
        match committed_now {
            Ok(None) => {}
            Ok(Some(checkpoint)) => {
                tracing::info!(sequence = checkpoint.sequence, "checkpoint committed");
                // The reporter is gone once the attempt is superseded.
                let _ = self.reports.send(committed(checkpoint));
            }
            // It will be still when the command has ended, at the latest.
            Err(CheckpointError::Unstable) => tracing::debug!("the checkpoint is being written"),
            Err(error) => self.complain(&error),
        }
        for remark in self.committer.remarks() {
            self.notes.send(&remark);
        }
    }

    /// The newest checkpoint of this attempt, as a report.
    pub(crate) fn last(&self) -> Option<ReportRequest> {
        self.committer.last().cloned().map(committed)
    }

    /// Reports the same error once, not in every interval.
    fn complain(&mut self, error: &CheckpointError) {
        let complaint = error.line();
        tracing::warn!(error = complaint, "no checkpoint was committed");
        if complaint != self.complaint {
            let text = format!("no checkpoint was committed: {complaint}");
            self.capture.note(&text);
            self.notes.send(&text);
            self.complaint = complaint;
        }
    }
}

fn committed(checkpoint: CheckpointCommitted) -> ReportRequest {
    ReportRequest { checkpoint: Some(checkpoint), ..ReportRequest::default() }
}

fn lock(progress: &Mutex<ProgressLog>) -> std::sync::MutexGuard<'_, ProgressLog> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
