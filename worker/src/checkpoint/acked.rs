//! What the scheduler may hand to the next attempt.
//!
//! The scheduler learns of checkpoints late, and the machine may be gone before it learns
//! of the newest. So neither the last acknowledged checkpoint nor one whose report is in
//! progress is removed, however many newer ones the store holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spotwise_model::AttemptId;

use super::CheckpointId;

/// Shared by the reporter and the code that removes checkpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct AckedCheckpoints(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    restored: Option<CheckpointId>,
    /// Other nodes may still be reading what was restored.
    shared: bool,
    /// Sequences of this attempt, from the last acknowledged to the last reported:
    /// reports are sent one by one, so there are two at most.
    reported: Vec<u32>,
    /// Removed before they were reported.
    gone: BTreeSet<u32>,
}

impl AckedCheckpoints {
    /// The checkpoint from which this attempt resumes; `shared` with the other nodes of a
    /// gang.
    pub(crate) fn restored(&self, id: Option<CheckpointId>, shared: bool) {
        let mut it = self.lock();
        (it.restored, it.shared) = (id, shared);
    }

    /// A checkpoint of this attempt is about to be reported. False if it is gone
    /// and a newer one will be reported.
    pub(crate) fn reporting(&self, sequence: u32) -> bool {
        let mut it = self.lock();
        if it.gone.remove(&sequence) {
            return false;
        }
        it.reported.push(sequence);
        true
    }

    /// The report of a checkpoint was acknowledged: older ones no longer matter.
    pub(crate) fn acked(&self, sequence: u32) {
        let mut it = self.lock();
        it.reported.retain(|reported| *reported >= sequence);
        if !it.shared {
            it.restored = None;
        }
    }

    /// Whether a checkpoint may be removed by attempt `own`; if so, it is no longer
    /// reported.
    pub(super) fn release(&self, id: CheckpointId, own: AttemptId) -> bool {
        let mut it = self.lock();
        if it.restored == Some(id) {
            return false;
        }
        if id.attempt == own {
            if it.reported.contains(&id.sequence) {
                return false;
            }
            if it.reported.last().is_none_or(|last| id.sequence > *last) {
                it.gone.insert(id.sequence);
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
