//! Table `submissions`: what idempotency keys stand for.

use super::StoreError;
use super::database::{Database, Insert, Statement, Transaction, Value};
use super::document::{encode, parse};
use crate::core::SubmissionRecord;

const TABLE: &str = "submissions";

const SUBMISSIONS: Insert<'static> =
    Insert { table: TABLE, columns: &["key", "document_hash", "jobs", "at_us"], on_conflict: "" };

/// Adds the records. A key that exists already is an error.
pub(super) async fn write(
    transaction: &mut Transaction,
    records: &[&SubmissionRecord],
) -> Result<(), StoreError> {
    let rows: Result<Vec<_>, _> = records.iter().map(|record| columns(record)).collect();
    SUBMISSIONS.run(transaction, rows?).await
}

fn columns(record: &SubmissionRecord) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        record.key.as_str().into(),
        record.document_hash.as_str().into(),
        encode(TABLE, &record.jobs)?.into(),
        record.at.into(),
    ])
}

/// What a key stands for.
pub(super) async fn find(
    database: &Database,
    key: &str,
) -> Result<Option<SubmissionRecord>, StoreError> {
    let statement = Statement::new(
        TABLE,
        "SELECT key, document_hash, jobs, at_us FROM submissions WHERE key = $1",
    );
    let Some(row) = database.fetch_first(statement.bind(key)).await? else { return Ok(None) };
    Ok(Some(SubmissionRecord {
        key: row.text("key")?,
        document_hash: row.text("document_hash")?,
        jobs: parse(TABLE, key, &row.text("jobs")?)?,
        at: row.time("at_us")?,
    }))
}
