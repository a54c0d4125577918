//! Writing a round: all of its changes, or none.

use std::collections::BTreeMap;

use spotwise_model::access::Token;
use spotwise_model::freeze::Freeze;
use spotwise_model::{Attempt, AttemptId, Instance, InstanceId, Job, JobId, LedgerEntry, PoolSet};
use tracing::warn;

use super::database::Database;
use super::document::encode;
use super::leader::{self, Turn};
use super::{
    Epoch, StoreError, access, attempts, events, instances, jobs, ledger, meta, pools, prices,
    spells, submissions,
};
use spotwise_control::core::availability_history::AvailabilityUpdate;
use spotwise_control::core::prices::PriceUpdate;
use spotwise_control::core::{AuditEntry, Change, Event, SubmissionRecord};

/// The changes of one turn of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The epoch of the leader that made it.
    pub epoch: Epoch,
    /// Higher than that of every earlier round.
    pub id: u64,
    /// In the order in which they were made, events with their numbers.
    pub changes: &'a [Change],
}

/// How often a round that conflicted with another transaction is retried at once: nobody
/// else writes these tables for long.
const TRIES: u32 = 4;

/// Writes a round. Its number makes it safe to retry.
pub(super) async fn commit(database: &Database, round: &Round<'_>) -> Result<(), StoreError> {
    let batch = Batch::of(round.changes);
    for _ in 1..TRIES {
        match attempt(database, round, &batch).await {
            Err(error) if error.is_contention() => {
                warn!(error = error.in_full(), "a round is begun again");
            }
            answer => return answer,
        }
    }
    attempt(database, round, &batch).await
}

/// Writes a round in one transaction.
async fn attempt(
    database: &Database,
    round: &Round<'_>,
    batch: &Batch<'_>,
) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    if leader::take_turn(&mut transaction, round.epoch, round.id).await? == Turn::Repeated {
        return Ok(());
    }
    // What others refer to comes first.
    jobs::write(&mut transaction, &batch.jobs).await?;
    instances::write(&mut transaction, &batch.instances).await?;
    attempts::write(&mut transaction, &batch.attempts).await?;
    ledger::write(&mut transaction, &batch.ledger).await?;
    events::write(&mut transaction, &batch.events).await?;
    submissions::write(&mut transaction, &batch.submissions).await?;
    for update in &batch.availability {
        spells::write(&mut transaction, update).await?;
    }
    for update in &batch.prices {
        prices::write(&mut transaction, update).await?;
    }
    access::write_tokens(&mut transaction, &batch.tokens).await?;
    access::write_audit(&mut transaction, &batch.audit).await?;
    if let Some(pools) = batch.pools {
        pools::write(&mut transaction, pools).await?;
    }
    if let Some(frozen) = batch.frozen {
        meta::write(&mut transaction, meta::FROZEN, &encode("meta", frozen)?).await?;
    }
    transaction.commit().await
}

/// The changes by kind. If something changed more than once, only its last value is
/// written; what is only ever added is kept in full, so that a doubled charge is noticed.
#[derive(Default)]
struct Batch<'a> {
    jobs: BTreeMap<JobId, &'a Job>,
    attempts: BTreeMap<AttemptId, &'a Attempt>,
    instances: BTreeMap<InstanceId, &'a Instance>,
    ledger: Vec<&'a LedgerEntry>,
    submissions: Vec<&'a SubmissionRecord>,
    events: Vec<&'a Event>,
    availability: Vec<&'a AvailabilityUpdate>,
    prices: Vec<&'a PriceUpdate>,
    tokens: BTreeMap<&'a str, &'a Token>,
    audit: Vec<&'a AuditEntry>,
    pools: Option<&'a PoolSet>,
    frozen: Option<&'a Option<Freeze>>,
}

impl<'a> Batch<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let mut batch = Self::default();
        for change in changes {
            match change {
                Change::Job(job) => drop(batch.jobs.insert(job.id, job)),
                Change::Attempt(attempt) => drop(batch.attempts.insert(attempt.id, attempt)),
                Change::Instance(instance) => drop(batch.instances.insert(instance.id, instance)),
                Change::Ledger(entries) => batch.ledger.extend(entries),
                Change::Submission(record) => batch.submissions.push(record),
                Change::Event(event) => batch.events.push(event),
                Change::Availability(update) => batch.availability.push(update),
                Change::Prices(update) => batch.prices.push(update),
                Change::Token(token) => drop(batch.tokens.insert(token.id.as_str(), token)),
                Change::Audit(entry) => batch.audit.push(entry),
                Change::Pools(pools) => batch.pools = Some(pools),
                Change::Freeze(frozen) => batch.frozen = Some(frozen),
            }
        }
        batch
    }
}
