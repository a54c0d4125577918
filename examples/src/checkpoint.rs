//! Checkpoints as folders `step-000120`: written under a temporary name and
//! renamed, so that whatever is found under a final name is whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::contract::Contract;
use crate::folder;

/// Older ones are removed. One would do if nothing ever broke; the second is
/// there for a newest one that turns out to be unreadable.
pub const KEEP: usize = 2;

/// Saves the checkpoint of `step` unless it is there already.
///
/// # Errors
/// `write` fails, or the file system does.
pub fn save(dir: &Path, step: u64, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let target = dir.join(format!("step-{step:06}"));
    if !target.exists() {
        folder::write_whole(&target, write)?;
    }
    for old in list(dir)?.into_iter().skip(KEEP) {
        folder::remove(&old)?;
    }
    Ok(())
}

/// The whole checkpoints of a folder, newest first.
///
/// # Errors
/// The folder is there but cannot be read.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", dir.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok());
        if let Some(step) = step {
            found.push((step, entry.path()));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Loads the newest checkpoint that can be read: of the restored folder if the
/// worker gave one, else of the folder that is written to (a run by hand that is
/// started again). None where there is no checkpoint at all.
///
/// # Errors
/// There are checkpoints, but none can be used; the newest one's error.
pub fn resume<T>(contract: &Contract, load: impl Fn(&Path) -> Result<T>) -> Result<Option<T>> {
    let Some(dir) = contract.resume_from.as_ref().or(contract.checkpoint_dir.as_ref()) else {
        return Ok(None);
    };
    let mut first_error = None;
    for path in list(dir)? {
        match load(&path) {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(error) => {
                let error = error.context(format!("cannot resume from {}", path.display()));
                println!("{error:#}");
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(None), Err)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        list(dir).unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn the_last_two_are_kept_by_number() {
        let dir = tempfile::tempdir().unwrap();
        for step in [900, 1_000, 999_999, 1_000_000] {
            save(dir.path(), step, |_| Ok(())).unwrap();
        }
        assert_eq!(names(dir.path()), ["step-1000000", "step-999999"]);
    }

    #[test]
    fn a_write_that_fails_leaves_no_checkpoint_and_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let torn = |folder: &Path| {
            fs::write(folder.join("half"), "x")?;
            bail!("the machine is gone")
        };
        assert!(save(dir.path(), 5, torn).is_err());
        assert!(names(dir.path()).is_empty());
        save(dir.path(), 5, |folder| {
            assert!(!folder.join("half").exists(), "leftovers of the torn write");
            Ok(())
        })
        .unwrap();
        assert_eq!(names(dir.path()), ["step-000005"]);
    }

    #[test]
    fn an_unreadable_newest_falls_back_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        for step in [1, 2] {
            save(dir.path(), step, |folder| Ok(fs::write(folder.join("n"), step.to_string())?))
                .unwrap();
        }
        fs::remove_file(dir.path().join("step-000002/n")).unwrap();
        let contract = Contract { resume_from: Some(dir.path().to_owned()), ..Contract::default() };
        let load = |path: &Path| Ok(fs::read_to_string(path.join("n"))?);
        assert_eq!(resume(&contract, load).unwrap().as_deref(), Some("1"));

        fs::remove_file(dir.path().join("step-000001/n")).unwrap();
        let error = resume(&contract, load).unwrap_err();
        assert!(error.to_string().contains("step-000002"), "{error}");
    }

    #[test]
    fn no_checkpoint_is_a_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let contract =
            Contract { checkpoint_dir: Some(dir.path().join("not-yet")), ..Contract::default() };
        assert_eq!(resume(&contract, |_| Ok(())).unwrap(), None);
    }
}
