//! PostgreSQL: bounded pools, and limits on every wait. A server that does not answer
//! within them counts as unreachable, and the connection is closed.

use std::future::Future;
use std::io;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Postgres as Driver};

use super::super::StoreError;
use super::super::location::Server;
use super::statement::Argument;
use super::{Row, Statement, Value};

/// One writes rounds, one renews the lease alongside it, one is for people.
const WRITERS: u32 = 3;

/// Enough for the pages and calls of several people alongside the loop.
const READERS: u32 = 6;

/// How long a call waits for a connection, including opening it: callers are told to come
/// back rather than left waiting.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// The server aborts a writing statement after this long. A round is many statements, each
/// of at most 100 rows.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for reading: a start with 100,000 live jobs takes seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer than the server we wait: if the network drops everything, the end of a
/// statement is not reported either.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// How long a statement waits for a row that another connection has locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The server ends a transaction that receives nothing for this long: a leader that was
/// stopped or cut off within a round must not keep its row from the next.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that was idle for longer is tested before use: the server may have been
/// restarted.
const TRY_AFTER_IDLE: Duration = Duration::from_millis(500);

/// How long the start waits for a server, and for another scheduler that is
/// changing the schema.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One server's connections.
#[derive(Clone)]
pub(crate) struct Postgres {
    writers: PgPool,
    readers: PgPool,
}

impl Postgres {
    /// Opens the pools. No connection is made until it is used.
    pub(crate) fn open(options: &PgConnectOptions) -> Self {
        Self {
            writers: pool(WRITERS, with_limits(options, WRITE_TIMEOUT)),
            readers: pool(READERS, with_limits(options, READ_TIMEOUT)),
        }
    }

    /// A transaction that sees what others commit while it waits for their rows,
    /// whatever the server's default: a leader that waited sees its successor.
    pub(super) async fn write(&self) -> Result<Session, StoreError> {
        let mut session = Session::of(&self.writers, WRITE_TIMEOUT).await?;
        session.begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
        Ok(session)
    }

    pub(super) async fn snapshot(&self) -> Result<Session, StoreError> {
        let mut session = Session::of(&self.readers, READ_TIMEOUT).await?;
        session.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(session)
    }

    pub(super) async fn fetch(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let mut session = Session::of(&self.readers, READ_TIMEOUT).await?;
        let rows = session.fetch(statement).await?;
        session.give_back();
        Ok(rows)
    }

    /// Waits for pending work, but not for a server that is gone.
    pub(super) async fn close(&self) {
        for pool in [&self.readers, &self.writers] {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await;
        }
    }
}

/// The settings of every connection. `synchronous_commit = on` never weakens the operator's
/// setting, and what is acknowledged is on disk.
pub(crate) fn with_limits(options: &PgConnectOptions, statement: Duration) -> PgConnectOptions {
    let millis = |duration: Duration| duration.as_millis().to_string();
    options.clone().application_name("spotwise").options([
        ("statement_timeout", millis(statement)),
        ("lock_timeout", millis(LOCK_TIMEOUT)),
        ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION_TIMEOUT)),
        ("synchronous_commit", "on".to_owned()),
    ])
}

/// The one connection that changes the schema. It may take its time: an index over a long
/// history takes minutes to build.
pub(crate) async fn connect_to_migrate(
    options: &PgConnectOptions,
) -> Result<PgConnection, StoreError> {
    let options = with_limits(options, Duration::ZERO)
        .options([("lock_timeout", MIGRATION_LOCK_TIMEOUT.as_millis().to_string())]);
    let connecting = within(CONNECT_TIMEOUT, PgConnection::connect_with(&options));
    connecting.await.map_err(|e| StoreError::of("(open)", e))
}

/// Refuses a database that belongs to another program, or that could not store what it is
/// given.
pub(crate) async fn check(
    connection: &mut PgConnection,
    server: &Server,
) -> Result<(), StoreError> {
    let unsuitable =
        |why: &'static str| Err(StoreError::Unsuitable { location: server.to_string(), why });
    let row: (String, bool, i64, bool) = sqlx::query_as(
        "SELECT current_setting('server_encoding'), pg_is_in_recovery(),
             (SELECT count(*) FROM information_schema.tables
              WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'),
             to_regclass('_sqlx_migrations') IS NOT NULL",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| StoreError::of("(open)", e))?;
    let (encoding, standby, tables, migrated) = row;
    if encoding != "UTF8" {
        return unsuitable("its encoding is not UTF8: make a database with ENCODING 'UTF8'");
    }
    if standby {
        return unsuitable("it is a standby that only answers questions: name the primary");
    }
    if tables > 0 && !migrated {
        return unsuitable("it holds tables of another program: make a database of its own");
    }
    Ok(())
}

/// Closes the connection properly, if the server responds.
pub(crate) async fn disconnect(connection: PgConnection) {
    let _ = within(CLOSE_TIMEOUT, connection.close()).await;
}

fn pool(size: u32, options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_secs(600))
        .max_lifetime(Duration::from_secs(3_600))
        .test_before_acquire(false)
        .before_acquire(|connection, usage| {
            Box::pin(async move {
                if usage.idle_for > TRY_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// A connection in use. It returns to its pool only if everything went well; otherwise it
/// is closed, and the server undoes what was not committed. So an answer that was not
/// waited for can never reach the next user, and a `COMMIT` after a failure, which
/// PostgreSQL would accept, is never sent.
pub(crate) struct Session {
    connection: Option<PoolConnection<Driver>>,
    limit: Duration,
}

impl Session {
    async fn of(pool: &PgPool, statement: Duration) -> Result<Self, StoreError> {
        let connection = pool.acquire().await.map_err(|e| StoreError::of("(connect)", e))?;
        Ok(Self { connection: Some(connection), limit: statement + ANSWER_MARGIN })
    }

    async fn begin(&mut self, how: &'static str) -> Result<(), StoreError> {
        let limit = self.limit;
        let answer = within(limit, sqlx::raw_sql(how).execute(self.connection()?)).await;
        self.heard("(begin)", answer).map(drop)
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let (table, limit) = (statement.table(), self.limit);
        let answer = within(limit, query(statement)?.execute(self.connection()?)).await;
        self.heard(table, answer).map(|done| done.rows_affected())
    }

    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let (table, limit) = (statement.table(), self.limit);
        let answer = within(limit, query(statement)?.fetch_all(self.connection()?)).await;
        let rows = self.heard(table, answer)?;
        Ok(rows.into_iter().map(|row| Row::of_postgres(table, row)).collect())
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let limit = self.limit;
        let answer = within(limit, sqlx::raw_sql("COMMIT").execute(self.connection()?)).await;
        self.heard("(commit)", answer)?;
        self.give_back();
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        let failed = || StoreError::Invalid { what: "in a transaction that has failed".into() };
        self.connection.as_deref_mut().ok_or_else(failed)
    }

    /// Any failure is the end of the connection.
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

    fn give_back(mut self) {
        drop(self.connection.take());
    }

    /// Without the proper closing, which would wait for an answer.
    fn hang_up(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// Limits a wait for the server. When the time is up, the caller closes the connection: the
/// server then rolls it back, or has already done so.
async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
    }
}

fn query(
    statement: Statement,
) -> Result<sqlx::query::Query<'static, Driver, PgArguments>, StoreError> {
    let (sql, arguments) = statement.into_parts()?;
    let query = sqlx::query(AssertSqlSafe(sql));
    Ok(arguments.into_iter().fold(query, |query, argument| match argument {
        Argument::One(Value::Int(number)) => query.bind(number),
        Argument::One(Value::Text(text)) => query.bind(text.map(without_nul)),
        Argument::Ints(numbers) => query.bind(numbers),
        Argument::Texts(texts) => {
            query.bind(texts.into_iter().map(|text| text.map(without_nul)).collect::<Vec<_>>())
        }
    }))
}

/// PostgreSQL does not allow the NUL character in texts. Documents are JSON, where it is
/// escaped; elsewhere the replacement character stands for it.
fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
