//! Table `ledger`: charges, only ever added.

use jiff::Timestamp;
use spotwise_model::{InstanceId, JobId, LedgerEntry, Money};

use super::StoreError;
use super::database::{Database, Insert, Row, Statement, Transaction, Value};
use super::document::{FORMAT, decode, encode};

const TABLE: &str = "ledger";

/// No `ON CONFLICT`: a charge that already exists is an error, never doubled and never
/// overwritten.
const LEDGER: Insert<'static> = Insert {
    table: TABLE,
    columns: &[
        "instance",
        "sequence",
        "job",
        "attempt",
        "kind",
        "amount_micros",
        "on_demand_micros",
        "from_us",
        "to_us",
        "format",
        "document",
    ],
    on_conflict: "",
};

/// How many ids one `IN (...)` lists.
const IDS_AT_ONCE: usize = 500;

/// Which charges to read. One that extends beyond the end of a period belongs to both
/// neighbours; [`spotwise_control::ledger::piece`] cuts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// Ending at this market time or later.
    pub since: Option<Timestamp>,
    /// Beginning before this market time.
    pub until: Option<Timestamp>,
    /// Paid by one of these jobs; `None` for all, including idle time.
    pub jobs: Option<Vec<JobId>>,
}

/// Adds the entries.
pub(super) async fn write(
    transaction: &mut Transaction,
    entries: &[&LedgerEntry],
) -> Result<(), StoreError> {
    let rows: Result<Vec<_>, _> = entries.iter().map(|entry| columns(entry)).collect();
    LEDGER.run(transaction, rows?).await
}

pub(super) fn columns(entry: &LedgerEntry) -> Result<Vec<Value>, StoreError> {
    let (job, number) = match entry.attempt {
        Some(attempt) => (attempt.job.0.into(), attempt.number.into()),
        None => (Value::Int(None), Value::Int(None)),
    };
    Ok(vec![
        entry.instance.0.into(),
        entry.sequence.into(),
        job,
        number,
        entry.kind.name().into(),
        entry.amount.micros().into(),
        entry.on_demand_amount.micros().into(),
        entry.from.into(),
        entry.to.into(),
        FORMAT.into(),
        encode(TABLE, entry)?.into(),
    ])
}

/// The entries that match a filter, by their start. An entry that does not decode is an
/// error: a sum must never be silently short.
pub(super) async fn list(
    database: &Database,
    filter: &LedgerFilter,
) -> Result<Vec<LedgerEntry>, StoreError> {
    let mut entries = Vec::new();
    match &filter.jobs {
        None => entries = fetch(database, filter, None).await?,
        Some(jobs) => {
            let mut jobs = jobs.clone();
            jobs.sort_unstable();
            jobs.dedup();
            for some in jobs.chunks(IDS_AT_ONCE) {
                entries.extend(fetch(database, filter, Some(some)).await?);
            }
        }
    }
    entries.sort_by_key(|entry| (entry.from, entry.instance, entry.sequence));
    Ok(entries)
}

async fn fetch(
    database: &Database,
    filter: &LedgerFilter,
    jobs: Option<&[JobId]>,
) -> Result<Vec<LedgerEntry>, StoreError> {
    let mut statement = Statement::new(
        TABLE,
        "SELECT instance, sequence, format, document FROM ledger WHERE instance > 0",
    );
    if let Some(since) = filter.since {
        // One without length belongs to where it begins.
        statement.push(" AND to_us >= ").push_value(since);
    }
    if let Some(until) = filter.until {
        statement.push(" AND from_us < ").push_value(until);
    }
    if let Some(jobs) = jobs {
        statement.push(" AND job IN ").push_list(jobs.iter().map(|job| job.0));
    }
    database.fetch(statement).await?.iter().map(read).collect()
}

pub(super) fn read(row: &Row) -> Result<LedgerEntry, StoreError> {
    let (instance, sequence) = (InstanceId(row.unsigned("instance")?), row.unsigned("sequence")?);
    decode(row, format_args!("{instance}/{sequence}"))
}

/// The sum of all charges. PostgreSQL sums BIGINT into NUMERIC: hence the cast.
pub(super) async fn total(transaction: &mut Transaction) -> Result<Money, StoreError> {
    let statement = Statement::new(
        TABLE,
        "SELECT CAST(COALESCE(SUM(amount_micros), 0) AS BIGINT) AS total FROM ledger",
    );
    let rows = transaction.fetch(statement).await?;
    let total = rows.first().map(|row| row.int("total")).transpose()?;
    Ok(Money::from_micros(total.unwrap_or(0)))
}
