//! SQLite: one connection that writes, and a few that read beside it.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteExecutor, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Sqlite as Driver};

use super::super::StoreError;
use super::{Row, Statement, Value};

/// How long a statement waits for a lock that somebody else holds: a backup or
/// a shell, as no second scheduler gets here.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call waits for a connection: a little more than the one that has
/// it waits for a lock.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);

/// Enough for the pages and calls of a few people beside the loop.
const READERS: u32 = 4;

/// One file's connections.
#[derive(Clone)]
pub(in crate::store) struct Sqlite {
    pub(in crate::store) writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens a file that is known to be ours: the journal's mode is changed.
    pub(in crate::store) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = options(path).journal_mode(SqliteJournalMode::Wal);
        let writer = pool(1, options.clone()).await?;
        let readers = pool(READERS, options.pragma("query_only", "ON")).await?;
        Ok(Self { writer, readers })
    }

    /// It holds the write lock from the start: one that began by reading could
    /// not wait for the lock later.
    pub(super) async fn write(&self) -> Result<sqlx::Transaction<'static, Driver>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|e| StoreError::of("(begin)", e))
    }

    pub(super) async fn snapshot(&self) -> Result<sqlx::Transaction<'static, Driver>, StoreError> {
        self.readers.begin().await.map_err(|e| StoreError::of("(begin)", e))
    }

    pub(super) async fn fetch(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        fetch(&self.readers, statement).await
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// How every connection to the file is made, but for the journal's mode.
pub(in crate::store) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
}

/// Connections that last as long as the pool.
pub(in crate::store) async fn pool(
    size: u32,
    options: SqliteConnectOptions,
) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|e| StoreError::of("(open)", e))
}

pub(super) async fn execute(
    connection: &mut sqlx::SqliteConnection,
    statement: Statement,
) -> Result<u64, StoreError> {
    let table = statement.table();
    let done = query(statement)?.execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(|e| StoreError::of(table, e))
}

pub(super) async fn fetch(
    executor: impl SqliteExecutor<'_>,
    statement: Statement,
) -> Result<Vec<Row>, StoreError> {
    let table = statement.table();
    let rows = query(statement)?.fetch_all(executor).await.map_err(|e| StoreError::of(table, e))?;
    Ok(rows.into_iter().map(|row| Row::of_sqlite(table, row)).collect())
}

pub(super) async fn commit(
    transaction: sqlx::Transaction<'static, Driver>,
) -> Result<(), StoreError> {
    transaction.commit().await.map_err(|e| StoreError::of("(commit)", e))
}

fn query(
    statement: Statement,
) -> Result<sqlx::query::Query<'static, Driver, SqliteArguments>, StoreError> {
    let (sql, values) = statement.into_parts()?;
    let query = sqlx::query(AssertSqlSafe(sql));
    Ok(values.into_iter().fold(query, |query, value| match value {
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    }))
}
