//! The folders of workers: whose they are, and whether anybody lives there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spotwise_model::AttemptId;

/// A worker: its attempt and its rank.
pub(super) type WorkerKey = (AttemptId, u32);

/// A worker takes the lock of its folder within so long of the folder being made.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Removes a folder, even if a job has removed write permission from folders in it.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(folder);
            fs::remove_dir_all(folder)
        }
        removed => removed,
    }
}

fn unlock(folder: &Path) {
    // What cannot be unlocked is told by the removal.
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unlock(&entry.path());
        }
    }
}

pub(super) fn folder(work: &Path, (attempt, rank): WorkerKey) -> PathBuf {
    work.join(format!("{attempt}-{rank}"))
}

/// Every folder named like a worker's.
pub(super) fn keys(work: &Path) -> Vec<WorkerKey> {
    let entries = fs::read_dir(work).into_iter().flatten().flatten();
    let key = |name: &str| {
        let (attempt, rank) = name.rsplit_once('-')?;
        let key = (attempt.parse().ok()?, rank.parse().ok()?);
        (format!("{}-{}", key.0, key.1) == name).then_some(key)
    };
    let mut keys: Vec<_> = entries.filter_map(|entry| key(entry.file_name().to_str()?)).collect();
    keys.sort_unstable();
    keys
}

/// Whether a worker is alive there. A shared lock, so that two checkers do not mistake each
/// other for a worker; a worker retries for a second.
pub(super) fn is_locked(folder: &Path) -> bool {
    match File::open(folder.join("worker.lock")) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => false,
            Err(fs::TryLockError::WouldBlock) => true,
            // No proof that nobody lives there.
            Err(fs::TryLockError::Error(_)) => true,
        },
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

pub(super) fn was_started(folder: &Path) -> bool {
    folder.join("started").try_exists().unwrap_or(true)
}

pub(super) fn pid_in(folder: &Path) -> Option<u32> {
    let identity = fs::read(folder.join("worker.json")).ok()?;
    let identity: serde_json::Value = serde_json::from_slice(&identity).ok()?;
    identity.get("pid")?.as_u64()?.try_into().ok()
}

/// Whether a folder was made a moment ago, and no command begun in it.
pub(super) fn is_new(folder: &Path) -> bool {
    let made = folder.metadata().and_then(|folder| folder.modified());
    let age = made.ok().and_then(|made| made.elapsed().ok());
    !was_started(folder) && age.is_some_and(|age| age < STARTS_WITHIN)
}
