//! Table `submissions`: what idempotency keys stand for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::StoreError;
use super::database::{Database, Insert, Statement, Transaction, Value};
use super::document::{encode, parse};
use spotwise_control::core::SubmissionRecord;

const TABLE: &str = "submissions";

const SUBMISSIONS: Insert<'static> =
    Insert { table: TABLE, columns: &["key", "document_hash", "jobs", "at_us"], on_conflict: "" };

/// Adds the records. A key that already exists is an error.
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

/// How many keys one query looks up: a text for each of these sizes is prepared once and
/// reused.
const KEYS_AT_ONCE: [usize; 3] = [100, 10, 1];

/// A key, and where to send what it stands for.
type Ask = (String, oneshot::Sender<Option<SubmissionRecord>>);

/// Lookups of keys. Every submission makes one; those that arrive during a query share the
/// next.
#[derive(Default)]
pub(super) struct Lookups {
    waiting: Mutex<Vec<Ask>>,
    turn: tokio::sync::Mutex<()>,
}

impl Lookups {
    /// What a key stands for.
    pub(super) async fn find(
        &self,
        database: &Database,
        key: &str,
    ) -> Result<Option<SubmissionRecord>, StoreError> {
        let (sender, mut answer) = oneshot::channel();
        self.waiting().push((key.to_owned(), sender));
        let told = tokio::select! {
            biased;
            told = &mut answer => told,
            _turn = self.turn.lock() => {
                self.answer_all(database).await;
                answer.await
            }
        };
        match told {
            Ok(found) => Ok(found),
            // The query failed, or whoever made it has gone: the error is told to
            // each that meets it.
            Err(_) => Ok(find(database, &[key]).await?.remove(key)),
        }
    }

    /// Answers everyone waiting. If that fails they get no answer.
    async fn answer_all(&self, database: &Database) {
        let mut asks = std::mem::take(&mut *self.waiting());
        while !asks.is_empty() {
            let size = KEYS_AT_ONCE.into_iter().find(|size| *size <= asks.len()).unwrap_or(1);
            let some = asks.split_off(asks.len().saturating_sub(size));
            let keys: Vec<&str> = some.iter().map(|(key, _)| key.as_str()).collect();
            let Ok(found) = find(database, &keys).await else { return };
            for (key, sender) in some {
                // The asker may have gone.
                let _ = sender.send(found.get(&key).cloned());
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Ask>> {
        // Pushing and taking leave nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What those of the keys that have been used stand for.
async fn find(
    database: &Database,
    keys: &[&str],
) -> Result<BTreeMap<String, SubmissionRecord>, StoreError> {
    let mut statement = Statement::new(
        TABLE,
        "SELECT key, document_hash, jobs, at_us FROM submissions WHERE key IN ",
    );
    statement.push_list(keys.iter().copied());
    let mut found = BTreeMap::new();
    for row in database.fetch(statement).await? {
        let key = row.text("key")?;
        let record = SubmissionRecord {
            document_hash: row.text("document_hash")?,
            jobs: parse(TABLE, &key, &row.text("jobs")?)?,
            at: row.time("at_us")?,
            key: key.clone(),
        };
        found.insert(key, record);
    }
    Ok(found)
}
