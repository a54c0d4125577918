//! Statements: one SQL text with `$n` for both databases, and its arguments.

use super::super::StoreError;
use super::{Kind, Transaction};

/// An argument. PostgreSQL needs a type for nulls too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
}

/// An argument of a statement: a value, or a whole column of many rows, which only
/// PostgreSQL accepts.
#[derive(Clone, Debug)]
pub(super) enum Argument {
    One(Value),
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u64> for Value {
    /// Numbers are assigned one by one from 1 and stay far below the maximum of `i64`; a
    /// limit beyond it means "no limit".
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

/// SQL with its arguments. Its text comes from this program only: user input can only be an
/// argument.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    table: &'static str,
    sql: String,
    arguments: Vec<Argument>,
}

impl Statement {
    /// A statement; the table's name is for errors.
    pub(crate) fn new(table: &'static str, sql: &'static str) -> Self {
        Self { table, sql: sql.to_owned(), arguments: Vec::new() }
    }

    /// Supplies the next of the arguments that the text names.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.arguments.push(Argument::One(value.into()));
        self
    }

    /// Adds to the text.
    pub(crate) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds an argument to the text.
    pub(crate) fn push_value(&mut self, value: impl Into<Value>) -> &mut Self {
        self.push_argument(Argument::One(value.into()))
    }

    fn push_argument(&mut self, argument: Argument) -> &mut Self {
        self.arguments.push(argument);
        self.sql.push('$');
        self.sql.push_str(&self.arguments.len().to_string());
        self
    }

    /// Adds `?, ?, ?` to the text, each an argument: SQLite looks up the name of each
    /// argument among all names before it, which takes longer than the row.
    fn push_unnamed(&mut self, values: Vec<Value>) {
        for (at, value) in values.into_iter().enumerate() {
            self.push(if at == 0 { "?" } else { ", ?" });
            self.arguments.push(Argument::One(value));
        }
    }

    /// Adds `(a, b, c)` to the text, each an argument.
    pub(crate) fn push_list<V: Into<Value>>(
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

    /// The text and its arguments. Checks their number, which SQLite would not (a
    /// missing one is NULL there).
    pub(super) fn into_parts(self) -> Result<(String, Vec<Argument>), StoreError> {
        let (named, given) = (arguments_named(&self.sql), self.arguments.len());
        if named != given {
            return Err(StoreError::Arguments { table: self.table, named, given });
        }
        Ok((self.sql, self.arguments))
    }

    /// The table's name, for errors.
    pub(super) const fn table(&self) -> &'static str {
        self.table
    }
}

/// How many arguments a text has: its highest `$n`, or its number of `?`. None of our texts
/// has either in a literal, and none has both.
fn arguments_named(sql: &str) -> usize {
    let number = |rest: &str| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    let highest = sql.split('$').skip(1).map(number).max().unwrap_or(0);
    highest + sql.matches('?').count()
}

/// Rows per statement on SQLite: a text for each of these sizes is prepared once and
/// reused. 100 rows of the widest table are 1,300 arguments, and SQLite allows 32,766.
const BATCHES: [usize; 3] = [100, 10, 1];

/// Rows per statement on PostgreSQL, which takes a column as one argument.
const ROWS_AT_ONCE: usize = 1_000;

/// How rows of a table are added.
pub(crate) struct Insert<'a> {
    pub(crate) table: &'static str,
    pub(crate) columns: &'a [&'static str],
    /// `ON CONFLICT ...`; empty if a row that already exists is an error.
    pub(crate) on_conflict: &'static str,
}

impl Insert<'_> {
    /// Adds the rows, many at a time. No two of them may have the same key.
    pub(crate) async fn run(
        &self,
        transaction: &mut Transaction,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), StoreError> {
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let mut statement = self.head();
            match transaction.kind() {
                Kind::Sqlite => {
                    let size = BATCHES.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
                    statement.push(" VALUES ");
                    for (at, row) in rows.by_ref().take(size).enumerate() {
                        statement.push(if at == 0 { "(" } else { "), (" }).push_unnamed(row);
                    }
                    statement.push(")");
                }
                Kind::Postgres => {
                    let columns = self.turned(rows.by_ref().take(ROWS_AT_ONCE))?;
                    statement.push(" SELECT * FROM UNNEST");
                    push_columns(&mut statement, columns);
                }
            }
            statement.push(" ").push(self.on_conflict);
            transaction.execute(statement).await?;
        }
        Ok(())
    }

    fn head(&self) -> Statement {
        let mut statement = Statement::new(self.table, "INSERT INTO ");
        statement.push(self.table).push(" (");
        for (at, column) in self.columns.iter().enumerate() {
            statement.push(if at == 0 { "" } else { ", " }).push(column);
        }
        statement.push(")");
        statement
    }

    /// Rows as columns. A column, including its nulls, has a single type.
    fn turned(&self, rows: impl Iterator<Item = Vec<Value>>) -> Result<Vec<Argument>, StoreError> {
        let mut columns: Vec<Option<Argument>> = vec![None; self.columns.len()];
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                match (column, value) {
                    (Some(Argument::Ints(all)), Value::Int(number)) => all.push(number),
                    (Some(Argument::Texts(all)), Value::Text(text)) => all.push(text),
                    (column @ None, Value::Int(number)) => {
                        *column = Some(Argument::Ints(vec![number]));
                    }
                    (column @ None, Value::Text(text)) => {
                        *column = Some(Argument::Texts(vec![text]));
                    }
                    _ => {
                        let what = format!("a column of {} with values of two types", self.table);
                        return Err(StoreError::Invalid { what });
                    }
                }
            }
        }
        Ok(columns.into_iter().flatten().collect())
    }
}

/// `($1::bigint[], $2::text[], ...)`.
fn push_columns(statement: &mut Statement, columns: Vec<Argument>) {
    let mut separator = "(";
    for column in columns {
        let kind = if matches!(column, Argument::Ints(_)) { "::bigint[]" } else { "::text[]" };
        statement.push(separator).push_argument(column).push(kind);
        separator = ", ";
    }
    statement.push(")");
}

#[cfg(test)]
mod tests {
    use super::arguments_named;

    #[test]
    fn arguments_are_counted_by_the_highest_number() {
        assert_eq!(arguments_named("SELECT 1"), 0);
        assert_eq!(arguments_named("a = $1 AND b = $12 AND c = $2"), 12);
        assert_eq!(arguments_named("$1,$2)"), 2);
        assert_eq!(arguments_named("VALUES (?, ?), (?, ?)"), 4);
    }
}
