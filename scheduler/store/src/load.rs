//! Reading what a starting scheduler needs to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spotwise_model::{Ending, JobId};

use super::database::{Database, Row, Statement, Transaction};
use super::document::parse;
use super::{
    StoreError, access, attempts, instances, jobs, leader, ledger, meta, pools, prices, spells,
};
use spotwise_control::core::own_log::REMEMBERED;
use spotwise_control::core::{AvailabilityHistory, PriceBook, State};

/// Everything in the store that is not settled.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    state: State,
    /// The last round committed, by any leader: the next one has a higher number.
    pub last_round: u64,
    /// Rows that were set aside because they do not decode: table, key, reason. They remain
    /// unchanged in the database.
    pub quarantined: Vec<String>,
}

/// Reads it, as of a single moment.
pub(super) async fn load(database: &Database) -> Result<Loaded, StoreError> {
    let mut transaction = database.snapshot().await?;
    let mut loaded = Loaded::default();
    for row in jobs::unfinished(&mut transaction).await? {
        if let Some(job) = loaded.sort_out(jobs::read(&row)) {
            loaded.state.jobs.insert(job.id, job);
        }
    }
    loaded.take_attempts(&attempts::unsettled(&mut transaction).await?);
    for row in instances::unsettled(&mut transaction).await? {
        if let Some(instance) = loaded.sort_out(instances::read(&row)) {
            loaded.state.instances.insert(instance.id, instance);
        }
    }
    if let Some(document) = pools::stored(&mut transaction).await? {
        loaded.state.pools = loaded.sort_out(pools::read(&document)).unwrap_or_default();
    }
    if let Some(document) = meta::read(&mut transaction, meta::FROZEN).await? {
        let frozen = loaded.sort_out(parse("meta", meta::FROZEN, &document));
        loaded.state.frozen = frozen.unwrap_or_default();
    }
    let counts = spells::counts(&mut transaction).await?;
    let counts = counts.iter().filter_map(|row| loaded.sort_out(spells::read_count(row))).collect();
    let watches = spells::watches(&mut transaction).await?;
    let watches = watches.iter().filter_map(|row| loaded.sort_out(spells::read_watch(row)));
    loaded.state.availability = AvailabilityHistory::stored(counts, watches.collect());
    let heard = prices::rows(&mut transaction).await?;
    let heard: Vec<_> = heard.iter().filter_map(|row| loaded.sort_out(prices::read(row))).collect();
    loaded.state.prices = PriceBook::stored(heard, prices::until(&mut transaction).await?);
    for row in access::tokens(&mut transaction).await? {
        if let Some(token) = loaded.sort_out(access::read_token(&row)) {
            Arc::make_mut(&mut loaded.state.tokens).insert(token.id.clone(), token);
        }
    }
    loaded.state.audit = access::head(&mut transaction).await?;
    loaded.state.last_instance = last(&mut transaction, LAST_INSTANCE).await?;
    if loaded.state.pools.is_any_unknown() {
        loaded.read_own_log(&mut transaction).await?;
    }
    let state = &mut loaded.state;
    state.ended_parents = ended_parents(&mut transaction, state).await?;
    state.last_job = last(&mut transaction, LAST_JOB).await?;
    state.last_event = last(&mut transaction, LAST_EVENT).await?;
    state.settled_total = ledger::total(&mut transaction).await?;
    loaded.last_round = leader::last_round(&mut transaction).await?;
    Ok(loaded)
}

impl Loaded {
    /// The state after the last round; nothing is `seen` yet.
    pub fn into_state(self) -> State {
        self.state
    }

    /// What our machines have shown, settled or not: only of use where nobody counts.
    async fn read_own_log(&mut self, transaction: &mut Transaction) -> Result<(), StoreError> {
        let last = self.state.last_instance;
        let oldest = last.saturating_sub(REMEMBERED);
        for row in instances::settled_above(transaction, oldest).await? {
            if let Some(settled) = self.sort_out(instances::read(&row)) {
                self.state.own_log.note(&settled, last);
            }
        }
        let State { instances, own_log, .. } = &mut self.state;
        instances.values().for_each(|instance| own_log.note(instance, last));
        Ok(())
    }

    fn sort_out<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
        read.map_err(|error| self.quarantined.push(error.in_full())).ok()
    }

    /// A job and its attempts are set aside together: without an attempt that may still be
    /// running, the job would be started a second time.
    fn take_attempts(&mut self, rows: &[Row]) {
        let mut broken = BTreeSet::new();
        for row in rows {
            match self.sort_out(attempts::read(row)) {
                Some(attempt) => self.state.attempts.insert(attempt),
                None => broken.extend(row.unsigned("job").map(JobId)),
            }
        }
        for job in broken {
            if self.state.jobs.remove(&job).is_some() {
                self.quarantined.push(format!("table jobs, row {job}: one of its attempts is bad"));
            }
        }
        let Self { state, quarantined, .. } = self;
        let jobs = &state.jobs;
        state.attempts.retain(|attempt| {
            let kept = jobs.contains_key(&attempt.id.job);
            if !kept {
                let id = attempt.id;
                quarantined.push(format!("table attempts, row {id}: its job is set aside"));
            }
            kept
        });
    }
}

/// The endings of parents that live jobs name and that are not in memory.
async fn ended_parents(
    transaction: &mut Transaction,
    state: &State,
) -> Result<BTreeMap<JobId, Ending>, StoreError> {
    let live = state.jobs.values().filter(|job| !job.state.is_terminal());
    let parents = live.flat_map(|job| job.after.iter().copied());
    let gone = parents.filter(|parent| !state.jobs.contains_key(parent)).collect();
    jobs::outcomes(transaction, gone).await
}

// Numbers of rows that were set aside count too: no number is given twice.
const LAST_JOB: (&str, &str) = ("jobs", "SELECT COALESCE(MAX(id), 0) AS last FROM jobs");
const LAST_INSTANCE: (&str, &str) =
    ("instances", "SELECT COALESCE(MAX(id), 0) AS last FROM instances");
const LAST_EVENT: (&str, &str) = ("events", "SELECT COALESCE(MAX(number), 0) AS last FROM events");

async fn last(
    transaction: &mut Transaction,
    (table, sql): (&'static str, &'static str),
) -> Result<u64, StoreError> {
    let rows = transaction.fetch(Statement::new(table, sql)).await?;
    rows.first().map_or(Ok(0), |row| row.unsigned("last"))
}
