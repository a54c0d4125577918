//! Files become shards: read piece by piece, hashed, and sent.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};

use super::store::Store;
use super::{CheckpointError, at, blocking, hex};
use crate::meta::attributes;
use crate::survey::Facts;

/// Shards are read, hashed and sent in pieces of this size: all the memory that a
/// checkpoint takes. S3 requires at least 5 MiB.
const PIECE: u64 = 8 * 1024 * 1024;

/// What was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// In lower-case hexadecimal digits.
    pub(super) sha256: String,
    /// Names of the extended attributes that a shard does not have.
    pub(super) attributes: Vec<String>,
}

/// Sends the first `file.size` bytes of the file at `path`. One that has been replaced by
/// now, or has fewer, is unstable.
pub(super) async fn upload(
    store: &Store,
    target: &ObjectPath,
    path: PathBuf,
    file: Facts,
) -> Result<Sent, CheckpointError> {
    let mut source = Source::open(path, file).await?;
    let first = source.piece().await?;
    if (first.len() as u64) < PIECE {
        store.objects().put(target, PutPayload::from(first)).await?;
    } else {
        let mut upload = store.objects().put_multipart(target).await?;
        if let Err(error) = send(upload.as_mut(), first, &mut source).await {
            // Cleans up; the error that matters is the one at hand.
            let _ = upload.abort().await;
            return Err(error);
        }
    }
    source.sent()
}

/// The hash of the first `file.size` bytes, as they are now.
pub(super) async fn hash_of(path: PathBuf, file: Facts) -> Result<String, CheckpointError> {
    let mut source = Source::open(path, file).await?;
    while !source.piece().await?.is_empty() {}
    Ok(source.sent()?.sha256)
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

/// A file that is read and hashed piece by piece, outside the loop.
struct Source {
    file: Option<File>,
    path: PathBuf,
    hash: Sha256,
    left: u64,
    attributes: Vec<String>,
}

impl Source {
    async fn open(path: PathBuf, facts: Facts) -> Result<Self, CheckpointError> {
        blocking(move || {
            let file = open_plain(&path, facts)?;
            let attributes = attributes(&file);
            Ok(Self { file: Some(file), path, hash: Sha256::new(), left: facts.size, attributes })
        })
        .await
    }

    /// The next piece; empty at the end.
    async fn piece(&mut self) -> Result<Vec<u8>, CheckpointError> {
        let Some(mut file) = self.file.take() else { return Ok(Vec::new()) };
        let (path, wanted) = (self.path.clone(), self.left.min(PIECE));
        let mut hash = std::mem::take(&mut self.hash);
        let (file, hash, piece) = blocking(move || {
            let mut piece = Vec::new();
            file.by_ref().take(wanted).read_to_end(&mut piece).map_err(at(&path))?;
            hash.update(&piece);
            Ok((file, hash, piece))
        })
        .await?;
        self.hash = hash;
        self.left -= piece.len() as u64;
        self.file = (!piece.is_empty()).then_some(file);
        Ok(piece)
    }

    fn sent(self) -> Result<Sent, CheckpointError> {
        if self.left > 0 {
            return Err(CheckpointError::Unstable);
        }
        Ok(Sent { sha256: hex(&self.hash.finalize()), attributes: self.attributes })
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
