//! Every table with its columns, for everything that treats all tables alike: backup,
//! restore, check. A test compares this list with the schema.

use super::StoreError;
use super::database::{Database, Insert, Row, Statement, Transaction, Value};

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// A number, or null.
    Int(&'static str),
    /// A text, or null.
    Text(&'static str),
}

use Column::{Int, Text};

impl Column {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Int(name) | Text(name) => name,
        }
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The key's columns come first.
    pub(super) columns: &'static [Column],
    /// How many columns the key has.
    pub(super) key: usize,
}

/// In the order in which rows can be added: referenced tables come first.
pub(super) const TABLES: [Table; 15] = [
    Table {
        name: "jobs",
        columns: &[
            Int("id"),
            Int("group_id"),
            Text("name"),
            Text("model"),
            Text("class"),
            Text("state"),
            Int("submitted_us"),
            Int("deadline_us"),
            Int("ended_us"),
            Int("priority"),
            Int("spent_micros"),
            Int("format"),
            Text("document"),
        ],
        key: 1,
    },
    Table { name: "job_tags", columns: &[Int("job"), Text("key"), Text("value")], key: 2 },
    Table {
        name: "instances",
        columns: &[Int("id"), Text("state"), Int("settled"), Int("format"), Text("document")],
        key: 1,
    },
    Table {
        name: "attempts",
        columns: &[
            Int("job"),
            Int("number"),
            Text("state"),
            Int("live"),
            Int("format"),
            Text("document"),
            Text("seats"),
        ],
        key: 2,
    },
    Table {
        name: "ledger",
        columns: &[
            Int("instance"),
            Int("sequence"),
            Int("job"),
            Int("attempt"),
            Text("kind"),
            Int("amount_micros"),
            Int("on_demand_micros"),
            Int("from_us"),
            Int("to_us"),
            Int("format"),
            Text("document"),
        ],
        key: 2,
    },
    Table {
        name: "events",
        columns: &[
            Int("number"),
            Int("job"),
            Int("attempt"),
            Int("at_us"),
            Text("kind"),
            Text("message"),
            Text("asked_by"),
        ],
        key: 1,
    },
    Table {
        name: "submissions",
        columns: &[Text("key"), Text("document_hash"), Text("jobs"), Int("at_us")],
        key: 1,
    },
    Table {
        name: "spells",
        columns: &[
            Text("pool"),
            Text("zone"),
            Text("instance_type"),
            Int("at_us"),
            Int("machines"),
        ],
        key: 4,
    },
    Table { name: "watches", columns: &[Int("from_us"), Int("until_us")], key: 1 },
    Table {
        name: "prices",
        columns: &[
            Text("zone"),
            Text("instance_type"),
            Text("capacity_type"),
            Int("at_us"),
            Int("micros_per_hour"),
        ],
        key: 4,
    },
    Table { name: "price_feed", columns: &[Int("id"), Int("until_us")], key: 1 },
    Table { name: "tokens", columns: &[Text("id"), Int("format"), Text("document")], key: 1 },
    Table {
        name: "audit",
        columns: &[Int("number"), Int("at_us"), Int("format"), Text("document")],
        key: 1,
    },
    Table { name: "meta", columns: &[Text("key"), Text("value")], key: 1 },
    Table {
        name: "leader",
        columns: &[
            Int("id"),
            Int("epoch"),
            Text("holder"),
            Int("since_us"),
            Int("round"),
            Int("round_epoch"),
            Int("expires_us"),
            Text("address"),
        ],
        key: 1,
    },
];

/// Rows per page: memory for a few megabytes of documents.
const PAGE: u64 = 500;

impl Table {
    /// How many of its last columns older backups lack; their rows have null there.
    pub(super) fn added(&self) -> usize {
        usize::from(matches!(self.name, "attempts" | "events"))
    }

    /// Whether a backup's columns are those of this table, now or in an earlier version.
    pub(super) fn has(&self, columns: &[String]) -> bool {
        let ours = self.columns.iter().map(|column| column.name());
        let found = columns.iter().map(String::as_str);
        ours.clone().take(columns.len()).eq(found) && columns.len() + self.added() >= ours.len()
    }

    /// The next rows after a key, in its order; empty at the end.
    pub(super) async fn page(
        &self,
        transaction: &mut Transaction,
        after: Option<&[Value]>,
    ) -> Result<Vec<(Vec<Value>, Row)>, StoreError> {
        let mut statement = Statement::new(self.name, "SELECT ");
        push_names(&mut statement, self.columns);
        statement.push(" FROM ").push(self.name);
        let key = self.columns.get(..self.key).unwrap_or_default();
        if let Some(after) = after {
            statement.push(" WHERE (");
            push_names(&mut statement, key);
            statement.push(") > ").push_list(after.iter().take(self.key).cloned());
        }
        statement.push(" ORDER BY ");
        push_names(&mut statement, key);
        statement.push(" LIMIT ").push_value(PAGE);
        let rows = transaction.fetch(statement).await?;
        rows.into_iter().map(|row| Ok((self.values(&row)?, row))).collect()
    }

    fn values(&self, row: &Row) -> Result<Vec<Value>, StoreError> {
        let value = |column: &Column| match column {
            Int(name) => row.optional_int(name).map(Value::Int),
            Text(name) => row.optional_text(name).map(Value::Text),
        };
        self.columns.iter().map(value).collect()
    }

    /// Adds rows. One that already exists is an error.
    pub(super) async fn insert(
        &self,
        transaction: &mut Transaction,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), StoreError> {
        let columns: Vec<&'static str> = self.columns.iter().map(|c| c.name()).collect();
        let insert = Insert { table: self.name, columns: &columns, on_conflict: "" };
        insert.run(transaction, rows).await
    }

    /// How many rows it has.
    pub(super) async fn count(&self, database: &Database) -> Result<u64, StoreError> {
        let mut statement = Statement::new(self.name, "SELECT COUNT(*) AS number FROM ");
        statement.push(self.name);
        let row = database.fetch_first(statement).await?;
        row.map_or(Ok(0), |row| row.unsigned("number"))
    }
}

fn push_names(statement: &mut Statement, columns: &[Column]) {
    for (at, column) in columns.iter().enumerate() {
        statement.push(if at == 0 { "" } else { ", " }).push(column.name());
    }
}
