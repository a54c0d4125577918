//! What the owner of a job should know of its files, as events of the job: each
//! thing once, and not more than a person reads.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use spotwise_api::v1::{Note, ReportRequest};
use tokio::sync::mpsc::WeakUnboundedSender;

/// The most notes of one worker.
const MOST: u32 = 20;

/// The longest note, in characters.
const LONGEST: usize = 1_000;

/// Says notes to the scheduler. It keeps nobody waiting: once the reports are over,
/// so are the notes.
#[derive(Clone)]
pub(crate) struct Notes {
    reports: WeakUnboundedSender<ReportRequest>,
    said: Arc<Mutex<BTreeSet<String>>>,
}

impl Notes {
    /// Through the worker's reports.
    pub(crate) fn new(reports: WeakUnboundedSender<ReportRequest>) -> Self {
        Self { reports, said: Arc::default() }
    }

    /// Says something, unless it was said before.
    pub(crate) fn say(&self, text: &str) {
        let mut message: String = text.chars().take(LONGEST).collect();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(said.len()).unwrap_or(u32::MAX).saturating_add(1);
        if number > MOST || !said.insert(message.clone()) {
            return;
        }
        tracing::warn!("{message}");
        if number == MOST {
            message.push_str(" (what else there is to say about its files is in the worker's log)");
        }
        let note = Some(Note { number, message });
        if let Some(reports) = self.reports.upgrade() {
            // Nobody listens once the attempt is superseded.
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
        let (reports, mut heard) = mpsc::unbounded_channel();
        let notes = Notes::new(reports.downgrade());
        for round in 0..100 {
            notes.say("the same");
            notes.clone().say(&format!("another {round}"));
        }
        drop(reports);
        let mut all = Vec::new();
        while let Ok(report) = heard.try_recv() {
            all.push(report.note.unwrap());
        }
        assert_eq!(all.len(), MOST as usize);
        assert_eq!((all[0].number, all[0].message.as_str()), (1, "the same"));
        assert_eq!(all[1].message, "another 0");
        assert!(all[19].message.contains("worker's log"));
        notes.say("after the end");
    }
}
