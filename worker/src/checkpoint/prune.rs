//! Removing old checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use super::acked::AckedCheckpoints;
use super::manifest::Manifest;
use super::store::Store;
use super::{CheckpointError, CheckpointId};

/// The shards that checkpoints name which stay, by where they lie.
#[derive(Default)]
struct Named(BTreeMap<CheckpointId, BTreeSet<u32>>);

impl Named {
    fn by(&mut self, manifest: &Manifest) {
        for (id, numbers) in manifest.places() {
            self.0.entry(id).or_default().extend(numbers);
        }
    }
}

/// Keeps the newest complete ones, including the one just written, and what the scheduler
/// may ask for, with the shards that they name in others. What is older, or older and
/// incomplete, is removed. Newer attempts are not touched, and neither is anything written
/// by a later version, nor what is older than that: nobody knows what it names.
pub(super) async fn prune(
    store: &Store,
    acked: &AckedCheckpoints,
    keep: usize,
    newest: &Manifest,
) -> Result<(), CheckpointError> {
    let mut kept = 1;
    let mut named = Named::default();
    named.by(newest);
    let newest = newest.id();
    let mut gone = Vec::new();
    for id in store.list().await?.into_iter().rev().filter(|id| *id != newest) {
        let manifest = match store.manifest(id).await {
            Err(CheckpointError::TooNew { .. }) => break,
            // The store may only be slow to answer; nothing is removed on a guess.
            Err(CheckpointError::Store(error)) => return Err(error.into()),
            Ok(manifest) => manifest,
            Err(_) => None,
        };
        let counts = id > newest
            || match &manifest {
                Some(manifest) if kept < keep => store.is_whole(manifest).await?,
                Some(_) | None => false,
            };
        if counts {
            kept += usize::from(id < newest);
        } else if acked.release(id, newest.attempt) {
            gone.push(id);
            continue;
        }
        if let Some(manifest) = &manifest {
            named.by(manifest);
        }
    }
    let none = BTreeSet::new();
    for id in gone {
        store.remove(id, named.0.get(&id).unwrap_or(&none)).await?;
    }
    Ok(())
}
