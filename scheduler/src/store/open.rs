//! Opening the file: what it must be, who may use it, and its schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::StoreError;
use super::database::Database;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// How long a statement waits for a lock that somebody else holds: a backup or
/// a shell, as no second scheduler gets here.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Enough for the pages and calls of a few people beside the loop.
const READERS: u32 = 4;

/// What the first bytes of every SQLite database are.
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Opens the database, makes it where there is none, and brings its schema up
/// to date. The file that comes with it is locked for as long as it is held.
pub(super) async fn open(path: &Path) -> Result<(Database, File), StoreError> {
    let lock = lock(path)?;
    check_file(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true);
    let writer = pool(1, options.clone()).await?;
    check_owner(&writer, path).await?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    MIGRATIONS.run(&writer).await.map_err(|error| StoreError::of_migration(error, known))?;
    // The journal's mode is changed only now that the file is known to be ours.
    writer.close().await;
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let writer = pool(1, options.clone()).await?;
    let readers = pool(READERS, options.pragma("query_only", "ON")).await?;
    Ok((Database { writer, readers }, lock))
}

/// Connections that last as long as the pool.
async fn pool(size: u32, options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(size)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|e| StoreError::of("(open)", e))
}

/// Takes the lock beside the database, or says who is in the way. The system
/// gives it back when the process ends, however it ends.
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

/// Refuses a file that is not SQLite or cannot be written. Nothing is touched.
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
