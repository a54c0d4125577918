//! Large shards of a store that is a folder: from file to file through a buffer that stays
//! in the processor's cache, hashed on the way. What a store elsewhere needs, pieces in memory
//! of their own, would take longer than the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, fadvise};

use super::manifest::{Hasher, Shard};
use super::{CheckpointError, at};

/// Half of a core's cache on small machines.
const BUFFER: usize = 256 << 10;

/// This many zero bytes become a hole in a file that had holes.
const BLOCK: usize = 4096;

/// Ends the copy when it is dropped: nobody waits for it any more.
#[derive(Debug, Default)]
pub(super) struct Copying(Arc<AtomicBool>);

impl Copying {
    /// For the thread that copies.
    pub(super) fn given_up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The next `size` bytes of `from`, hashed; `Err(Interrupted)` if it was given up. Fewer
/// where there are no more.
fn copy(
    from: &mut File,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
    size: u64,
    hasher: &mut Hasher,
    given_up: &AtomicBool,
) -> io::Result<u64> {
    // Twice as much is read ahead; where nobody takes advice, it is read all the same.
    let _ = fadvise(&*from, 0, None, Advice::Sequential);
    let mut buffer = vec![0; BUFFER];
    let mut copied = 0;
    while copied < size {
        if given_up.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = usize::try_from(size - copied).unwrap_or(BUFFER).min(BUFFER);
        let part = buffer.get_mut(..most).unwrap_or_default();
        match from.read(part) {
            Ok(0) => break,
            Ok(count) => {
                let part = part.get(..count).unwrap_or_default();
                hasher.update(part);
                write(part)?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

/// Writes the first `size` bytes of `from` as `to`: under another name until it is whole and
/// on the disk.
pub(super) fn store(
    from: &mut File,
    from_path: &Path,
    to: &Path,
    size: u64,
    hasher: &mut Hasher,
    given_up: &AtomicBool,
) -> Result<(), CheckpointError> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    make(folder)?;
    // As the crate of the store names what is not finished, so that it is swept like it.
    let staged = PathBuf::from(format!("{}#1", to.display()));
    let mut file =
        OpenOptions::new().create_new(true).write(true).open(&staged).map_err(at(&staged))?;
    let written = copy(from, |part| file.write_all(part), size, hasher, given_up)
        .map_err(at(from_path))
        .and_then(|copied| if copied == size { Ok(()) } else { Err(CheckpointError::Unstable) })
        .and_then(|()| file.sync_all().map_err(at(&staged)))
        .and_then(|()| fs::rename(&staged, to).map_err(at(to)))
        .and_then(|()| sync(folder));
    if written.is_err() {
        // It takes space, and is swept with the rest at the latest.
        let _ = fs::remove_file(&staged);
    }
    written
}

/// A folder, whose name is on the disk.
fn make(folder: &Path) -> Result<(), CheckpointError> {
    match fs::create_dir(folder) {
        Ok(()) => sync(folder.parent().unwrap_or(Path::new("/"))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at(folder)(error)),
    }
}

fn sync(folder: &Path) -> Result<(), CheckpointError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// Writes a shard into `file`. Returns whether its bytes are those that were stored.
pub(super) fn fetch(
    from: &Path,
    file: &mut File,
    to: &Path,
    shard: &Shard,
    given_up: &AtomicBool,
) -> Result<bool, CheckpointError> {
    let bad = |error: io::Error| CheckpointError::Bad(format!("{}: {error}", from.display()));
    let mut hasher = shard.hash.hasher();
    let mut failed = None;
    let mut write = |part: &[u8]| {
        let done = if shard.sparse { write_around_zeros(file, part) } else { file.write_all(part) };
        done.map_err(|error| {
            let kind = error.kind();
            failed = Some(error);
            kind.into()
        })
    };
    let copied = File::open(from)
        .and_then(|mut stored| copy(&mut stored, &mut write, shard.size, &mut hasher, given_up));
    match (copied, failed) {
        // This machine's disk: an older checkpoint would not help.
        (_, Some(error)) => Err(at(to)(error)),
        (Err(error), None) => Err(bad(error)),
        (Ok(copied), None) => Ok(copied == shard.size && hasher.finish() == shard.hash),
    }
}

/// Into a file that already has its length: zeros exist without being written.
pub(super) fn write_around_zeros(file: &mut File, piece: &[u8]) -> io::Result<()> {
    for block in piece.chunks(BLOCK) {
        if block.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(i64::try_from(block.len()).map_err(io::Error::other)?))?;
        } else {
            file.write_all(block)?;
        }
    }
    Ok(())
}
