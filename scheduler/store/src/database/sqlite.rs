//! SQLite: one connection that writes, and a few that read alongside it.

use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Sqlite as Driver};

use super::super::StoreError;
use super::statement::Argument;
use super::{Row, Statement, Value};

/// How long a statement waits for a lock held by something else: a backup or a shell, as no
/// second scheduler gets this far.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call waits for a connection: slightly longer than its current user waits for
/// a lock.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);

/// Enough for the pages and calls of a few people alongside the loop.
const READERS: u32 = 4;

/// One file's connections.
#[derive(Clone)]
pub(crate) struct Sqlite {
    pub(crate) writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens a file known to be ours: the journal mode is changed.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = options(path).journal_mode(SqliteJournalMode::Wal);
        let writer = pool(1, options.clone()).await?;
        let readers = pool(READERS, options.pragma("query_only", "ON")).await?;
        Ok(Self { writer, readers })
    }

    /// Opens an existing file alongside its writer, and changes nothing.
    pub(crate) async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let options = options(path).create_if_missing(false).pragma("query_only", "ON");
        let readers = pool(READERS, options).await?;
        Ok(Self { writer: readers.clone(), readers })
    }

    /// It holds the write lock from the start: a transaction that began by reading could
    /// not wait for the lock later.
    pub(super) async fn write(&self) -> Result<Session, StoreError> {
        Session::begin(&self.writer, "BEGIN IMMEDIATE").await
    }

    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        Session::begin(&self.readers, "BEGIN").await
    }

    pub(super) async fn fetch(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let table = statement.table();
        let rows = query(statement)?.fetch_all(&self.readers).await;
        let rows = rows.map_err(|e| StoreError::of(table, e))?;
        Ok(rows.into_iter().map(|row| Row::of_sqlite(table, row)).collect())
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// The options of every connection to the file, except the journal mode.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
}

/// Connections that last as long as the pool.
pub(crate) async fn pool(
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

/// A transaction. Its connection returns to its pool only after a commit; otherwise it is
/// closed, which undoes everything. A full disk may end a transaction without the driver
/// noticing, and the next one would be refused.
pub(crate) struct Session {
    connection: Option<PoolConnection<Driver>>,
}

impl Session {
    async fn begin(pool: &SqlitePool, how: &'static str) -> Result<Self, StoreError> {
        let connection = pool.acquire().await.map_err(|e| StoreError::of("(connect)", e))?;
        let mut session = Self { connection: Some(connection) };
        let begun = sqlx::raw_sql(how).execute(session.connection()?).await;
        session.heard("(begin)", begun)?;
        Ok(session)
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let table = statement.table();
        let done = query(statement)?.execute(self.connection()?).await;
        self.heard(table, done).map(|done| done.rows_affected())
    }

    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let table = statement.table();
        let rows = query(statement)?.fetch_all(self.connection()?).await;
        let rows = self.heard(table, rows)?;
        Ok(rows.into_iter().map(|row| Row::of_sqlite(table, row)).collect())
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let done = sqlx::raw_sql("COMMIT").execute(self.connection()?).await;
        self.heard("(commit)", done)?;
        drop(self.connection.take());
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        let failed = || StoreError::Invalid { what: "in a transaction that has failed".into() };
        self.connection.as_deref_mut().ok_or_else(failed)
    }

    fn heard<T>(
        &mut self,
        table: &'static str,
        answer: Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        answer.map_err(|error| {
            self.hang_up();
            StoreError::of(table, error)
        })
    }

    fn hang_up(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hang_up();
    }
}

fn query(
    statement: Statement,
) -> Result<sqlx::query::Query<'static, Driver, SqliteArguments>, StoreError> {
    let (sql, arguments) = statement.into_parts()?;
    let query = sqlx::query(AssertSqlSafe(sql));
    arguments.into_iter().try_fold(query, |query, argument| match argument {
        Argument::One(Value::Int(number)) => Ok(query.bind(number)),
        Argument::One(Value::Text(text)) => Ok(query.bind(text)),
        Argument::Ints(_) | Argument::Texts(_) => {
            Err(StoreError::Invalid { what: "SQLite has no columns as arguments".to_owned() })
        }
    })
}
