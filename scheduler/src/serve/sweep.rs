//! Unfinished uploads of attempts that are over are dropped, now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use spotwise_control::core::State;
use spotwise_model::{AttemptId, Now};
use spotwise_storage::StorageError;
use tokio_util::task::AbortOnDropHandle;

use crate::handle::Handle;
use crate::storage::ObjectStorage;

/// They are paid for like what is finished, by the month: minutes do not matter.
const EVERY: Duration = Duration::from_secs(600);

/// Sweeps now and regularly.
pub(super) fn regularly(storage: Arc<ObjectStorage>, handle: Handle) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            if let Err(error) = sweep(&storage, &handle).await {
                tracing::warn!(%error, "unfinished uploads stay");
            }
            tokio::time::sleep(EVERY).await;
        }
    }))
}

async fn sweep(storage: &ObjectStorage, handle: &Handle) -> Result<usize, StorageError> {
    let unfinished = storage.unfinished(None).await?;
    let live = |state: &State, _: Now| {
        let live = state.attempts.iter().filter(|(_, attempt)| attempt.state.is_live());
        live.map(|(id, _)| *id).collect::<BTreeSet<AttemptId>>()
    };
    // Without an answer nothing is known to be over.
    match handle.ask(live).await {
        Ok(live) => unfinished.drop_but(move |attempt| live.contains(&attempt)).await,
        Err(_) => Ok(0),
    }
}
