//! Writing checkpoints.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use spotwise_api::v1::{CheckpointCommitted, Progress};
use spotwise_model::AttemptId;
use tokio_util::sync::CancellationToken;

use super::known::Known;
use super::manifest::{FileEntry, Manifest};
use super::scan::{Found, Snapshot, scan};
use super::store::{Store, shard_path};
use super::{CheckpointError, CheckpointId, at, blocking};

/// Shards are read, hashed and sent in pieces of this size: all the memory
/// that a checkpoint takes. S3 wants at least 5 MiB.
const PIECE: usize = 8 * 1024 * 1024;

/// Commits what one attempt's command leaves in its checkpoint folder.
#[derive(Debug)]
pub(crate) struct Committer {
    store: Store,
    attempt: AttemptId,
    folder: PathBuf,
    keep: usize,
    fence: CancellationToken,
    known: Known,
    next: u32,
    /// What is known to be saved already.
    saved: Snapshot,
    last: Option<CheckpointCommitted>,
}

impl Committer {
    /// The folder holds what was restored, which is not committed again.
    /// Nothing is committed once `fence` is cancelled.
    pub(crate) async fn new(
        store: Store,
        attempt: AttemptId,
        folder: PathBuf,
        keep: u32,
        fence: CancellationToken,
        known: Known,
    ) -> Result<Self, CheckpointError> {
        let own = store.list().await?.into_iter().filter(|id| id.attempt == attempt);
        let next = own.map(|id| id.sequence).max().unwrap_or(0).saturating_add(1);
        let looked = folder.clone();
        let saved = blocking(move || scan(&looked)).await?;
        let keep = usize::try_from(keep.max(1)).unwrap_or(usize::MAX);
        Ok(Self { store, attempt, folder, keep, fence, known, next, saved, last: None })
    }

    /// The newest checkpoint of this attempt.
    pub(crate) const fn last(&self) -> Option<&CheckpointCommitted> {
        self.last.as_ref()
    }

    /// Commits the folder if it holds something new. `progress` answers how
    /// far the command was at a time.
    ///
    /// A failure leaves all earlier checkpoints as they were.
    pub(crate) async fn commit(
        &mut self,
        progress: impl Fn(SystemTime) -> Option<Progress>,
    ) -> Result<Option<CheckpointCommitted>, CheckpointError> {
        let snapshot = self.look().await?;
        if snapshot.files.is_empty() || snapshot == self.saved {
            return Ok(None);
        }
        self.check_fence().await?;
        let id = CheckpointId { attempt: self.attempt, sequence: self.next };
        // A number is used once, even for a commit that fails.
        self.next = self.next.saturating_add(1);
        let progress = snapshot.newest().and_then(progress).unwrap_or_default();
        let manifest = match self.write(id, &snapshot, &progress).await {
            Ok(manifest) => manifest,
            Err(error) => {
                // Without a manifest it is no checkpoint; this only frees space.
                if let Err(error) = self.store.remove(id).await {
                    tracing::warn!(%id, error = error.line(), "leftovers stay in the store");
                }
                return Err(error);
            }
        };
        self.saved = snapshot;
        let committed = CheckpointCommitted {
            sequence: id.sequence,
            bytes: manifest.bytes(),
            progress: Some(progress),
        };
        self.last = Some(committed.clone());
        if let Err(error) = self.prune(id).await {
            tracing::warn!(error = error.line(), "old checkpoints stay in the store");
        }
        Ok(Some(committed))
    }

    async fn look(&self) -> Result<Snapshot, CheckpointError> {
        let folder = self.folder.clone();
        blocking(move || scan(&folder)).await
    }

    /// An attempt whose lease is lost, or which sees the traces of a newer
    /// one, writes nothing.
    async fn check_fence(&self) -> Result<(), CheckpointError> {
        if self.fence.is_cancelled() {
            return Err(CheckpointError::Fenced("the lease is lost".to_owned()));
        }
        let newer = self.store.list().await?.into_iter().find(|id| id.attempt > self.attempt);
        newer.map_or(Ok(()), |id| Err(CheckpointError::Fenced(id.to_string())))
    }

    /// Shards first, the manifest last, and only if nothing moved meanwhile.
    async fn write(
        &self,
        id: CheckpointId,
        snapshot: &Snapshot,
        progress: &Progress,
    ) -> Result<Manifest, CheckpointError> {
        let mut files = Vec::with_capacity(snapshot.files.len());
        for (index, found) in snapshot.files.iter().enumerate() {
            files.push(self.upload(id, index, found).await?);
        }
        if self.look().await? != *snapshot {
            return Err(CheckpointError::Unstable);
        }
        let manifest = Manifest::new(id, progress, files)?;
        self.check_fence().await?;
        self.store.finish(&manifest).await?;
        Ok(manifest)
    }

    async fn upload(
        &self,
        id: CheckpointId,
        index: usize,
        found: &Found,
    ) -> Result<FileEntry, CheckpointError> {
        let mut source = Source::open(self.folder.join(&found.path)).await?;
        let target = shard_path(id, index);
        let first = source.piece().await?;
        if first.len() < PIECE {
            self.store.objects().put(&target, PutPayload::from(first)).await?;
        } else {
            let mut upload = self.store.objects().put_multipart(&target).await?;
            if let Err(error) = send(upload.as_mut(), first, &mut source).await {
                // Cleans up; the error that matters is the one at hand.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        if source.read != found.size {
            return Err(CheckpointError::Unstable);
        }
        let sha256 = hex(&source.hash.finalize());
        Ok(FileEntry { path: found.path.clone(), size: found.size, sha256 })
    }

    /// Keeps the newest whole ones, the one just written among them, and what
    /// the scheduler may ask for. What is older, or older and not whole, goes.
    /// Newer attempts are not touched.
    async fn prune(&self, newest: CheckpointId) -> Result<(), CheckpointError> {
        let mut kept = 1;
        let older = self.store.list().await?.into_iter().rev().filter(|id| *id < newest);
        for id in older {
            let whole = kept < self.keep
                && match self.store.manifest(id).await {
                    Ok(Some(manifest)) => self.store.is_whole(&manifest).await,
                    // The store may only be slow to answer; nothing is removed on a guess.
                    Err(CheckpointError::Store(error)) => return Err(error.into()),
                    Ok(None) | Err(_) => false,
                };
            if whole {
                kept += 1;
            } else if self.known.release(id, self.attempt) {
                self.store.remove(id).await?;
            }
        }
        Ok(())
    }
}

async fn send(
    upload: &mut dyn MultipartUpload,
    first: Vec<u8>,
    source: &mut Source,
) -> Result<(), CheckpointError> {
    let mut piece = first;
    while !piece.is_empty() {
        upload.put_part(PutPayload::from(piece)).await?;
        piece = source.piece().await?;
    }
    upload.complete().await?;
    Ok(())
}

/// A file that is read and hashed piece by piece, beside the loop.
struct Source {
    file: Option<File>,
    path: PathBuf,
    hash: Sha256,
    read: u64,
}

impl Source {
    async fn open(path: PathBuf) -> Result<Self, CheckpointError> {
        blocking(move || {
            let file = open_plain(&path)?;
            Ok(Self { file: Some(file), path, hash: Sha256::new(), read: 0 })
        })
        .await
    }

    /// The next piece; empty at the end.
    async fn piece(&mut self) -> Result<Vec<u8>, CheckpointError> {
        let Some(mut file) = self.file.take() else { return Ok(Vec::new()) };
        let path = self.path.clone();
        let mut hash = std::mem::take(&mut self.hash);
        let (file, hash, piece) = blocking(move || {
            let mut piece = Vec::new();
            file.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(at(&path))?;
            hash.update(&piece);
            Ok((file, hash, piece))
        })
        .await?;
        self.hash = hash;
        self.read += piece.len() as u64;
        self.file = (!piece.is_empty()).then_some(file);
        Ok(piece)
    }
}

/// Opens a plain file and nothing else, even if it was swapped for a link or a
/// pipe since it was looked at.
fn open_plain(path: &Path) -> Result<File, CheckpointError> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CheckpointError::Unstable);
        }
        file => file.map_err(at(path))?,
    };
    if file.metadata().map_err(at(path))?.is_file() {
        Ok(file)
    } else {
        Err(CheckpointError::Unstable)
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
