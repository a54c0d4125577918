//! The connections, behind one type. All that knows which database it is, is in
//! this file and in `open`; the tables' files speak SQL that SQLite and
//! PostgreSQL share, through [`Statement`], [`Transaction`] and [`Row`].

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite};

use super::StoreError;

/// One connection that writes, and a few that read beside it.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
}

impl Database {
    /// A transaction that writes. It holds the write lock from the start: one
    /// that began by reading could not wait for the lock later.
    pub(super) async fn write(&self) -> Result<Transaction, StoreError> {
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        begun.map(|inner| Transaction { inner }).map_err(|e| StoreError::of("(begin)", e))
    }

    /// A transaction that sees one moment and writes nothing.
    pub(super) async fn snapshot(&self) -> Result<Transaction, StoreError> {
        let begun = self.readers.begin().await;
        begun.map(|inner| Transaction { inner }).map_err(|e| StoreError::of("(begin)", e))
    }

    /// The rows of one query.
    pub(super) async fn fetch(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let table = statement.table;
        let rows = statement.prepare()?.fetch_all(&self.readers).await;
        named(table, rows)
    }

    /// The first row of one query.
    pub(super) async fn fetch_first(
        &self,
        statement: Statement,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(statement).await?.into_iter().next())
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// All or nothing. Undone when it is dropped before its commit.
pub(super) struct Transaction {
    inner: sqlx::Transaction<'static, Sqlite>,
}

impl Transaction {
    /// Runs a statement; answers how many rows it touched.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let table = statement.table;
        let done = statement.prepare()?.execute(&mut *self.inner).await;
        done.map(|done| done.rows_affected()).map_err(|e| StoreError::of(table, e))
    }

    /// The rows of one query.
    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let table = statement.table;
        let rows = statement.prepare()?.fetch_all(&mut *self.inner).await;
        named(table, rows)
    }

    /// Makes it durable. An error leaves open whether it is.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await.map_err(|e| StoreError::of("(commit)", e))
    }
}

fn named(
    table: &'static str,
    rows: Result<Vec<SqliteRow>, sqlx::Error>,
) -> Result<Vec<Row>, StoreError> {
    let rows = rows.map_err(|e| StoreError::of(table, e))?;
    Ok(rows.into_iter().map(|inner| Row { table, inner }).collect())
}

/// An argument. PostgreSQL wants a type for its nulls too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u64> for Value {
    /// Numbers are given out one by one from 1 and stay far below the end of
    /// `i64`; a limit beyond it means "no limit".
    fn from(number: u64) -> Self {
        Self::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(Some(i64::from(number)))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Int(Some(i64::from(truth)))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<jiff::Timestamp> for Value {
    fn from(time: jiff::Timestamp) -> Self {
        Self::Int(Some(time.as_microsecond()))
    }
}

/// SQL with its arguments. Text comes from this program only: what a user wrote
/// can be nothing but an argument.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    table: &'static str,
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    /// A statement; the table's name is for errors.
    pub(super) fn new(table: &'static str, sql: &'static str) -> Self {
        Self { table, sql: sql.to_owned(), values: Vec::new() }
    }

    /// Gives the next of the arguments that the text names.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds to the text.
    pub(super) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds an argument to the text.
    pub(super) fn push_value(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
        self
    }

    /// Adds `(a, b, c)` to the text, each an argument.
    pub(super) fn push_list<V: Into<Value>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        let mut separator = "(";
        for value in values {
            self.push(separator).push_value(value);
            separator = ", ";
        }
        self.push(if separator == "(" { "(NULL)" } else { ")" })
    }

    /// Checks the number of arguments, which SQLite would not (a missing one is
    /// NULL there), and hands them over.
    fn prepare(
        self,
    ) -> Result<sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>, StoreError>
    {
        let (named, given) = (arguments_named(&self.sql), self.values.len());
        if named != given {
            return Err(StoreError::Arguments { table: self.table, named, given });
        }
        let query = sqlx::query(AssertSqlSafe(self.sql));
        Ok(self.values.into_iter().fold(query, |query, value| match value {
            Value::Int(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        }))
    }
}

/// The highest `$n` of a text. No text of ours has `$` in a literal.
fn arguments_named(sql: &str) -> usize {
    let number = |rest: &str| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    sql.split('$').skip(1).map(number).max().unwrap_or(0)
}

/// Rows per statement: a text for each of these sizes is prepared once and used
/// again. 100 rows of the widest table are 1,300 arguments, and SQLite takes
/// 32,766.
const BATCHES: [usize; 3] = [100, 10, 1];

/// How rows of a table are added.
pub(super) struct Insert {
    pub(super) table: &'static str,
    pub(super) columns: &'static [&'static str],
    /// `ON CONFLICT ...`; empty where a row that exists already is an error.
    pub(super) on_conflict: &'static str,
}

impl Insert {
    /// Adds the rows, many at a time. No two of them may have the same key.
    pub(super) async fn run(
        &self,
        transaction: &mut Transaction,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), StoreError> {
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let size = BATCHES.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
            let mut statement = Statement::new(self.table, "INSERT INTO ");
            statement.push(self.table).push(" (");
            for (at, column) in self.columns.iter().enumerate() {
                statement.push(if at == 0 { "" } else { ", " }).push(column);
            }
            statement.push(") VALUES ");
            for (at, row) in rows.by_ref().take(size).enumerate() {
                statement.push(if at == 0 { "" } else { ", " }).push_list(row);
            }
            statement.push(" ").push(self.on_conflict);
            transaction.execute(statement).await?;
        }
        Ok(())
    }
}

/// A row, which names its table when it cannot be read.
pub(super) struct Row {
    table: &'static str,
    inner: SqliteRow,
}

impl Row {
    /// The table it comes from.
    pub(super) const fn table(&self) -> &'static str {
        self.table
    }

    /// A number.
    pub(super) fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        self.inner.try_get(column).map_err(|e| self.bad(column, e))
    }

    /// A number that cannot be negative.
    pub(super) fn unsigned(&self, column: &'static str) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?).map_err(|e| self.bad(column, e))
    }

    /// A number that cannot be negative, or none.
    pub(super) fn optional(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        let number: Option<i64> = self.inner.try_get(column).map_err(|e| self.bad(column, e))?;
        number.map(u64::try_from).transpose().map_err(|e| self.bad(column, e))
    }

    /// A text.
    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.inner.try_get(column).map_err(|e| self.bad(column, e))
    }

    /// A time.
    pub(super) fn time(&self, column: &'static str) -> Result<jiff::Timestamp, StoreError> {
        jiff::Timestamp::from_microsecond(self.int(column)?).map_err(|e| self.bad(column, e))
    }

    /// The error of a column, with the row's key where it can be read.
    pub(super) fn bad(
        &self,
        column: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        let key = ["id", "number", "key"].into_iter().find_map(|name| {
            let number = self.inner.try_get::<i64, _>(name).map(|n| n.to_string());
            number.or_else(|_| self.inner.try_get::<String, _>(name)).ok()
        });
        let key = key.unwrap_or_default();
        StoreError::BadColumn { table: self.table, key, column, source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::arguments_named;

    #[test]
    fn arguments_are_counted_by_the_highest_number() {
        assert_eq!(arguments_named("SELECT 1"), 0);
        assert_eq!(arguments_named("a = $1 AND b = $12 AND c = $2"), 12);
        assert_eq!(arguments_named("$1,$2)"), 2);
    }
}
