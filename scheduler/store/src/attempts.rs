//! Table `attempts`.

use std::collections::BTreeMap;

use spotwise_model::resources::GpuSlot;
use spotwise_model::{Attempt, AttemptId, JobId};

use super::StoreError;
use super::database::{Database, Insert, Row, Statement, Transaction, Value};
use super::document::{FORMAT, decode, encode};

const TABLE: &str = "attempts";

const ATTEMPTS: Insert<'static> = Insert {
    table: TABLE,
    columns: &["job", "number", "state", "live", "format", "document", "seats"],
    on_conflict: "ON CONFLICT (job, number) DO UPDATE SET state = excluded.state, \
        live = excluded.live, format = excluded.format, document = excluded.document, \
        seats = excluded.seats",
};

/// Adds or overwrites the attempts, in the order of their numbers: a job's old attempt must
/// end before the new one is live.
pub(super) async fn write(
    transaction: &mut Transaction,
    attempts: &BTreeMap<AttemptId, &Attempt>,
) -> Result<(), StoreError> {
    let rows: Result<Vec<_>, _> = attempts.values().map(|attempt| columns(attempt)).collect();
    ATTEMPTS.run(transaction, rows?).await
}

pub(super) fn columns(attempt: &Attempt) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        attempt.id.job.0.into(),
        attempt.id.number.into(),
        attempt.state.name().into(),
        attempt.state.is_live().into(),
        FORMAT.into(),
        encode(TABLE, attempt)?.into(),
        Value::Text(slots(attempt)),
    ])
}

/// The slots, as in the assignment; `None` if there are none.
fn slots(attempt: &Attempt) -> Option<String> {
    let slots: Vec<String> = attempt.slots.iter().map(GpuSlot::to_string).collect();
    (!slots.is_empty()).then(|| slots.join(" "))
}

/// The attempt of a row with `job`, `number`, `format` and `document`.
pub(super) fn read(row: &Row) -> Result<Attempt, StoreError> {
    decode(row, id(row)?)
}

/// The id of the attempt in a row.
pub(super) fn id(row: &Row) -> Result<AttemptId, StoreError> {
    let number = row.unsigned("number")?;
    let number = u32::try_from(number).map_err(|e| row.bad("number", e))?;
    Ok(AttemptId { job: JobId(row.unsigned("job")?), number })
}

/// A job's attempts, oldest first.
pub(super) async fn of_job(database: &Database, job: JobId) -> Result<Vec<Attempt>, StoreError> {
    let statement = Statement::new(
        TABLE,
        "SELECT job, number, format, document FROM attempts WHERE job = $1 ORDER BY number",
    );
    let rows = database.fetch(statement.bind(job.0)).await?;
    rows.iter().map(read).collect()
}

/// Rows of every attempt that is not settled.
pub(super) async fn unsettled(transaction: &mut Transaction) -> Result<Vec<Row>, StoreError> {
    let statement = Statement::new(
        TABLE,
        "SELECT job, number, format, document FROM attempts
         WHERE state <> 'settled' ORDER BY job, number",
    );
    transaction.fetch(statement).await
}
