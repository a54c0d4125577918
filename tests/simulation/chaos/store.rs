//! A store in memory: rounds are committed whole or not at all, and only by the
//! newest epoch.

use std::collections::BTreeMap;

use spotwise_control::core::{
    Attempts, AvailabilityHistory, Change, OwnLog, PriceBook, State, SubmissionRecord,
};
use spotwise_model::{
    Attempt, AttemptId, AttemptState, Ending, Instance, InstanceId, InstanceState, Job, JobId,
    LedgerEntry, Now, PoolSet,
};

use spotwise_store::{Candidate, Epoch, LeaderRecord, StoreError, Turn};

/// All that lasts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) instances: BTreeMap<InstanceId, Instance>,
    pub(crate) ledger: BTreeMap<(InstanceId, u32), LedgerEntry>,
    pub(crate) submissions: BTreeMap<String, SubmissionRecord>,
    pub(crate) last_event: u64,
    pub(crate) availability: AvailabilityHistory,
    pub(crate) prices: PriceBook,
    pub(crate) pools: PoolSet,
}

/// The store, and who leads.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) tables: Tables,
    /// The very row, and the very rule, of the real store.
    pub(crate) leader_record: LeaderRecord,
    /// Rounds that were written.
    pub(crate) rounds: u64,
    /// Rounds of an epoch that was over.
    pub(crate) refused: u64,
    /// It is an older one, of this time, and no leader has told its jobs yet.
    pub(crate) restored: Option<Now>,
    /// The highest number of a job that left anything before.
    pub(crate) last_job: u64,
}

impl Default for Store {
    fn default() -> Self {
        let incumbent = Candidate { holder: String::new(), address: String::new() };
        let leader_record =
            LeaderRecord { epoch: Epoch(0), round: 0, round_epoch: Epoch(0), incumbent };
        Self {
            tables: Tables::default(),
            leader_record,
            rounds: 0,
            refused: 0,
            restored: None,
            last_job: 0,
        }
    }
}

impl Store {
    /// Begins the next epoch.
    pub(crate) fn lead(&mut self) -> Epoch {
        self.leader_record.epoch.0 += 1;
        self.leader_record.epoch
    }

    /// Writes a round.
    pub(crate) fn commit(
        &mut self,
        epoch: Epoch,
        round: u64,
        changes: &[Change],
    ) -> Result<(), StoreError> {
        match self.leader_record.turn(epoch, round) {
            Ok(Turn::Repeated) => return Ok(()),
            Ok(Turn::Next) => {}
            Err(refused) => {
                self.refused += 1;
                return Err(refused);
            }
        }
        self.leader_record.round = round;
        self.leader_record.round_epoch = epoch;
        self.rounds += 1;
        for change in changes {
            self.tables.write(change);
        }
        Ok(())
    }
}

impl Tables {
    /// Whether a key of a new submission is in the table: the real one refuses
    /// the round.
    pub(crate) fn has_key_of(&self, changes: &[Change]) -> bool {
        changes.iter().any(|change| {
            matches!(change, Change::Submission(new) if self.submissions.contains_key(&new.key))
        })
    }

    fn write(&mut self, change: &Change) {
        match change {
            Change::Job(job) => drop(self.jobs.insert(job.id, (**job).clone())),
            Change::Attempt(attempt) => {
                self.attempts.insert(attempt.id, (**attempt).clone());
            }
            Change::Instance(machine) => {
                self.instances.insert(machine.id, (**machine).clone());
            }
            Change::Ledger(entries) => {
                for entry in entries {
                    let key = (entry.instance, entry.sequence);
                    let before = self.ledger.insert(key, entry.clone());
                    // The primary key of the real table refuses it.
                    assert!(before.is_none(), "{key:?} is charged twice");
                }
            }
            Change::Submission(record) => {
                let before = self.submissions.insert(record.key.clone(), record.clone());
                assert!(before.is_none(), "the key {} is used twice", record.key);
            }
            Change::Event(event) => {
                assert_eq!(event.number, self.last_event + 1, "events have no gaps");
                self.last_event = event.number;
            }
            Change::Availability(update) => self.availability.take(&stored(update)),
            Change::Prices(update) => self.prices.apply(&stored(update)),
            Change::Pools(pools) => self.pools = stored(&**pools),
            // Nobody has a name here, and nobody freezes anything.
            Change::Token(_) | Change::Audit(_) | Change::Freeze(_) => {}
        }
    }

    /// What a starting scheduler reads: as `store::load` does, through the very
    /// documents that the real tables hold.
    pub(crate) fn load(&self) -> State {
        let settled = |a: &&Attempt| !matches!(a.state, AttemptState::Settled { .. });
        let attempts: Attempts = self.attempts.values().filter(settled).map(stored).collect();
        let busy = |id: &JobId| {
            let all = AttemptId { job: *id, number: 0 }..=AttemptId { job: *id, number: u32::MAX };
            attempts.range(all).next().is_some()
        };
        let unfinished = |job: &&Job| !job.state.is_terminal() || busy(&job.id);
        let jobs: BTreeMap<JobId, Job> =
            self.jobs.values().filter(unfinished).map(|job| (job.id, stored(job))).collect();
        let open = |i: &&Instance| !matches!(i.state, InstanceState::Gone { settled: true, .. });
        let instances = self.instances.values().filter(open).map(|i| (i.id, stored(i))).collect();
        let mut ended_parents = BTreeMap::new();
        for parent in jobs.values().filter(|j| !j.state.is_terminal()).flat_map(|j| &j.after) {
            if !jobs.contains_key(parent)
                && let Some(ending) = self.jobs.get(parent).and_then(|job| job.state.ending())
            {
                ended_parents.insert(*parent, ending);
            }
        }
        let last_instance = self.instances.keys().next_back().map_or(0, |id| id.0);
        let mut own_log = OwnLog::default();
        for machine in self.instances.values() {
            own_log.note(&stored(machine), last_instance);
        }
        State {
            jobs,
            attempts,
            instances,
            own_log,
            ended_parents,
            last_job: self.jobs.keys().next_back().map_or(0, |id| id.0),
            last_instance,
            last_event: self.last_event,
            settled_total: self.ledger.values().map(|entry| entry.amount).sum(),
            prices: PriceBook::stored(self.prices.rows(), self.prices.until()),
            availability: AvailabilityHistory::stored(
                self.availability.rows().collect(),
                self.availability.windows().collect(),
            ),
            pools: self.pools.clone(),
            ..State::default()
        }
    }

    /// What of `named` is over, and how it ended: what the service looks up.
    pub(crate) fn outcomes(&self, named: &[JobId]) -> Vec<(JobId, Ending)> {
        let ended = named.iter().filter_map(|id| Some((*id, self.jobs.get(id)?.state.ending()?)));
        ended.collect()
    }

    /// The last moment that any table names.
    pub(crate) fn live_machines(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|machine| !machine.ended())
    }
}

/// A value as it comes back from its document.
fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("what is stored can be written");
    serde_json::from_str(&text).expect("what was written can be read")
}
