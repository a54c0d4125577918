//! Starts an attempt with the outputs of earlier ones: a program that appends to a file, or
//! checks which parts are done, finds what it would have found without interruption.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::copy::copy_file;
use super::{Plan, if_there};
use crate::folder::Folder;
use crate::meta::{set_mode, set_modified};
use crate::survey::{Entry, Kind, Survey, survey};

/// What an attempt started with: paths in the store, relative to its base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brought(BTreeSet<PathBuf>);

impl Brought {
    /// In order: a folder comes before what is in it.
    pub(super) fn paths(&self) -> impl DoubleEndedIterator<Item = &PathBuf> {
        self.0.iter()
    }

    /// How many files, folders and links.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Copies what the job has left so far to where this attempt's command finds it.
///
/// # Errors
/// It could not all be copied. Nothing is lost then: what is in the store stays, and
/// what this attempt leaves is added.
pub(crate) fn bring(plan: &Plan, folder: &Folder, cut: &CancellationToken) -> io::Result<Brought> {
    let base = plan.base();
    let found = survey(&base).map_err(|(_, error)| error)?;
    let (work, output) = (folder.work(), folder.output());
    let home = |entry: &Entry| plan.home(&entry.path, &work, &output);
    let brought = put(&base, &found, &home, cut)?;
    // From within: what is written into a folder changes its time.
    for entry in found.entries.iter().rev().filter(|entry| entry.kind == Kind::Folder) {
        if let Some(target) = home(entry) {
            set_mode(&target, entry.mode | 0o700)?;
            set_modified(&target, entry.modified)?;
        }
    }
    Ok(brought)
}

fn put(
    base: &Path,
    found: &Survey,
    home: &impl Fn(&Entry) -> Option<PathBuf>,
    cut: &CancellationToken,
) -> io::Result<Brought> {
    let mut brought = BTreeSet::new();
    for entry in &found.entries {
        if cut.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let Some(target) = home(entry) else { continue };
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        match &entry.kind {
            Kind::Folder => fs::create_dir_all(&target)?,
            Kind::Link(to) => {
                if_there(fs::remove_file(&target))?;
                symlink(to, &target)?;
                set_modified(&target, entry.modified)?;
            }
            Kind::File(facts) => {
                // A name that is never collected, should this be cut off.
                let staged = target.with_file_name(".tmp-spotwise");
                copy_file(&base.join(&entry.path), &staged, entry, facts, cut)?;
                fs::rename(&staged, &target)?;
            }
        }
        brought.insert(entry.path.clone());
    }
    Ok(Brought(brought))
}
