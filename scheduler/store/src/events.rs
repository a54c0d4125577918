//! Table `events`: what happened to jobs, for people.

use spotwise_model::{AttemptId, JobId};

use super::StoreError;
use super::database::{Database, Insert, Row, Statement, Transaction, Value};
use spotwise_control::core::Event;

const TABLE: &str = "events";

const EVENTS: Insert<'static> = Insert {
    table: TABLE,
    columns: &["number", "job", "attempt", "at_us", "kind", "message", "asked_by"],
    on_conflict: "",
};

/// Adds the events, which already have their numbers.
pub(super) async fn write(
    transaction: &mut Transaction,
    events: &[&Event],
) -> Result<(), StoreError> {
    let rows: Result<Vec<_>, _> = events.iter().map(|event| columns(event)).collect();
    EVENTS.run(transaction, rows?).await
}

pub(super) fn columns(event: &Event) -> Result<Vec<Value>, StoreError> {
    if event.number == 0 {
        return Err(StoreError::Invalid {
            what: format!("an event of {} without number", event.job),
        });
    }
    let attempt = match event.attempt {
        Some(attempt) if attempt.job != event.job => {
            let what = format!("an event of {} about attempt {attempt}", event.job);
            return Err(StoreError::Invalid { what });
        }
        attempt => attempt.map(|attempt| i64::from(attempt.number)),
    };
    Ok(vec![
        event.number.into(),
        event.job.0.into(),
        Value::Int(attempt),
        event.at.into(),
        event.kind.name().into(),
        event.message.as_str().into(),
        Value::Text(event.by.clone()),
    ])
}

/// Events with a number above `after`, oldest first.
pub(super) async fn list(
    database: &Database,
    job: Option<JobId>,
    after: u64,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut statement = Statement::new(
        TABLE,
        "SELECT number, job, attempt, at_us, kind, message, asked_by FROM events WHERE number > ",
    );
    statement.push_value(after);
    if let Some(job) = job {
        statement.push(" AND job = ").push_value(job.0);
    }
    statement.push(" ORDER BY number LIMIT ").push_value(limit);
    database.fetch(statement).await?.iter().map(read).collect()
}

pub(super) fn read(row: &Row) -> Result<Event, StoreError> {
    let job = JobId(row.unsigned("job")?);
    let number = row.optional("attempt")?.map(u32::try_from).transpose();
    let number = number.map_err(|e| row.bad("attempt", e))?;
    let kind = serde_json::from_value(row.text("kind")?.into()).map_err(|e| row.bad("kind", e))?;
    Ok(Event {
        number: row.unsigned("number")?,
        job,
        attempt: number.map(|number| AttemptId { job, number }),
        at: row.time("at_us")?,
        kind,
        message: row.text("message")?,
        by: row.optional_text("asked_by")?,
    })
}
