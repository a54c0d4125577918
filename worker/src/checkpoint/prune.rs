//! Removing old checkpoints.

use super::acked::AckedCheckpoints;
use super::store::Store;
use super::{CheckpointError, CheckpointId};

/// Keeps the newest complete ones, including the one just written, and what the scheduler
/// may ask for. What is older, or older and incomplete, is removed. Newer attempts are not
/// touched, and neither is anything written by a later version.
pub(super) async fn prune(
    store: &Store,
    acked: &AckedCheckpoints,
    keep: usize,
    newest: CheckpointId,
) -> Result<(), CheckpointError> {
    let mut kept = 1;
    let older = store.list().await?.into_iter().rev().filter(|id| *id < newest);
    for id in older {
        let whole = match store.manifest(id).await {
            Err(CheckpointError::TooNew { .. }) => continue,
            // The store may only be slow to answer; nothing is removed on a guess.
            Err(CheckpointError::Store(error)) => return Err(error.into()),
            Ok(Some(manifest)) if kept < keep => store.is_whole(&manifest).await,
            Ok(_) | Err(_) => false,
        };
        if whole {
            kept += 1;
        } else if acked.release(id, newest.attempt) {
            store.remove(id).await?;
        }
    }
    Ok(())
}
