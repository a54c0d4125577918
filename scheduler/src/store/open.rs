//! Opening a store: what it must be, who may use it, and its schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqlitePool;

use super::database::postgres::{self, Postgres};
use super::database::sqlite::{self, Sqlite};
use super::database::Database;
use super::location::Server;
use super::{Location, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// What the first bytes of every SQLite database are.
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Opens the database and brings its schema up to date. A file is made where
/// there is none, and the one that comes with it is locked for as long as it is
/// held.
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
    MIGRATIONS.run(&writer).await.map_err(|error| StoreError::of_migration(error, known()))?;
    // The journal's mode is changed only now that the file is known to be ours.
    writer.close().await;
    Ok((Sqlite::open(path).await?, lock))
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

/// The newest schema of this program.
fn known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
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
