//! What is durable: jobs, attempts, instances, charges, events. The only place for SQL.
//!
//! A round's changes are written in one transaction, fenced by the leader's epoch; whatever
//! is committed survives a power failure. Nothing here decides anything: no transition, no
//! clock, no policy.

mod access;
mod attempts;
mod backup;
mod check;
mod commit;
mod database;
mod document;
mod epoch;
mod error;
mod events;
mod fault;
mod instances;
mod jobs;
mod leader;
mod ledger;
mod load;
mod location;
mod meta;
mod migrations;
mod occupancy;
mod open;
mod pools;
mod prices;
mod spells;
mod submissions;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::{Attempt, Job, JobId, LedgerEntry};

pub use backup::{BackupError, BackupReport, RESTORED_AT, RESTORED_FROM, backup, restore};
pub use check::{CheckReport, Finding, check};
pub use commit::Round;
pub use database::Kind;
pub use epoch::Epoch;
pub use error::StoreError;
pub use jobs::JobFilter;
pub use leader::{Campaign, Candidate, LeaderRecord, Turn};
pub use ledger::LedgerFilter;
pub use load::Loaded;
pub use location::{Location, LocationError, Server};
pub use open::{Migrated, migrate};

use database::Database;
use spotwise_control::core::{AuditEntry, Event, SubmissionRecord};

/// The database, as one scheduler sees it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    lookups: Arc<submissions::Lookups>,
    /// Held, never read: it keeps a second scheduler out. Dropped last.
    _lock: Option<Arc<File>>,
}

impl Store {
    /// Opens the database and brings its schema up to date. A missing file is created, and
    /// no other scheduler can open it until this and its clones are dropped; a server
    /// accepts several schedulers, one of which leads.
    pub async fn open(location: impl Into<Location>) -> Result<Self, StoreError> {
        let (database, lock) = open::open(&location.into()).await?;
        Ok(Self { database, lookups: Arc::default(), _lock: lock.map(Arc::new) })
    }

    /// Which database it is.
    pub const fn kind(&self) -> Kind {
        self.database.kind()
    }

    /// Whether other schedulers may use the same database.
    pub fn is_shared(&self) -> bool {
        self.kind() == Kind::Postgres
    }

    /// Closes all connections once pending work has finished, and folds the write-ahead log
    /// into the database. Optional: what is committed does not depend on it.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Begins a new epoch: the commits of every earlier one are refused.
    pub async fn lead(&self, holder: &str, wall: Timestamp) -> Result<Epoch, StoreError> {
        leader::lead(&self.database, holder, wall).await
    }

    /// Takes the lease for `term`, unless another holds it.
    pub async fn campaign(
        &self,
        candidate: &Candidate,
        term: Duration,
    ) -> Result<Campaign, StoreError> {
        leader::campaign(&self.database, candidate, term).await
    }

    /// Leads for another `term`; [`StoreError::NotLeader`] if another has taken over.
    pub async fn renew(&self, epoch: Epoch, term: Duration) -> Result<(), StoreError> {
        leader::renew(&self.database, epoch, term).await
    }

    /// Ends a leadership before its lease does.
    pub async fn resign(&self, epoch: Epoch) -> Result<(), StoreError> {
        leader::resign(&self.database, epoch).await
    }

    /// Writes a round, all of it or nothing; durable when this returns. Repeating the last
    /// round changes nothing and succeeds, so a commit whose answer was lost is simply
    /// retried.
    pub async fn commit(&self, round: &Round<'_>) -> Result<(), StoreError> {
        commit::commit(&self.database, round).await
    }

    /// Everything that has not ended and been settled, as of the last round.
    pub async fn load(&self) -> Result<Loaded, StoreError> {
        load::load(&self.database).await
    }

    /// One job, ended or not.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        jobs::find(&self.database, id).await
    }

    /// The newest job of exactly this name that has not ended, otherwise the newest; if
    /// teams are named, only of theirs.
    pub async fn newest_by_name(
        &self,
        name: &str,
        teams: Option<&BTreeSet<String>>,
    ) -> Result<Option<JobId>, StoreError> {
        jobs::newest_by_name(&self.database, name, teams).await
    }

    /// Resubmissions of jobs of this name with a number above `after`, oldest first.
    pub async fn resubmissions(&self, name: &str, after: JobId) -> Result<Vec<Job>, StoreError> {
        jobs::resubmissions(&self.database, name, after).await
    }

    /// The jobs of the submission whose first job this is, oldest first.
    pub async fn group(&self, group: JobId) -> Result<Vec<Job>, StoreError> {
        jobs::group(&self.database, group).await
    }

    /// Jobs that match a filter, newest first.
    pub async fn list(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        jobs::list(&self.database, filter).await
    }

    /// All attempts of a job, oldest first.
    pub async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>, StoreError> {
        attempts::of_job(&self.database, job).await
    }

    /// Events of a job, or of all, with a number above `after`, oldest first.
    pub async fn events(
        &self,
        job: Option<JobId>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        events::list(&self.database, job, after, limit).await
    }

    /// Entries of the audit log with a number above `after`, oldest first.
    pub async fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        access::audit(&self.database, after, limit).await
    }

    /// Charges that match a filter, by their start.
    pub async fn ledger(&self, filter: &LedgerFilter) -> Result<Vec<LedgerEntry>, StoreError> {
        ledger::list(&self.database, filter).await
    }

    /// What an idempotency key stands for.
    pub async fn submission(&self, key: &str) -> Result<Option<SubmissionRecord>, StoreError> {
        self.lookups.find(&self.database, key).await
    }

    /// A value stored by name.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        meta::get(&self.database, key).await
    }

    /// Stores a value by name. Not fenced: for values that hold whoever leads.
    pub async fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        meta::set(&self.database, key, value).await
    }
}
