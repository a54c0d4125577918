//! One file to another place, completely or not at all, with its mode and times.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use tokio_util::sync::CancellationToken;

use crate::meta::{PERMISSIONS, set_mode, set_modified};
use crate::survey::{Entry, Facts, Stamp};

/// Bytes between two checks whether to continue.
const CHUNK: u64 = 32 << 20;

/// This many zero bytes become a hole in a file that had holes.
const BLOCK: usize = 64 * 1024;

/// Writes a copy of `from` to the new file `to`.
pub(super) fn copy_file(
    from: &Path,
    to: &Path,
    entry: &Entry,
    facts: &Facts,
    cut: &CancellationToken,
) -> io::Result<()> {
    // Swapped for a pipe since it was looked at, it would hold us up.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut source = OpenOptions::new().read(true).custom_flags(flags).open(from)?;
    if !source.metadata()?.is_file() {
        return Err(io::Error::other("it is no plain file any more"));
    }
    let mut target = File::create(to)?;
    loop {
        if cut.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let copied = if facts.sparse {
            copy_around_zeros(&mut source, &mut target)?
        } else {
            io::copy(&mut (&source).take(CHUNK), &mut target)?
        };
        if copied == 0 {
            break;
        }
    }
    drop(target);
    set_mode(to, entry.mode)?;
    set_modified(to, entry.modified)
}

/// The next megabytes; returns 0 at the end.
fn copy_around_zeros(source: &mut File, target: &mut File) -> io::Result<u64> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut copied = 0;
    while copied < CHUNK {
        block.clear();
        let count = (&*source).take(BLOCK as u64).read_to_end(&mut block)? as u64;
        if count == 0 {
            break;
        }
        copied += count;
        if block.iter().any(|byte| *byte != 0) {
            target.write_all(&block)?;
        } else {
            let at = target.seek(SeekFrom::Current(count.cast_signed()))?;
            target.set_len(at)?;
        }
    }
    Ok(copied)
}

/// Whether an existing file is already the same, by its size, mode and time.
pub(super) fn is_same(target: &Path, entry: &Entry, facts: &Facts) -> bool {
    let Ok(metadata) = target.symlink_metadata() else { return false };
    let modified = Stamp::of(&metadata);
    metadata.is_file()
        && metadata.size() == facts.size
        && metadata.mode() & PERMISSIONS == entry.mode & PERMISSIONS
        && modified == entry.modified
}

/// A folder at `path`, replacing whatever had that name before.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match fs::create_dir(path) {
        // Another node of the gang may have made it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
