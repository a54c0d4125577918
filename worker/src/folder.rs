//! The folder of one attempt and rank: its contents, and the durable marks that make a
//! second start harmless.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use spotwise_api::v1::ReportRequest;

/// Another worker may merely be checking whether the lock is held.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The folder of one attempt and rank.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Creates the folder, for its owner alone, and enters it.
    pub(crate) fn enter(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let folder = Self { root: root.canonicalize()? };
        for part in [folder.work(), folder.output()] {
            fs::create_dir_all(part)?;
        }
        Ok(folder)
    }

    /// One that an earlier worker has entered, if it exists.
    pub(crate) fn of_earlier(root: &Path) -> Option<Self> {
        let root = root.canonicalize().ok().filter(|root| root.is_dir())?;
        Some(Self { root })
    }

    /// The folder of another attempt, and the same rank, on this machine.
    pub(crate) fn beside(&self, attempt: &str, rank: u32) -> Option<Self> {
        Self::of_earlier(&self.root.parent()?.join(format!("{attempt}-{rank}")))
    }

    /// Its path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file that names the owner of the outputs here, until they are stored.
    pub(crate) fn outputs_note(&self) -> PathBuf {
        self.root.join("outputs.json")
    }

    /// The lock of the single worker of this folder, held while the file is open; `None` if
    /// there is another.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let path = self.root.join("worker.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The key of the workers of this folder, drawn by the first of them: 32 bytes in hex.
    pub(crate) fn key(&self) -> io::Result<String> {
        let path = self.root.join("key");
        match fs::read_to_string(&path) {
            Ok(key) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; 32];
                File::open("/dev/urandom")?.read_exact(&mut bytes)?;
                let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                write_whole(&path, key.as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }

    /// Records who works here: valid no longer than this process lives, and so not beyond a
    /// power failure.
    pub(crate) fn write_identity(&self, attempt: &str, rank: u32) -> io::Result<()> {
        let identity = serde_json::json!({
            "attempt": attempt,
            "rank": rank,
            "pid": std::process::id(),
        });
        write_whole(&self.root.join("worker.json"), identity.to_string().as_bytes())
    }

    /// Marks that the command is about to be started. Fails if that has been marked before.
    pub(crate) fn mark_started(&self) -> io::Result<()> {
        let path = self.root.join("started");
        OpenOptions::new().create_new(true).write(true).open(path)?;
        // Nothing is in it: that its name is there is all.
        sync_folder(&self.root)
    }

    /// Whether the command may have been started before.
    pub(crate) fn was_started(&self) -> bool {
        // An error is no proof of absence: refuse rather than start twice.
        self.root.join("started").try_exists().unwrap_or(true)
    }

    /// The final reports of an earlier worker, not yet known to be acknowledged.
    pub(crate) fn ending(&self) -> io::Result<Option<Vec<ReportRequest>>> {
        match fs::read(self.root.join("exit.json")) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the final reports until they are acknowledged. If there is no room for
    /// them, this worker can still send them; only a restarted one cannot. After a power
    /// failure no worker is restarted: they need not survive one.
    pub(crate) fn keep_ending(&self, reports: &[ReportRequest]) {
        let kept = serde_json::to_vec(reports)
            .map_err(io::Error::from)
            .and_then(|bytes| write_whole(&self.root.join("exit.json"), &bytes));
        if let Err(error) = kept {
            tracing::warn!(%error, "the final reports cannot be kept");
        }
    }

    /// The command's working folder, where the inputs are.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Where the command puts results; all of it is collected.
    pub(crate) fn output(&self) -> PathBuf {
        self.root.join("output")
    }

    /// Where the command writes checkpoints: the worker's own folder, or the
    /// one named by the job, inside its working folder.
    pub(crate) fn checkpoint(&self, named: &str) -> Option<PathBuf> {
        if named.is_empty() {
            return Some(self.root.join("checkpoint"));
        }
        inside(&self.work(), named)
    }

    /// Where a checkpoint is placed before it has been verified.
    pub(crate) fn restoring(&self) -> PathBuf {
        self.root.join("restoring")
    }

    /// Where a constantly changing checkpoint folder is held.
    pub(crate) fn saving(&self) -> PathBuf {
        self.root.join("saving")
    }

    /// The captured output.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("output.log")
    }

    /// Lines of progress by the command.
    pub(crate) fn progress(&self) -> PathBuf {
        self.root.join("progress.jsonl")
    }

    /// Appears when notice is given.
    pub(crate) fn interruption(&self) -> PathBuf {
        self.root.join("interruption.json")
    }
}

/// A path inside `base`: relative, without a way out. `None` for any other.
pub(crate) fn inside(base: &Path, relative: &str) -> Option<PathBuf> {
    let path = Path::new(relative);
    let plain =
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (plain && !relative.contains('\0')).then(|| base.join(path))
}

/// Writes a file completely or not at all, as far as other processes see.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let staged = PathBuf::from(name);
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    fs::rename(&staged, path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::enter(&dir.path().join("j1.1-0")).unwrap();
        let held = folder.lock().unwrap();
        assert!(held.is_some());
        assert!(folder.lock().unwrap().is_none());
        drop(held);
        assert!(folder.lock().unwrap().is_some());
    }

    #[test]
    fn a_command_is_marked_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::enter(dir.path()).unwrap();
        assert!(!folder.was_started());
        folder.mark_started().unwrap();
        assert!(folder.was_started());
        assert!(folder.mark_started().is_err());
    }

    #[test]
    fn there_is_no_way_out_of_a_folder() {
        let base = Path::new("base");
        assert_eq!(inside(base, "a/./b"), Some(PathBuf::from("base/a/./b")));
        for path in ["/etc", "../x", "a/../../x", "a\0b"] {
            assert_eq!(inside(base, path), None, "{path}");
        }
    }
}
