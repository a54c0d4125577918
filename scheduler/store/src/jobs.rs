//! Tables `jobs` and `job_tags`.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::access::{SUBMITTED_BY, TEAM};
use spotwise_model::{Ending, Job, JobId};
use tracing::warn;

use super::StoreError;
use super::database::{Database, Insert, Row, Statement, Transaction, Value};
use super::document::{FORMAT, decode, encode};

const TABLE: &str = "jobs";

/// What identifies a job never changes: only the rest is overwritten.
const JOBS: Insert<'static> = Insert {
    table: TABLE,
    columns: &[
        "id",
        "group_id",
        "name",
        "model",
        "class",
        "state",
        "submitted_us",
        "deadline_us",
        "ended_us",
        "priority",
        "spent_micros",
        "format",
        "document",
    ],
    on_conflict: "ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
        deadline_us = excluded.deadline_us, ended_us = excluded.ended_us, \
        priority = excluded.priority, \
        spent_micros = excluded.spent_micros, format = excluded.format, \
        document = excluded.document",
};

const TAGS: Insert<'static> = Insert {
    table: "job_tags",
    columns: &["job", "key", "value"],
    on_conflict: "ON CONFLICT (job, key) DO NOTHING",
};

/// How many ids one `IN (...)` lists.
const IDS_AT_ONCE: usize = 500;

/// Which jobs to list. An empty filter lists all. Texts are compared literally: nothing in
/// them is a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// In one of these states, as `JobState::name` spells them; empty for any.
    pub states: Vec<String>,
    /// With this name.
    pub name: Option<String>,
    /// With all of these tags.
    pub tags: BTreeMap<String, String>,
    /// Of one of these teams; `None` for all, and those of nobody.
    pub teams: Option<BTreeSet<String>>,
    /// Older than this job: the last one of the previous page.
    pub before: Option<JobId>,
    /// At most this many.
    pub limit: u32,
}

/// Adds the jobs, or overwrites the parts of them that may change.
/// Its tags, and who has submitted it, which no tag of the same name can say otherwise.
fn labels(job: &Job) -> impl Iterator<Item = (&str, &str)> {
    let tags = job.spec.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let by = job.submitted_by.iter().map(|by| (SUBMITTED_BY, by.as_str()));
    tags.filter(|(key, _)| *key != SUBMITTED_BY).chain(by)
}

pub(super) async fn write(
    transaction: &mut Transaction,
    jobs: &BTreeMap<JobId, &Job>,
) -> Result<(), StoreError> {
    let rows: Result<Vec<_>, _> = jobs.values().map(|job| columns(job)).collect();
    JOBS.run(transaction, rows?).await?;
    let tag = |id: &JobId, key: &str, value: &str| vec![id.0.into(), key.into(), value.into()];
    let tags =
        jobs.iter().flat_map(|(id, job)| labels(job).map(move |(key, value)| tag(id, key, value)));
    TAGS.run(transaction, tags.collect()).await
}

pub(super) fn columns(job: &Job) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        job.id.0.into(),
        job.group.0.into(),
        job.spec.name.as_str().into(),
        Value::Text(job.spec.model.clone()),
        job.spec.class.name().into(),
        job.state.name().into(),
        job.submitted.into(),
        job.deadline.into(),
        Value::Int(job.state.ended().map(jiff::Timestamp::as_microsecond)),
        i64::from(job.spec.priority).into(),
        job.spent.micros().into(),
        FORMAT.into(),
        encode(TABLE, job)?.into(),
    ])
}

/// The job of a row with `id`, `format` and `document`.
pub(super) fn read(row: &Row) -> Result<Job, StoreError> {
    decode(row, JobId(row.unsigned("id")?))
}

/// One job.
pub(super) async fn find(database: &Database, id: JobId) -> Result<Option<Job>, StoreError> {
    let statement = Statement::new(TABLE, "SELECT id, format, document FROM jobs WHERE id = $1");
    let row = database.fetch_first(statement.bind(id.0)).await?;
    row.as_ref().map(read).transpose()
}

/// The newest job of a name that has not ended, otherwise the newest; of these teams only.
pub(super) async fn newest_by_name(
    database: &Database,
    name: &str,
    teams: Option<&BTreeSet<String>>,
) -> Result<Option<JobId>, StoreError> {
    let mut statement = Statement::new(TABLE, "SELECT id FROM jobs WHERE name = ");
    statement.push_value(name);
    push_teams(&mut statement, teams);
    statement.push(" ORDER BY CASE WHEN ended_us IS NULL THEN 0 ELSE 1 END, id DESC LIMIT 1");
    let row = database.fetch_first(statement).await?;
    row.map(|row| row.unsigned("id").map(JobId)).transpose()
}

/// Jobs of a name that are resubmissions, newer than `after`, oldest first.
pub(super) async fn resubmissions(
    database: &Database,
    name: &str,
    after: JobId,
) -> Result<Vec<Job>, StoreError> {
    let statement = Statement::new(
        TABLE,
        "SELECT id, format, document FROM jobs WHERE name = $1 AND id > $2
         AND document LIKE '%\"resubmission\":%' ORDER BY id",
    );
    let rows = database.fetch(statement.bind(name).bind(after.0)).await?;
    let jobs: Result<Vec<Job>, StoreError> = rows.iter().map(read).collect();
    // The word may also stand in a command.
    Ok(jobs?.into_iter().filter(|job| job.resubmission.is_some()).collect())
}

/// The jobs of one submission, oldest first.
pub(super) async fn group(database: &Database, group: JobId) -> Result<Vec<Job>, StoreError> {
    let statement = Statement::new(
        TABLE,
        "SELECT id, format, document FROM jobs WHERE group_id = $1 ORDER BY id",
    );
    let rows = database.fetch(statement.bind(group.0)).await?;
    rows.iter().map(read).collect()
}

/// Jobs that match a filter, newest first. A job that does not decode is left out with a
/// warning: one bad row must not hide all the others.
pub(super) async fn list(database: &Database, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
    let wanted = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut jobs = Vec::new();
    let mut before = filter.before;
    // More than one turn only where rows were left out.
    while jobs.len() < wanted {
        let missing = wanted - jobs.len();
        let rows = database.fetch(page(filter, before, missing)).await?;
        for row in &rows {
            match read(row) {
                Ok(job) => jobs.push(job),
                Err(error) => warn!(error = error.in_full(), "a job is left out of a list"),
            }
        }
        match rows.last() {
            Some(last) if rows.len() == missing => before = Some(JobId(last.unsigned("id")?)),
            _ => break,
        }
    }
    Ok(jobs)
}

/// Only jobs of these teams.
fn push_teams(statement: &mut Statement, teams: Option<&BTreeSet<String>>) {
    match teams {
        None => {}
        // Nobody's teams: nothing.
        Some(teams) if teams.is_empty() => {
            statement.push(" AND id < 0");
        }
        Some(teams) => {
            statement.push(" AND id IN (SELECT job FROM job_tags WHERE key = ");
            statement.push_value(TEAM).push(" AND value IN ");
            statement.push_list(teams.iter().map(String::as_str)).push(")");
        }
    }
}

fn page(filter: &JobFilter, before: Option<JobId>, limit: usize) -> Statement {
    let mut statement = Statement::new(TABLE, "SELECT id, format, document FROM jobs WHERE id > 0");
    if let Some(before) = before {
        statement.push(" AND id < ").push_value(before.0);
    }
    if !filter.states.is_empty() {
        statement.push(" AND state IN ").push_list(filter.states.iter().map(String::as_str));
    }
    if let Some(name) = &filter.name {
        statement.push(" AND name = ").push_value(name.as_str());
    }
    for (key, value) in &filter.tags {
        statement.push(" AND id IN (SELECT job FROM job_tags WHERE key = ");
        statement.push_value(key.as_str()).push(" AND value = ").push_value(value.as_str());
        statement.push(")");
    }
    push_teams(&mut statement, filter.teams.as_ref());
    statement.push(" ORDER BY id DESC LIMIT ").push_value(limit as u64);
    statement
}

/// Rows of every job that has not ended, or that has an attempt to settle.
pub(super) async fn unfinished(transaction: &mut Transaction) -> Result<Vec<Row>, StoreError> {
    let live = Statement::new(
        TABLE,
        "SELECT id, format, document FROM jobs WHERE ended_us IS NULL ORDER BY id",
    );
    let unsettled = Statement::new(
        TABLE,
        "SELECT id, format, document FROM jobs WHERE ended_us IS NOT NULL
         AND id IN (SELECT job FROM attempts WHERE state <> 'settled') ORDER BY id",
    );
    let mut rows = transaction.fetch(live).await?;
    rows.extend(transaction.fetch(unsettled).await?);
    Ok(rows)
}

/// The ending of a job in the state of that name, as in [`JobState::ending`].
///
/// [`JobState::ending`]: spotwise_model::JobState::ending
fn ending(state: &str) -> Ending {
    match state {
        "succeeded" => Ending::Succeeded,
        "cancelled" => Ending::Cancelled,
        "skipped" => Ending::Skipped,
        _ => Ending::Failed,
    }
}

/// How those of the jobs that have ended did so.
pub(super) async fn outcomes(
    transaction: &mut Transaction,
    jobs: BTreeSet<JobId>,
) -> Result<BTreeMap<JobId, Ending>, StoreError> {
    let jobs: Vec<JobId> = jobs.into_iter().collect();
    let mut outcomes = BTreeMap::new();
    for some in jobs.chunks(IDS_AT_ONCE) {
        let mut statement = Statement::new(
            TABLE,
            "SELECT id, state FROM jobs WHERE ended_us IS NOT NULL AND id IN ",
        );
        statement.push_list(some.iter().map(|id| id.0));
        for row in transaction.fetch(statement).await? {
            outcomes.insert(JobId(row.unsigned("id")?), ending(&row.text("state")?));
        }
    }
    Ok(outcomes)
}
