//! What the scheduler may hand to the next attempt.
//!
//! It hears of checkpoints late, and the machine may be gone before it hears of
//! the newest. So neither what it has heard last, nor what it may be hearing at
//! this moment, is removed, however many newer ones the store holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spotwise_model::AttemptId;

use super::CheckpointId;

/// Shared by who says reports and who removes checkpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    restored: Option<CheckpointId>,
    /// Other nodes may still be reading what was restored.
    shared: bool,
    /// Sequences of this attempt, from the last that was heard to the last that
    /// was said: reports are said one by one, so there are two at most.
    said: Vec<u32>,
    /// Removed before their reports were said.
    gone: BTreeSet<u32>,
}

impl Known {
    /// The checkpoint that this attempt goes on from; `shared` with the other
    /// nodes of a gang.
    pub(crate) fn restored(&self, id: Option<CheckpointId>, shared: bool) {
        let mut it = self.lock();
        (it.restored, it.shared) = (id, shared);
    }

    /// A checkpoint of this attempt is about to be reported. False where it is
    /// gone, and a newer one will be reported.
    pub(crate) fn saying(&self, sequence: u32) -> bool {
        let mut it = self.lock();
        if it.gone.remove(&sequence) {
            return false;
        }
        it.said.push(sequence);
        true
    }

    /// The report of a checkpoint was answered: older ones are history.
    pub(crate) fn heard(&self, sequence: u32) {
        let mut it = self.lock();
        it.said.retain(|said| *said >= sequence);
        if !it.shared {
            it.restored = None;
        }
    }

    /// Whether a checkpoint may be removed by attempt `own`; if so, it is not
    /// reported any more.
    pub(super) fn release(&self, id: CheckpointId, own: AttemptId) -> bool {
        let mut it = self.lock();
        if it.restored == Some(id) {
            return false;
        }
        if id.attempt == own {
            if it.said.contains(&id.sequence) {
                return false;
            }
            if it.said.last().is_none_or(|last| id.sequence > *last) {
                it.gone.insert(id.sequence);
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
