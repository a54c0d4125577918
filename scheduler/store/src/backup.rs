//! A backup: one file that either database can write and read.
//!
//! Lines of JSON: a header, each table's rows, and a trailer that counts them and holds the
//! SHA-256 of every byte before it. Read within one snapshot, so that it is the state after
//! some round; written next to its final path and moved there once it is complete and on
//! disk.

mod read;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
pub use read::restore;
pub use write::backup;

/// The format that is written and read.
const FORMAT: u32 = 1;

/// Set by a restore: before it acts, the next leader updates the jobs with what they have
/// done since, as far as the data folder shows.
pub const RESTORED_AT: &str = "restored_at_us";

/// Set by a restore: when the backup was made.
pub const RESTORED_FROM: &str = "restored_from_us";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Rows, by table.
    pub rows: BTreeMap<String, u64>,
    /// The schema of the database.
    pub schema: i64,
    /// The last round in it.
    pub round: u64,
    /// When it was made.
    pub made: Timestamp,
}

/// Why a backup was not made or not restored. In that case nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file of that name exists.
    #[error("{} exists: name another file, or add --force", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a backup, or is incomplete.
    #[error("{} is not a whole backup: {why}; use another one", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where it is broken.
        why: String,
    },
    /// Written by a newer spotwise.
    #[error("{} is a backup of format {format} and schema {schema}: use the spotwise that made it", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// Its schema.
        schema: i64,
    },
    /// The database is not empty.
    #[error("{location} is not empty (table {table}): restore into a new database")]
    NotEmpty {
        /// Where.
        location: String,
        /// A table with rows.
        table: &'static str,
    },
    /// The database.
    #[error("the database failed")]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
struct Head {
    spotwise_backup: u32,
    schema: i64,
    made_us: i64,
    round: u64,
    columns: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct End {
    rows: BTreeMap<String, u64>,
    sha256: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
