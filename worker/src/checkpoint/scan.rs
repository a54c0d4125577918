//! What lies in the checkpoint folder, as far as a checkpoint may hold it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::{CheckpointError, MOST_BYTES, MOST_FILES, at};

/// The command is still writing what begins so.
const UNFINISHED: &str = ".tmp-";

/// The deepest folder that is looked into.
const DEEPEST: usize = 32;

/// One file, as it was when looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) size: u64,
    modified: (i64, i64),
    inode: u64,
}

/// All files of the folder, in the order of their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) files: Vec<Found>,
    newest: Option<SystemTime>,
}

impl Snapshot {
    /// When the newest file was last written.
    pub(super) const fn newest(&self) -> Option<SystemTime> {
        self.newest
    }
}

/// Looks at every plain file. Links are not followed; links, pipes, sockets
/// and devices are left out, and so is what begins with `.tmp-`. A folder that
/// is not there is empty.
pub(super) fn scan(folder: &Path) -> Result<Snapshot, CheckpointError> {
    let mut snapshot = Snapshot::default();
    if folder.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        walk(folder, "", 0, &mut snapshot)?;
    }
    let total = snapshot.files.iter().map(|file| u128::from(file.size)).sum::<u128>();
    if total > u128::from(MOST_BYTES) {
        return Err(CheckpointError::Refused(format!("{total} bytes, more than {MOST_BYTES}")));
    }
    snapshot.files.sort_unstable();
    Ok(snapshot)
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    snapshot: &mut Snapshot,
) -> Result<(), CheckpointError> {
    if depth > DEEPEST {
        return Err(CheckpointError::Refused(format!("folders deeper than {DEEPEST}")));
    }
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(CheckpointError::Refused(format!(
                "the name {} is not UTF-8",
                name.display()
            )));
        };
        if name.starts_with(UNFINISHED) {
            continue;
        }
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let metadata = match entry.path().symlink_metadata() {
            // Removed between the two looks.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(at(&entry.path()))?,
        };
        if metadata.is_dir() {
            walk(&entry.path(), &path, depth + 1, snapshot)?;
        } else if metadata.is_file() {
            snapshot.newest = snapshot.newest.max(metadata.modified().ok());
            snapshot.files.push(Found {
                path,
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                inode: metadata.ino(),
            });
            if snapshot.files.len() > MOST_FILES {
                return Err(CheckpointError::Refused(format!("more than {MOST_FILES} files")));
            }
        }
    }
    Ok(())
}
