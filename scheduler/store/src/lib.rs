//! What lasts: jobs, attempts, instances, charges, events. The one room of SQL.
//!
//! A round's changes are written in one transaction, fenced by the leader's
//! epoch; whatever is committed survives a power cut. Nothing here decides
//! anything: no transition, no clock, no policy.

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
mod spells;
mod submissions;
mod tables;
#[cfg(test)]
mod tests;

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
use spotwise_control::core::{Event, SubmissionRecord};

/// The database, as one scheduler sees it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    lookups: Arc<submissions::Lookups>,
    /// Held, never read: it keeps a second scheduler out. Dropped last.
    _lock: Option<Arc<File>>,
}

impl Store {
    /// Opens the database and brings its schema up to date. A file is made where
    /// there is none, and no other scheduler can open it until this and its
    /// clones are dropped; a server takes several schedulers, of which one leads.
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

    /// Ends all connections after what is under way, and folds the write-ahead
    /// log into the database. Optional: what is committed needs no farewell.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Begins a new epoch: the commits of every earlier one are refused.
    pub async fn lead(&self, holder: &str, wall: Timestamp) -> Result<Epoch, StoreError> {
        leader::lead(&self.database, holder, wall).await
    }

    /// Takes the lease for `term`, unless somebody else holds it.
    pub async fn campaign(
        &self,
        candidate: &Candidate,
        term: Duration,
    ) -> Result<Campaign, StoreError> {
        leader::campaign(&self.database, candidate, term).await
    }

    /// Leads for another `term`; [`StoreError::NotLeader`] where another has
    /// taken over.
    pub async fn renew(&self, epoch: Epoch, term: Duration) -> Result<(), StoreError> {
        leader::renew(&self.database, epoch, term).await
    }

    /// Ends a leadership before its lease does.
    pub async fn resign(&self, epoch: Epoch) -> Result<(), StoreError> {
        leader::resign(&self.database, epoch).await
    }

    /// Writes a round, all of it or nothing; durable when this returns. The
    /// last round given again changes nothing and succeeds, so a commit whose
    /// answer was lost is simply asked again.
    pub async fn commit(&self, round: &Round<'_>) -> Result<(), StoreError> {
        commit::commit(&self.database, round).await
    }

    /// Everything that is not over and settled, as of the last round.
    pub async fn load(&self) -> Result<Loaded, StoreError> {
        load::load(&self.database).await
    }

    /// One job, over or not.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        jobs::find(&self.database, id).await
    }

    /// The newest job of this very name that is not over, else the newest.
    pub async fn newest_by_name(&self, name: &str) -> Result<Option<JobId>, StoreError> {
        jobs::newest_by_name(&self.database, name).await
    }

    /// Resubmissions of jobs of this name with a number above `after`, oldest first.
    pub async fn resubmissions(&self, name: &str, after: JobId) -> Result<Vec<Job>, StoreError> {
        jobs::resubmissions(&self.database, name, after).await
    }

    /// The jobs of the submission whose first job this is, oldest first.
    pub async fn group(&self, group: JobId) -> Result<Vec<Job>, StoreError> {
        jobs::group(&self.database, group).await
    }

    /// Jobs that pass a filter, newest first.
    pub async fn list(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        jobs::list(&self.database, filter).await
    }

    /// All attempts at a job, oldest first.
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

    /// Charges that pass a filter, by their beginning.
    pub async fn ledger(&self, filter: &LedgerFilter) -> Result<Vec<LedgerEntry>, StoreError> {
        ledger::list(&self.database, filter).await
    }

    /// What an idempotency key stands for.
    pub async fn submission(&self, key: &str) -> Result<Option<SubmissionRecord>, StoreError> {
        self.lookups.find(&self.database, key).await
    }

    /// A value that was set by name.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        meta::get(&self.database, key).await
    }

    /// Sets a value by name. Not fenced: for what holds whoever leads.
    pub async fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        meta::set(&self.database, key, value).await
    }
}
