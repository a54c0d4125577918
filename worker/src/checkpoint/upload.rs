//! Files become shards: each read once, piece by piece, hashed as the bytes go by, and
//! sent, several pieces at a time.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::direct::{self, Copying};
use super::manifest::{Hash, Hasher};
use super::store::Store;
use super::{CheckpointError, at, blocking};
use crate::meta::attributes;
use crate::survey::Facts;

/// Shards are read, hashed and sent in pieces of this size. S3 requires at least 5 MiB.
const PIECE: u64 = 8 << 20;

/// The most pieces of one shard: S3 takes 10,000. Larger shards have larger pieces.
const MOST_PIECES: u64 = 9_000;

/// Pieces that are in memory at once, over all shards: 64 MiB.
pub(super) const PIECES_AT_ONCE: usize = 8;

/// Shards that are sent at once: small ones wait for answers most of the time.
pub(super) const SHARDS_AT_ONCE: usize = 8;

/// What was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Of its bytes.
    pub(super) hash: Hash,
    /// Names of the extended attributes that a shard does not have.
    pub(super) attributes: Vec<String>,
}

/// Sends the first `file.size` bytes of the file at `path`. One that has been replaced by
/// now, or has fewer, is unstable. `room` is for the pieces of all shards.
pub(super) async fn upload(
    store: &Store,
    target: &ObjectPath,
    path: PathBuf,
    file: Facts,
    room: &Arc<Semaphore>,
) -> Result<Sent, CheckpointError> {
    if let Some(root) = store.direct().filter(|_| file.size >= PIECE) {
        return copy_into(root.join(target.as_ref()), path, file).await;
    }
    let size = PIECE.max(file.size.div_ceil(MOST_PIECES));
    let mut source = Source::open(path, file, Hasher::default()).await?;
    let place = place_in(room).await?;
    let first = source.piece(size).await?;
    if (first.len() as u64) < size {
        store.objects().put(target, PutPayload::from(first)).await?;
    } else {
        let mut upload = store.objects().put_multipart(target).await?;
        if let Err(error) = send(upload.as_mut(), (first, place), &mut source, size, room).await {
            // Cleans up; the error that matters is the one at hand.
            let _ = upload.abort().await;
            return Err(error);
        }
    }
    source.sent()
}

/// The same where the store is a folder.
async fn copy_into(to: PathBuf, path: PathBuf, facts: Facts) -> Result<Sent, CheckpointError> {
    let copying = Copying::default();
    let given_up = copying.given_up();
    blocking(move || {
        let mut file = open_plain(&path, facts)?;
        let attributes = attributes(&file);
        let mut hasher = Hasher::default();
        direct::store(&mut file, &path, &to, facts.size, &mut hasher, &given_up)?;
        Ok(Sent { hash: hasher.finish(), attributes })
    })
    .await
}

/// The first `file.size` bytes as they are now, hashed as `like` was.
pub(super) async fn hash_of(
    path: PathBuf,
    file: Facts,
    like: &Hash,
    room: &Arc<Semaphore>,
) -> Result<Sent, CheckpointError> {
    let mut source = Source::open(path, file, like.hasher()).await?;
    let _place = place_in(room).await?;
    while !source.piece(PIECE).await?.is_empty() {}
    source.sent()
}

async fn place_in(room: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, CheckpointError> {
    let place = Arc::clone(room).acquire_owned().await;
    place.map_err(|_| CheckpointError::Bad("there is no room for its pieces".to_owned()))
}

/// Parts are on their way while the next one is read.
async fn send(
    upload: &mut dyn MultipartUpload,
    first: (Vec<u8>, OwnedSemaphorePermit),
    source: &mut Source,
    size: u64,
    room: &Arc<Semaphore>,
) -> Result<(), CheckpointError> {
    let mut parts = JoinSet::new();
    let (mut piece, mut place) = first;
    while !piece.is_empty() {
        let part = upload.put_part(PutPayload::from(piece));
        parts.spawn(async move {
            let sent = part.await;
            drop(place);
            sent
        });
        while let Some(done) = parts.try_join_next() {
            arrived(done)?;
        }
        place = place_in(room).await?;
        piece = source.piece(size).await?;
    }
    while let Some(done) = parts.join_next().await {
        arrived(done)?;
    }
    upload.complete().await?;
    Ok(())
}

fn arrived(
    part: Result<object_store::Result<()>, tokio::task::JoinError>,
) -> Result<(), CheckpointError> {
    let cut_off = |error| CheckpointError::Bad(format!("sending was cut off: {error}"));
    Ok(part.map_err(cut_off)??)
}

/// A file that is read and hashed piece by piece, outside the loop.
struct Source {
    file: Option<File>,
    path: PathBuf,
    hasher: Hasher,
    left: u64,
    attributes: Vec<String>,
}

impl Source {
    async fn open(path: PathBuf, facts: Facts, hasher: Hasher) -> Result<Self, CheckpointError> {
        blocking(move || {
            let file = open_plain(&path, facts)?;
            let attributes = attributes(&file);
            Ok(Self { file: Some(file), path, hasher, left: facts.size, attributes })
        })
        .await
    }

    /// The next piece; empty at the end.
    async fn piece(&mut self, size: u64) -> Result<Vec<u8>, CheckpointError> {
        let Some(mut file) = self.file.take() else { return Ok(Vec::new()) };
        let (path, wanted) = (self.path.clone(), self.left.min(size));
        let mut hasher = std::mem::take(&mut self.hasher);
        let (file, hasher, piece) = blocking(move || {
            let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
            file.by_ref().take(wanted).read_to_end(&mut piece).map_err(at(&path))?;
            hasher.update(&piece);
            Ok((file, hasher, piece))
        })
        .await?;
        self.hasher = hasher;
        self.left -= piece.len() as u64;
        self.file = (!piece.is_empty()).then_some(file);
        Ok(piece)
    }

    fn sent(self) -> Result<Sent, CheckpointError> {
        if self.left > 0 {
            return Err(CheckpointError::Unstable);
        }
        Ok(Sent { hash: self.hasher.finish(), attributes: self.attributes })
    }
}

/// Opens this plain file and nothing else, even if it was swapped for another, a
/// link or a pipe since it was looked at.
fn open_plain(path: &Path, facts: Facts) -> Result<File, CheckpointError> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CheckpointError::Unstable);
        }
        file => file.map_err(at(path))?,
    };
    let metadata = file.metadata().map_err(at(path))?;
    if metadata.is_file() && (metadata.dev(), metadata.ino()) == facts.identity {
        Ok(file)
    } else {
        Err(CheckpointError::Unstable)
    }
}
