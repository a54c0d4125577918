//! Opening a store: what it must be, who may use it, and its schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sqlx::Connection;
use sqlx::sqlite::SqlitePool;

use super::database::postgres::{self, Postgres};
use super::database::sqlite::{self, Sqlite};
use super::database::{Database, Kind, Statement};
use super::location::Server;
use super::migrations::MIGRATIONS;
use super::{Location, StoreError};

/// The first bytes of every SQLite database.
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Opens the database and brings its schema up to date. A missing file is created, and the
/// returned lock file is locked for as long as it is held.
pub(super) async fn open(location: &Location) -> Result<(Database, Option<File>), StoreError> {
    match location {
        Location::Sqlite(path) => {
            let (file, lock) = open_file(path).await?;
            Ok((Database::Sqlite(file), Some(lock)))
        }
        Location::Postgres(server) => Ok((Database::Postgres(open_server(server).await?), None)),
    }
}

async fn open_file(path: &Path) -> Result<(Sqlite, File), StoreError> {
    let lock = lock(path)?;
    check_file(path)?;
    let writer = sqlite::pool(1, sqlite::options(path)).await?;
    check_owner(&writer, path).await?;
    migrate_file(&writer).await?;
    // The journal's mode is changed only now that the file is known to be ours.
    writer.close().await;
    Ok((Sqlite::open(path).await?, lock))
}

/// All migrations in one transaction, which holds the write lock from the start: a commit
/// that outlives the process that began it (the lock file's lock ends with its holder, a
/// statement in progress ends later) is waited for, and then seen.
async fn migrate_file(writer: &SqlitePool) -> Result<(), StoreError> {
    let failed = |error| StoreError::of("schema", error);
    let mut connection = writer.acquire().await.map_err(failed)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let migrated = MIGRATIONS.run_direct(None, &mut *transaction, false).await;
    migrated.map_err(|error| StoreError::of_migration(error, known()))?;
    transaction.commit().await.map_err(failed)
}

async fn open_server(server: &Server) -> Result<Postgres, StoreError> {
    let mut connection = postgres::connect_to_migrate(server.options()).await?;
    postgres::check(&mut connection, server).await?;
    // Two schedulers that start together take turns here: the migrations hold an
    // advisory lock, which ends with this connection at the latest.
    let migrated = MIGRATIONS.run_direct(None, &mut connection, false).await;
    migrated.map_err(|error| StoreError::of_migration(error, known()))?;
    postgres::disconnect(connection).await;
    Ok(Postgres::open(server.options()))
}

/// Opens a database of exactly this program's schema without changing it; a scheduler may
/// be using it.
pub(super) async fn open_to_read(location: &Location) -> Result<Database, StoreError> {
    let database = match location {
        Location::Sqlite(path) => {
            if !path.exists() {
                let source = ErrorKind::NotFound.into();
                return Err(StoreError::Open { path: path.clone(), source });
            }
            check_file(path)?;
            Database::Sqlite(Sqlite::open_to_read(path).await?)
        }
        Location::Postgres(server) => Database::Postgres(Postgres::open(server.options())),
    };
    match schema(&database).await? {
        Some(found) if found == known() => Ok(database),
        Some(found) if found > known() => Err(StoreError::NewerSchema { found, known: known() }),
        found => Err(StoreError::OlderSchema { found: found.unwrap_or(0), known: known() }),
    }
}

/// The schemas before and after a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Before; 0 for an empty database.
    pub from: i64,
    /// After.
    pub to: i64,
}

/// Brings the schema up to date, or says what that would do.
pub async fn migrate(location: &Location, dry_run: bool) -> Result<Migrated, StoreError> {
    let before = match location {
        Location::Sqlite(path) if !path.exists() => 0,
        Location::Sqlite(path) => {
            check_file(path)?;
            version(Database::Sqlite(Sqlite::open_to_read(path).await?)).await?
        }
        Location::Postgres(server) => {
            version(Database::Postgres(Postgres::open(server.options()))).await?
        }
    };
    if before > known() {
        return Err(StoreError::NewerSchema { found: before, known: known() });
    }
    if !dry_run {
        let (database, _lock) = open(location).await?;
        database.close().await;
    }
    Ok(Migrated { from: before, to: known() })
}

async fn version(database: Database) -> Result<i64, StoreError> {
    let found = schema(&database).await?;
    database.close().await;
    Ok(found.unwrap_or(0))
}

/// The schema of a database; `None` before the first migration.
pub(super) async fn schema(database: &Database) -> Result<Option<i64>, StoreError> {
    let sql = match database.kind() {
        Kind::Sqlite => {
            "SELECT COUNT(*) AS number FROM sqlite_master WHERE name = '_sqlx_migrations'"
        }
        Kind::Postgres => {
            "SELECT COUNT(*) AS number FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')"
        }
    };
    let there = database.fetch_first(Statement::new("schema", sql)).await?;
    if there.map_or(Ok(0), |row| row.int("number"))? == 0 {
        return Ok(None);
    }
    let newest = "SELECT MAX(version) AS version FROM _sqlx_migrations";
    let row = database.fetch_first(Statement::new("schema", newest)).await?;
    row.map_or(Ok(None), |row| row.optional_int("version"))
}

/// The newest schema of this program.
pub(super) fn known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Takes the lock next to the database, or says who is in the way. The system releases it
/// when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|e| refused(&lock_path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StoreError::Open { path: lock_path, source }),
    }
}

/// Refuses a file that is not SQLite or cannot be written. Nothing is modified.
fn check_file(path: &Path) -> Result<(), StoreError> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(path, error)),
    };
    let metadata = file.metadata().map_err(|e| refused(path, e))?;
    // The superuser may write everything, and yet the operator said no.
    if metadata.permissions().readonly() {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    let mut start = Vec::new();
    file.by_ref()
        .take(HEADER.len() as u64)
        .read_to_end(&mut start)
        .map_err(|e| refused(path, e))?;
    if start.is_empty() || start == HEADER {
        return Ok(());
    }
    Err(StoreError::NotOurs { path: path.to_owned() })
}

fn refused(path: &Path, source: std::io::Error) -> StoreError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { path }
        }
        ErrorKind::IsADirectory => StoreError::NotOurs { path },
        _ => StoreError::Open { path, source },
    }
}

/// Refuses the SQLite database of another program.
async fn check_owner(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(pool)
            .await
            .map_err(|e| StoreError::of("(open)", e))?;
    let ours = tables.is_empty() || tables.iter().any(|table| table == "_sqlx_migrations");
    if ours { Ok(()) } else { Err(StoreError::NotOurs { path: path.to_owned() }) }
}
