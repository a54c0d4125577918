//! What the owner of a job should know about its files, as events of the job: each thing
//! once, and not more than a person reads.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use spotwise_api::v1::{Note, ReportRequest};
use tokio::sync::mpsc::WeakUnboundedSender;

/// The most notes of one worker.
const MOST: u32 = 20;

/// The longest note, in characters.
const LONGEST: usize = 1_000;

/// Sends notes to the scheduler. They delay nothing: they end with the last report.
#[derive(Clone)]
pub(crate) struct Notes {
    reports: WeakUnboundedSender<ReportRequest>,
    sent: Arc<Mutex<BTreeSet<String>>>,
}

impl Notes {
    /// Notes sent through the worker's reports.
    pub(crate) fn new(reports: WeakUnboundedSender<ReportRequest>) -> Self {
        Self { reports, sent: Arc::default() }
    }

    /// Sends a note, unless it was sent before.
    pub(crate) fn send(&self, text: &str) {
        let mut message: String = text.chars().take(LONGEST).collect();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(sent.len()).unwrap_or(u32::MAX).saturating_add(1);
        if number > MOST || !sent.insert(message.clone()) {
            return;
        }
        tracing::warn!("{message}");
        if number == MOST {
            message.push_str(" (what else there is to say about its files is in the worker's log)");
        }
        let note = Some(Note { number, message });
        if let Some(reports) = self.reports.upgrade() {
            // The reporter is gone once the attempt is superseded.
            let _ = reports.send(ReportRequest { note, ..ReportRequest::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn each_thing_is_said_once_and_not_for_ever() {
        let (reports, mut sent) = mpsc::unbounded_channel();
        let notes = Notes::new(reports.downgrade());
        for round in 0..100 {
            notes.send("the same");
            notes.clone().send(&format!("another {round}"));
        }
        drop(reports);
        let mut all = Vec::new();
        while let Ok(report) = sent.try_recv() {
            all.push(report.note.unwrap());
        }
        assert_eq!(all.len(), MOST as usize);
        assert_eq!((all[0].number, all[0].message.as_str()), (1, "the same"));
        assert_eq!(all[1].message, "another 0");
        assert!(all[19].message.contains("worker's log"));
        notes.send("after the end");
    }
}
