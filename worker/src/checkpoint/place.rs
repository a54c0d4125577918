//! Turns verified files into what the command finds: with their folders, links, modes and
//! times.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::manifest::{Item, Manifest, What};
use super::{CheckpointError, at};
use crate::meta::{set_mode, set_modified};

/// Moves the contents of `staging` into `folder`. Existing names are replaced; an existing
/// folder is filled.
pub(super) fn place(
    manifest: &Manifest,
    staging: &Path,
    folder: &Path,
) -> Result<(), CheckpointError> {
    for item in manifest.items() {
        let target = folder.join(&item.path);
        if item.what == What::Folder {
            fs::create_dir_all(&target).map_err(at(&target))?;
            continue;
        }
        if let Some(parent) = target.parent() {
            // Formats before the third have no entries of folders.
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        put(item, &target, staging).map_err(at(&target))?;
    }
    for item in manifest.items() {
        if let What::Same(file) = &item.what {
            let target = folder.join(&item.path);
            fs::hard_link(folder.join(file), &target)
                // A file system without hard links keeps the bytes at least.
                .or_else(|_| fs::copy(folder.join(file), &target).map(drop))
                .map_err(at(&target))?;
        }
    }
    // Last and from within: whatever is written into a folder changes its time, and
    // some folders may not be written into.
    for item in manifest.items().iter().rev() {
        if item.what == What::Folder {
            let target: PathBuf = folder.join(&item.path);
            give(item, &target).map_err(at(&target))?;
        }
    }
    Ok(())
}

fn put(item: &Item, target: &Path, staging: &Path) -> io::Result<()> {
    match &item.what {
        What::Folder => {}
        What::File(_) => {
            let staged = staging.join(&item.path);
            give(item, &staged)?;
            fs::rename(&staged, target)?;
        }
        What::Same(_) => make_way(target)?,
        What::Link(to) => {
            make_way(target)?;
            symlink(to, target)?;
            give(item, target)?;
        }
    }
    Ok(())
}

fn make_way(target: &Path) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Mode and time, as far as they are known.
fn give(item: &Item, path: &Path) -> io::Result<()> {
    let Some(meta) = item.meta else { return Ok(()) };
    if !matches!(item.what, What::Link(_)) {
        set_mode(path, meta.mode)?;
    }
    set_modified(path, meta.modified)
}
