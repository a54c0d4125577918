//! Reading checkpoints: nothing is given to the command before every size and
//! hash has been verified.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use spotwise_api::v1::Progress;
use spotwise_model::AttemptId;
use tokio::sync::Semaphore;

use super::direct::{Copying, fetch, write_around_zeros};
use super::manifest::{Item, Manifest, Shard};
use super::place::place;
use super::store::{Store, shard_path};
use super::{CheckpointError, CheckpointId, at, blocking};

/// Shards are read in pieces of this size.
const PIECE: u64 = 8 * 1024 * 1024;

/// Pieces that are in memory at once, over all shards: 64 MiB.
const PIECES_AT_ONCE: usize = 8;

/// Shards that are fetched at once from a store elsewhere.
const SHARDS_AT_ONCE: usize = 8;

/// And from a folder.
const FILES_AT_ONCE: usize = 2;

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

/// The result of a restore.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Restored {
    /// What was loaded; `None` for a fresh start.
    pub(crate) loaded: Option<CheckpointId>,
    /// Its size and progress.
    pub(crate) bytes: u64,
    pub(crate) progress: Progress,
    /// How many failed verification.
    pub(crate) rejected: u32,
    /// Where the bytes of each file lie.
    pub(super) shards: BTreeMap<PathBuf, Shard>,
}

/// Loads the wanted checkpoint into `folder`. `staging` is a folder of ours on the same
/// file system.
///
/// An error concerns this machine (a full disk), in which case no older checkpoint would
/// help. Or this version is too old for a checkpoint, which an older one would not make up
/// for. Or a store that is elsewhere does not answer: an older one would lose work.
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
    let mut candidates = match store.list_all().await {
        Err(error) if store.renew(&error).await => store.list_all().await?,
        listed => listed?,
    };
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
        let mut loaded = load(store, id, staging).await;
        if let Err(error) = &loaded
            && store.renew(error).await
        {
            clear(staging)?;
            loaded = load(store, id, staging).await;
        }
        match loaded {
            Ok(Some(manifest)) => {
                let (from, to) = (staging.to_owned(), folder.to_owned());
                let manifest = blocking(move || {
                    place(&manifest, &from, &to)?;
                    clear(&from)?;
                    Ok(manifest)
                })
                .await?;
                let (bytes, progress) = (manifest.bytes(), manifest.progress());
                let shards = manifest.shards().map(|(item, shard)| {
                    let lies_in = Some(manifest.place_of(shard));
                    (item.path.clone(), Shard { lies_in, ..shard.clone() })
                });
                let shards = shards.collect();
                return Ok(Restored { loaded: Some(id), bytes, progress, rejected, shards });
            }
            // A commit that was cut off was never a checkpoint, but the
            // assigned one was.
            Ok(None) if wanted != Wanted::This(id) => {}
            Ok(None) => {
                tracing::warn!(%id, "the checkpoint is gone");
                rejected += 1;
            }
            Err(error @ (CheckpointError::File { .. } | CheckpointError::TooNew { .. })) => {
                return Err(error);
            }
            Err(CheckpointError::Store(error)) if store.is_remote() && !is_gone(&error) => {
                return Err(error.into());
            }
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
    if !store.is_whole(&manifest).await? {
        return Err(CheckpointError::Bad("a shard is missing or has another size".to_owned()));
    }
    let room = &Semaphore::new(PIECES_AT_ONCE);
    let fetching = manifest.shards().map(|(item, shard)| {
        let (place, path) = (manifest.place_of(shard), staging.join(&item.path));
        async move { download(store, place, (item, shard), path, room).await }.boxed()
    });
    let fetching: Vec<_> = fetching.collect();
    // A disk that reads many files at once reads none of them ahead.
    let at_once = if store.direct().is_some() { FILES_AT_ONCE } else { SHARDS_AT_ONCE };
    stream::iter(fetching).buffer_unordered(at_once).try_collect::<()>().await?;
    Ok(Some(manifest))
}

/// Whether the store has answered, and the answer is that there is nothing.
const fn is_gone(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
}

/// Several pieces are on their way at a time; they are written, and hashed, in their order.
async fn download(
    store: &Store,
    id: CheckpointId,
    (item, shard): (&Item, &Shard),
    path: PathBuf,
    room: &Semaphore,
) -> Result<(), CheckpointError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    let mut file =
        OpenOptions::new().create_new(true).write(true).open(&path).map_err(at(&path))?;
    file.set_len(if shard.sparse { shard.size } else { 0 }).map_err(at(&path))?;
    let not_written = || CheckpointError::Bad(format!("{:?} is not what was written", item.path));
    if let Some(root) = store.direct() {
        let from = root.join(shard_path(id, shard.number).as_ref());
        let copying = Copying::default();
        let (shard, given_up) = (shard.clone(), copying.given_up());
        let good = blocking(move || fetch(&from, &mut file, &path, &shard, &given_up)).await?;
        return if good { Ok(()) } else { Err(not_written()) };
    }
    let mut hasher = shard.hash.hasher();
    let target = &shard_path(id, shard.number);
    let get = |begin: u64| {
        async move {
            // Its place is given back when it is written: the pieces before it have theirs.
            let place = room.acquire().await;
            let end = begin.saturating_add(PIECE).min(shard.size);
            let piece = store.objects().get_range(target, begin..end).await?;
            if piece.len() as u64 == end - begin {
                Ok((piece, place))
            } else {
                Err(CheckpointError::Bad(format!("{:?} is cut off", item.path)))
            }
        }
        .boxed()
    };
    let begins = (0..shard.size.div_ceil(PIECE)).map(|number| number * PIECE);
    let mut pieces = stream::iter(begins).map(get).buffered(PIECES_AT_ONCE);
    while let Some((piece, place)) = pieces.try_next().await? {
        let (path, sparse) = (path.clone(), shard.sparse);
        (file, hasher) = blocking(move || {
            if sparse { write_around_zeros(&mut file, &piece) } else { file.write_all(&piece) }
                .map_err(at(&path))?;
            hasher.update(&piece);
            Ok((file, hasher))
        })
        .await?;
        drop(place);
    }
    if hasher.finish() == shard.hash { Ok(()) } else { Err(not_written()) }
}

fn clear(staging: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(at(staging)),
    }
}
