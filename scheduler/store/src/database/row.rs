//! Rows of either database.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;

/// A row, which names its table if it cannot be read.
pub(crate) struct Row {
    table: &'static str,
    inner: Inner,
}

enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) const fn of_sqlite(table: &'static str, row: SqliteRow) -> Self {
        Self { table, inner: Inner::Sqlite(row) }
    }

    pub(super) const fn of_postgres(table: &'static str, row: PgRow) -> Self {
        Self { table, inner: Inner::Postgres(row) }
    }

    /// The table it comes from.
    pub(crate) const fn table(&self) -> &'static str {
        self.table
    }

    /// A number.
    pub(crate) fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        match &self.inner {
            Inner::Sqlite(row) => row.try_get(column),
            Inner::Postgres(row) => row.try_get(column),
        }
        .map_err(|e| self.bad(column, e))
    }

    /// A number, or null.
    pub(crate) fn optional_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        match &self.inner {
            Inner::Sqlite(row) => row.try_get(column),
            Inner::Postgres(row) => row.try_get(column),
        }
        .map_err(|e| self.bad(column, e))
    }

    /// A number that cannot be negative.
    pub(crate) fn unsigned(&self, column: &'static str) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?).map_err(|e| self.bad(column, e))
    }

    /// A number that cannot be negative, or null.
    pub(crate) fn optional(&self, column: &'static str) -> Result<Option<u64>, StoreError> {
        let number = self.optional_int(column)?;
        number.map(u64::try_from).transpose().map_err(|e| self.bad(column, e))
    }

    /// A text.
    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        match &self.inner {
            Inner::Sqlite(row) => row.try_get(column),
            Inner::Postgres(row) => row.try_get(column),
        }
        .map_err(|e| self.bad(column, e))
    }

    /// A text, or null.
    pub(crate) fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        match &self.inner {
            Inner::Sqlite(row) => row.try_get(column),
            Inner::Postgres(row) => row.try_get(column),
        }
        .map_err(|e| self.bad(column, e))
    }

    /// A time.
    pub(crate) fn time(&self, column: &'static str) -> Result<jiff::Timestamp, StoreError> {
        jiff::Timestamp::from_microsecond(self.int(column)?).map_err(|e| self.bad(column, e))
    }

    /// The error of a column, with the row's key if it can be read.
    pub(crate) fn bad(
        &self,
        column: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        let key = ["id", "number", "key"].into_iter().find_map(|name| self.shown(name));
        let key = key.unwrap_or_default();
        StoreError::BadColumn { table: self.table, key, column, source: source.into() }
    }

    fn shown(&self, column: &str) -> Option<String> {
        match &self.inner {
            Inner::Sqlite(row) => shown(row, column),
            Inner::Postgres(row) => shown(row, column),
        }
    }
}

/// A number or a text as text.
fn shown<'r, R>(row: &'r R, column: &'r str) -> Option<String>
where
    R: sqlx::Row,
    &'r str: sqlx::ColumnIndex<R>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let number = row.try_get::<i64, _>(column).map(|number| number.to_string());
    number.or_else(|_| row.try_get::<String, _>(column)).ok()
}
