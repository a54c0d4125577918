//! Who may write a job's outputs: the newest attempt that has begun.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Plan, if_there};

/// A process stopped in the middle of a rename holds the lock; a newer attempt
/// waits for it no longer than that.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Lets an attempt change a job's outputs, one name at a time.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    folder: PathBuf,
    attempt: u32,
    /// An older attempt's files may still be added where none exist.
    late: bool,
    staging: PathBuf,
}

/// Whether a name may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may be replaced.
    Ours,
    /// A newer attempt has begun: only what does not exist may be added.
    Late,
}

impl Gate {
    /// The gate of a plan's attempt.
    pub(crate) fn of(plan: &Plan) -> Self {
        let name = plan.store.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = plan.store.with_file_name(format!(".{name}.outputs"));
        let staging = folder.join(format!("{}-{}", plan.attempt, plan.rank));
        Self { folder, attempt: plan.attempt.number, late: false, staging }
    }

    /// For rescuing files: those of an older attempt may come late.
    pub(super) fn may_be_late(self) -> Self {
        Self { late: true, ..self }
    }

    /// Shuts out all earlier attempts. A first attempt has none before it.
    pub(crate) fn begin(&self) -> io::Result<()> {
        if self.attempt <= 1 {
            return Ok(());
        }
        let _lock = self.lock()?;
        if self.newest()? < self.attempt {
            let staged = self.folder.join(format!("attempt-{}.tmp", self.attempt));
            fs::write(&staged, self.attempt.to_string())?;
            fs::rename(&staged, self.folder.join("attempt"))?;
        }
        Ok(())
    }

    /// Where a file is assembled before it takes its name: on the same file system, and out
    /// of sight.
    pub(super) fn staging(&self) -> io::Result<&Path> {
        fs::create_dir_all(&self.staging)?;
        Ok(&self.staging)
    }

    /// Nothing is in progress any more.
    pub(super) fn finish(&self) -> io::Result<()> {
        if_there(fs::remove_dir_all(&self.staging)).map(drop)
    }

    /// Changes one name while no other process does.
    pub(super) fn pass<T>(&self, change: impl FnOnce(Turn) -> io::Result<T>) -> io::Result<T> {
        let _lock = self.lock()?;
        if self.newest()? <= self.attempt {
            change(Turn::Ours)
        } else if self.late {
            change(Turn::Late)
        } else {
            let words = "a newer attempt of the job has begun";
            Err(io::Error::new(io::ErrorKind::ResourceBusy, words))
        }
    }

    fn newest(&self) -> io::Result<u32> {
        let text = if_there(fs::read_to_string(self.folder.join("attempt")))?;
        Ok(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        tracing::warn!(folder = %self.folder.display(), "somebody holds the outputs' lock");
        Ok(file)
    }
}
