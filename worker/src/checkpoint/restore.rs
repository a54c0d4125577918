//! Reading checkpoints: nothing is given to the command before every size and
//! hash has been verified.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};
use spotwise_api::v1::Progress;
use spotwise_model::AttemptId;

use super::commit::hex;
use super::manifest::{FileEntry, Manifest};
use super::store::{Store, shard_path};
use super::{CheckpointError, CheckpointId, at, blocking};

/// Shards are read in pieces of this size.
const PIECE: u64 = 8 * 1024 * 1024;

/// What to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing: a fresh start.
    Nothing,
    /// This one, or the newest before it that verifies.
    This(CheckpointId),
    /// The newest of any attempt before this one that verifies.
    NewestBefore(AttemptId),
}

/// What came of a restore.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Restored {
    /// What was loaded; none for a fresh start.
    pub(crate) loaded: Option<CheckpointId>,
    /// Size and progress of it.
    pub(crate) bytes: u64,
    pub(crate) progress: Progress,
    /// How many did not verify.
    pub(crate) rejected: u32,
}

/// Loads what is wanted into `folder`. `staging` is a folder of ours on the same
/// file system.
///
/// An error is this machine's (a full disk): then no older checkpoint would
/// help.
pub(crate) async fn restore(
    store: &Store,
    wanted: Wanted,
    staging: &Path,
    folder: &Path,
) -> Result<Restored, CheckpointError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    if wanted == Wanted::Nothing {
        return Ok(Restored::default());
    }
    let mut candidates = store.list_all().await?;
    match wanted {
        Wanted::Nothing => {}
        Wanted::This(assigned) => {
            candidates.retain(|id| *id < assigned);
            candidates.push(assigned);
        }
        Wanted::NewestBefore(own) => candidates.retain(|id| id.attempt < own),
    }
    let mut rejected = 0;
    for id in candidates.into_iter().rev() {
        clear(staging)?;
        match load(store, id, staging).await {
            Ok(Some(manifest)) => {
                place(&manifest, staging, folder)?;
                clear(staging)?;
                let (bytes, progress) = (manifest.bytes(), manifest.progress());
                return Ok(Restored { loaded: Some(id), bytes, progress, rejected });
            }
            // A commit that was cut off was never a checkpoint, but the
            // assigned one was.
            Ok(None) if wanted != Wanted::This(id) => {}
            Ok(None) => {
                tracing::warn!(%id, "the checkpoint is gone");
                rejected += 1;
            }
            Err(error @ CheckpointError::File { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%id, error = error.line(), "the checkpoint does not verify");
                rejected += 1;
            }
        }
    }
    clear(staging)?;
    Ok(Restored { rejected, ..Restored::default() })
}

async fn load(
    store: &Store,
    id: CheckpointId,
    staging: &Path,
) -> Result<Option<Manifest>, CheckpointError> {
    let Some(store) = store.of(id.attempt.job) else {
        return Err(CheckpointError::Bad("it is that of another job".to_owned()));
    };
    let Some(manifest) = store.manifest(id).await? else { return Ok(None) };
    if !store.is_whole(&manifest).await {
        return Err(CheckpointError::Bad("a shard is missing or has another size".to_owned()));
    }
    for (index, file) in manifest.files().iter().enumerate() {
        download(store, id, index, file, staging.join(&file.path)).await?;
    }
    Ok(Some(manifest))
}

async fn download(
    store: &Store,
    id: CheckpointId,
    index: usize,
    entry: &FileEntry,
    path: PathBuf,
) -> Result<(), CheckpointError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    let mut file =
        OpenOptions::new().create_new(true).write(true).open(&path).map_err(at(&path))?;
    let mut hash = Sha256::new();
    let mut offset = 0;
    while offset < entry.size {
        let end = offset.saturating_add(PIECE).min(entry.size);
        let piece = store.objects().get_range(&shard_path(id, index), offset..end).await?;
        if piece.len() as u64 != end - offset {
            return Err(CheckpointError::Bad(format!("{:?} is cut off", entry.path)));
        }
        let path = path.clone();
        (file, hash) = blocking(move || {
            file.write_all(&piece).map_err(at(&path))?;
            hash.update(&piece);
            Ok((file, hash))
        })
        .await?;
        offset = end;
    }
    if hex(&hash.finalize()) == entry.sha256 {
        Ok(())
    } else {
        Err(CheckpointError::Bad(format!("{:?} is not what was written", entry.path)))
    }
}

/// Moves verified files to where the command looks for them.
fn place(manifest: &Manifest, staging: &Path, folder: &Path) -> Result<(), CheckpointError> {
    for file in manifest.files() {
        let target = folder.join(&file.path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::rename(staging.join(&file.path), &target).map_err(at(&target))?;
    }
    Ok(())
}

fn clear(staging: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(at(staging)),
    }
}
