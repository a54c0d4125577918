//! What can go wrong with the store, and what to do about it.

use std::error::Error;
use std::path::PathBuf;

use sqlx::migrate::MigrateError;

use super::Epoch;
use super::fault::Fault;

/// Why the store did not do what was asked. Nothing has been written, except where
/// [`StoreError::is_retryable`] says that a retry will tell.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file belongs to something else.
    #[error("{} is not a spotwise database: name another file, or move this one away", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
    /// It was written by a newer spotwise.
    #[error(
        "the database has schema {found}, and this spotwise knows schemas up to {known}: use the newer spotwise"
    )]
    NewerSchema {
        /// In the file.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// It was written by an older spotwise.
    #[error(
        "the database has schema {found}, and this spotwise needs schema {known}: run `spotwise db migrate`"
    )]
    OlderSchema {
        /// In the file; 0 if it is empty.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// A schema of the same number has different contents.
    #[error(
        "schema {version} of the database differs from the one in this spotwise: use the spotwise that made it"
    )]
    OtherSchema {
        /// Which.
        version: i64,
    },
    /// It cannot be written.
    #[error("{} cannot be written: check its permissions and those of its folder", path.display())]
    ReadOnly {
        /// Which.
        path: PathBuf,
    },
    /// Another scheduler is using it.
    #[error(
        "another scheduler uses {}: stop it, or choose another data folder", path.display()
    )]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// A database that cannot be used.
    #[error("cannot use {location}: {why}")]
    Unsuitable {
        /// Which, without its password.
        location: String,
        /// What is wrong, and the remedy.
        why: &'static str,
    },
    /// The file or its lock cannot be accessed.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another scheduler has taken over: this one must stop.
    #[error("epoch {epoch} does not lead any more: another scheduler has taken over")]
    NotLeader {
        /// The epoch of the one that asked.
        epoch: Epoch,
    },
    /// A round is older than what is committed, or is another leader's.
    #[error("round {round} comes after round {last} was committed")]
    OldRound {
        /// The one refused.
        round: u64,
        /// The last one.
        last: u64,
    },
    /// A row that may exist only once exists already.
    #[error("a row of table {table} exists already or breaks a rule of the schema")]
    Conflict {
        /// Where.
        table: &'static str,
        /// What the database reported.
        #[source]
        source: sqlx::Error,
    },
    /// A change that no phase may make.
    #[error("cannot write {what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// A document does not decode.
    #[error("table {table}, row {key}: the document does not decode")]
    BadDocument {
        /// Where.
        table: &'static str,
        /// Which row.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document of a format that this program does not know.
    #[error("table {table}, row {key}: format {format} is unknown")]
    UnknownFormat {
        /// Where.
        table: &'static str,
        /// Which row.
        key: String,
        /// The format.
        format: i64,
    },
    /// A column holds something that it must not.
    #[error("table {table}, row {key}: column {column} does not decode")]
    BadColumn {
        /// Where.
        table: &'static str,
        /// Which row; empty if its key cannot be read either.
        key: String,
        /// Which column.
        column: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A value could not be encoded as JSON.
    #[error("table {table}: a value does not become JSON")]
    Encode {
        /// Where.
        table: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A statement was given too few or too many arguments: a bug of ours, which SQLite
    /// would silently ignore.
    #[error("a statement on table {table} names {named} arguments and was given {given}")]
    Arguments {
        /// Where.
        table: &'static str,
        /// In its text.
        named: usize,
        /// By the caller.
        given: usize,
    },
    /// The database was locked for too long.
    #[error("the database is busy (table {table})")]
    Busy {
        /// Where.
        table: &'static str,
        /// What the database reported.
        #[source]
        source: sqlx::Error,
    },
    /// No space is left.
    #[error("no space is left for the database (table {table}): free some, nothing is lost")]
    DiskFull {
        /// Where.
        table: &'static str,
        /// What the database reported.
        #[source]
        source: sqlx::Error,
    },
    /// The file is damaged.
    #[error("the database is damaged (table {table}): stop, and restore a backup")]
    Corrupt {
        /// Where.
        table: &'static str,
        /// What the database reported.
        #[source]
        source: sqlx::Error,
    },
    /// It does not answer, or its answer was lost.
    #[error("the database does not answer (table {table})")]
    Unavailable {
        /// Where.
        table: &'static str,
        /// What happened.
        #[source]
        source: sqlx::Error,
    },
    /// Anything else.
    #[error("the database refused (table {table})")]
    Database {
        /// Where.
        table: &'static str,
        /// What the database reported.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Whether the same call may succeed later. For a commit this includes the lost answer:
    /// the round's number tells whether it was written. A key used in the meantime is found
    /// when it is looked up again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::DiskFull { .. }
                | Self::Unavailable { .. }
                | Self::Conflict { table: "submissions", .. }
        )
    }

    /// The error and its causes, on one line.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// Whether the same transaction may succeed at once: it conflicted with another one,
    /// and none of it has been written.
    pub(super) fn is_contention(&self) -> bool {
        matches!(self, Self::Busy { source, .. } if Fault::of(source) == Fault::Contention)
    }

    /// Classifies a driver's error.
    pub(super) fn of(table: &'static str, source: sqlx::Error) -> Self {
        match Fault::of(&source) {
            Fault::Conflict => Self::Conflict { table, source },
            Fault::Busy | Fault::Contention => Self::Busy { table, source },
            Fault::DiskFull => Self::DiskFull { table, source },
            Fault::Corrupt => Self::Corrupt { table, source },
            Fault::Unavailable => Self::Unavailable { table, source },
            Fault::Other => Self::Database { table, source },
        }
    }

    /// Classifies a migration error; `known` is the newest schema of this program.
    pub(super) fn of_migration(error: MigrateError, known: i64) -> Self {
        match error {
            MigrateError::VersionMissing(found) if found > known => {
                Self::NewerSchema { found, known }
            }
            MigrateError::VersionMissing(version)
            | MigrateError::VersionMismatch(version)
            | MigrateError::Dirty(version) => Self::OtherSchema { version },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::of("schema", source)
            }
            other => Self::of("schema", sqlx::Error::from(other)),
        }
    }
}
