//! Checkpoints in an object store, one folder each:
//!
//! ```text
//! <store>/j17.2-000003/00000.shard ...   the bytes of each file
//! <store>/j17.2-000003/manifest.json     last: without it there is no checkpoint
//! ```
//!
//! A shard that has not changed since an earlier checkpoint of the job is not stored again: the
//! manifest names the one that is there. It stays as long as a manifest names it.
//!
//! Shards are numbered, so that no name the command chooses can be illegal in a store,
//! escape from it, or collide with the manifest, which holds the names and other file
//! metadata: folders, links, modes, times. Node 0 writes; every node of a gang restores
//! what it wrote.
//!
//! A stable folder is committed as it is. One that never stops changing is committed as it
//! was at one moment ([`freeze`]), leaving aside the files that are written all the time
//! ([`movers`]); decision 23 says why, and what is kept.

mod acked;
mod commit;
mod direct;
mod freeze;
mod manifest;
mod movers;
mod place;
mod prune;
mod restore;
mod scan;
mod store;
mod upload;

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::str::FromStr;

use spotwise_api::v1::CheckpointName;
use spotwise_model::AttemptId;
use spotwise_storage::is_refusal;

pub(crate) use acked::AckedCheckpoints;
pub(crate) use commit::Committer;
pub(crate) use restore::{Restored, Wanted, restore};
pub(crate) use store::Store;

/// The most files, folders and links of one checkpoint.
pub(crate) const MOST_ENTRIES: usize = 100_000;

/// The most bytes of one checkpoint: 256 GiB.
pub(crate) const MOST_BYTES: u64 = 256 << 30;

/// One checkpoint of a job: newer ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointId {
    /// The attempt that wrote it.
    pub(crate) attempt: AttemptId,
    /// From 1.
    pub(crate) sequence: u32,
}

impl Ord for CheckpointId {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.attempt, self.sequence).cmp(&(other.attempt, other.sequence))
    }
}

impl PartialOrd for CheckpointId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06}", self.attempt, self.sequence)
    }
}

impl FromStr for CheckpointId {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let invalid = || CheckpointError::Name(text.chars().take(80).collect());
        let (attempt, sequence) = text.rsplit_once('-').ok_or_else(invalid)?;
        let attempt = attempt.parse().map_err(|_| invalid())?;
        let sequence = sequence.parse().map_err(|_| invalid())?;
        let id = Self { attempt, sequence };
        // One spelling each.
        if sequence > 0 && id.to_string() == text { Ok(id) } else { Err(invalid()) }
    }
}

impl CheckpointId {
    /// Reads what the scheduler assigned; `None` for an empty name.
    pub(crate) fn assigned(name: Option<&CheckpointName>) -> Result<Option<Self>, CheckpointError> {
        let Some(name) = name.filter(|name| !name.attempt.is_empty()) else { return Ok(None) };
        format!("{}-{:06}", name.attempt, name.sequence).parse().map(Some)
    }

    /// The scheduler's name for it.
    pub(crate) fn name(self) -> CheckpointName {
        CheckpointName { attempt: self.attempt.to_string(), sequence: self.sequence }
    }
}

/// Why a checkpoint was not written or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// The store's address is none that can be opened.
    #[error("checkpoints in `{0}`: {1}")]
    Unsupported(String, String),
    /// Not the name of a checkpoint.
    #[error("`{0}` is not the name of a checkpoint")]
    Name(String),
    /// It does not hold what it should; an older one must do.
    #[error("not a good checkpoint: {0}")]
    Bad(String),
    /// Complete, but written by a later version: this one would lose what it holds.
    #[error(
        "checkpoint {id} is of format {format}; this worker reads 1 to {newest}: start a newer one"
    )]
    TooNew {
        /// Which.
        id: CheckpointId,
        /// Its format.
        format: u32,
        /// The newest that this version reads.
        newest: u32,
    },
    /// The command wrote while we read.
    #[error("the files changed while they were read")]
    Unstable,
    /// A shard of an earlier checkpoint, which this one names, is not there any more.
    #[error("a shard of an earlier checkpoint is gone")]
    ShardGone,
    /// A newer attempt writes checkpoints now.
    #[error("a newer attempt exists: {0}")]
    Fenced(String),
    /// More than a checkpoint may hold, or a name that none may have.
    #[error("cannot be kept: {0}")]
    Refused(String),
    /// This machine's files.
    #[error("{path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error("the store")]
    Store(#[from] object_store::Error),
}

impl CheckpointError {
    /// Whether the store is elsewhere and does not answer.
    pub(crate) fn is_away(&self, store: &Store) -> bool {
        matches!(self, Self::Store(error) if store.is_remote() && !is_refusal(error))
    }

    /// The whole error chain on one line, for the owner's log.
    pub(crate) fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names the file that an operation failed on.
fn at(path: &std::path::Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.display().to_string();
    move |source| CheckpointError::File { path, source }
}

/// File work outside the loop that renews the lease.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CheckpointError> + Send + 'static,
) -> Result<T, CheckpointError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(CheckpointError::Bad(format!("reading was cut off: {error}"))))
}

#[cfg(test)]
mod tests;
