//! A snapshot of a folder that never stops changing, held for as long as it takes to send
//! it.
//!
//! Each file gets a second name in a folder of ours (a hard link): whatever is renamed into
//! its place, or removed, the file stays. Small files that are rewritten in place are
//! copied instead. All of it is examined before and after, within milliseconds: what did
//! not change in between is as it was at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::movers::Manner;
use super::scan::scan;
use super::{CheckpointError, at};
use crate::survey::{Entry, Facts, Kind, LeftOut, Stamp, Survey, Why};

/// How often a snapshot is attempted.
const TRIES: u32 = 12;

/// Between the two looks: a program that empties a file to rewrite it does so sooner.
const APART: Duration = Duration::from_millis(5);

/// The pause after a failed snapshot.
const REST: Duration = Duration::from_millis(17);

/// Files up to this size are copied during the snapshot.
pub(super) const SMALL: u64 = 1 << 20;

/// A folder at one moment.
#[derive(Debug)]
pub(super) struct Frozen {
    /// What it held, without what could not be captured.
    pub(super) survey: Survey,
    /// Where the bytes of each file are.
    pub(super) sources: BTreeMap<PathBuf, Held>,
}

/// Where the bytes of a file can be read.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) path: PathBuf,
    /// Nobody writes to a copy.
    pub(super) copied: bool,
}

/// Holds a snapshot of `folder` in `room`, a folder of ours on the same file system.
pub(super) fn freeze(
    folder: &Path,
    room: &Path,
    movers: &BTreeMap<PathBuf, Manner>,
) -> Result<Frozen, CheckpointError> {
    for left in (0..TRIES).rev() {
        if let Some(frozen) = moment(folder, room, movers, left == 0)? {
            return Ok(frozen);
        }
        std::thread::sleep(REST);
    }
    Err(CheckpointError::Unstable)
}

/// Empties the room.
pub(super) fn thaw(room: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(room) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(at(room)),
    }
}

/// `None` if it changed meanwhile; the `last` try leaves out what was rewritten.
fn moment(
    folder: &Path,
    room: &Path,
    movers: &BTreeMap<PathBuf, Manner>,
    last: bool,
) -> Result<Option<Frozen>, CheckpointError> {
    thaw(room)?;
    fs::create_dir(room).map_err(at(room))?;
    let mut survey = scan(folder)?;
    let mut sources = BTreeMap::new();
    for (number, (entry, file)) in survey.files().enumerate() {
        let held = room.join(number.to_string());
        let path = folder.join(&entry.path);
        let copied = movers.get(&entry.path) == Some(&Manner::Rewritten) && file.size <= SMALL;
        match hold(&path, &held, *file, copied) {
            Ok(source) => sources.insert(entry.path.clone(), source),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
    }
    std::thread::sleep(APART);
    let after = scan(folder)?;
    if survey.entries.len() != after.entries.len() {
        return Ok(None);
    }
    let mut rewritten = Vec::new();
    for (entry, later) in survey.entries.iter().zip(&after.entries) {
        let (Some(now), Some(then)) = (entry.file(), later.file()) else {
            if entry.is_still(later) {
                continue;
            } else {
                return Ok(None);
            };
        };
        let moves = movers.contains_key(&entry.path) && now.identity == then.identity;
        match sources.get(&entry.path) {
            _ if entry.is_still(later) => {}
            Some(Held { copied: true, .. }) if moves && last => rewritten.push(entry.path.clone()),
            // What is linked is looked at again once it is sent.
            Some(Held { copied: false, .. }) if moves => {}
            _ => return Ok(None),
        }
    }
    for path in rewritten {
        leave_out(&mut survey, &path);
        sources.remove(&path);
    }
    // A copy is a file of its own.
    for entry in &mut survey.entries {
        if let (Kind::File(file), Some(Held { path, copied: true })) =
            (&mut entry.kind, sources.get(&entry.path))
        {
            let metadata = path.symlink_metadata().map_err(at(path))?;
            file.identity = (metadata.dev(), metadata.ino());
            file.size = metadata.size();
        }
    }
    Ok(Some(Frozen { survey, sources }))
}

/// Where the bytes of `file` can be read from now on.
fn hold(path: &Path, held: &Path, file: Facts, copied: bool) -> io::Result<Held> {
    let at = |path: &Path| Held { path: path.to_owned(), copied };
    if copied {
        fs::copy(path, held)?;
        return Ok(at(held));
    }
    match fs::hard_link(path, held) {
        Ok(()) => {
            let metadata = held.symlink_metadata()?;
            if (metadata.dev(), metadata.ino()) == file.identity {
                Ok(at(held))
            } else {
                // Another has taken its place meanwhile.
                Err(io::ErrorKind::NotFound.into())
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // A file system without hard links, or a file of another user: it is read
        // where it lies, and has to stay there.
        Err(_) => Ok(at(path)),
    }
}

/// Moves a file to the list of what is left out.
pub(super) fn leave_out(survey: &mut Survey, path: &Path) {
    survey.entries.retain(|entry| entry.path != path);
    let left = LeftOut { path: path.to_owned(), why: Why::Rewritten };
    survey.left_out.push(left);
}

/// Whether a file has been written since the snapshot.
pub(super) fn was_written(
    entry: &Entry,
    file: Facts,
    source: &Held,
) -> Result<bool, CheckpointError> {
    if source.copied {
        return Ok(false);
    }
    let metadata = match source.path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CheckpointError::Unstable);
        }
        metadata => metadata.map_err(at(&source.path))?,
    };
    if (metadata.dev(), metadata.ino()) != file.identity {
        return Err(CheckpointError::Unstable);
    }
    let modified = Stamp::of(&metadata);
    Ok(metadata.size() != file.size || modified != entry.modified)
}
