//! Folders that are whole or not there at all.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Lets `write` fill a folder under a name beside `target` that starts with
/// `.tmp-` (workers skip such names), and then renames it to `target`, in place
/// of what may be there.
pub(crate) fn write_whole(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = target.file_name().context("a folder needs a name")?.to_string_lossy();
    let temporary = target.with_file_name(format!(".tmp-{name}"));
    // What a killed attempt may have left.
    remove(&temporary)?;
    fs::create_dir_all(&temporary).with_context(|| format!("creating {}", temporary.display()))?;
    write(&temporary)?;
    remove(target)?;
    fs::rename(&temporary, target).with_context(|| format!("renaming to {}", target.display()))
}

/// Removes a folder that may be missing.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("removing {}", folder.display())),
    }
}

/// Writes a JSON file, creating its folder.
pub(crate) fn write_json(file: &Path, value: &impl Serialize) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))
}
