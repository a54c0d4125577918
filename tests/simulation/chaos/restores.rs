//! The store is lost, and an older one comes back: what happened since has left its
//! leftovers with the workers alone.

mod backup;

use rand::RngExt;
use spotwise_control::command::Loaded;
use spotwise_control::core::Leftovers;
use spotwise_control::phase::restored::record_gaps;
use spotwise_control::phase::round::WorkingState;
use spotwise_model::{AttemptId, Now};
use spotwise_store::{Epoch, LeaderRecord};

pub(crate) use backup::Backup;

use super::events::Event;
use super::faults::Kind;
use super::sim::Sim;
use super::time::{self, HOUR, MINUTE, Ms, SECOND};
use super::worker::Pid;

/// What `db restore` adds to the epoch.
const EPOCHS_AHEAD: u64 = 1_000_000;

impl Sim {
    /// Copies the store; one time in four it will be lost within hours.
    pub(crate) fn back_up(&mut self) {
        if self.rng.random_range(0..4) > 0 || self.store.restored.is_some() {
            return;
        }
        let backup = Backup {
            tables: self.store.tables.clone(),
            leader_record: self.store.leader_record.clone(),
            machines: self.cloud.machines.clone(),
            made: self.clock(),
        };
        let span = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(SECOND..2 * MINUTE),
            1 => self.rng.random_range(MINUTE..HOUR),
            _ => self.rng.random_range(HOUR..12 * HOUR),
        };
        // Some of what runs has other attempts by then.
        for pid in self.running() {
            if self.rng.random_range(0..2) == 0 {
                let after = self.rng.random_range(0..span);
                self.later(after, Event::Kill(self.cloud.workers[&pid].place.attempt));
            }
        }
        self.later(span, Event::Restore(Box::new(backup)));
    }

    /// With the store goes a part of the network.
    fn tear(&mut self) {
        let lease = time::millis(self.config.lease);
        for pid in self.running() {
            let until = self.now + self.rng.random_range(0..lease);
            let cut = self.rng.random_range(0..2) == 0;
            if let Some(worker) = self.cloud.workers.get_mut(&pid).filter(|_| cut) {
                (worker.deaf_until, worker.mute_until) = (until, until);
                self.set_wake(pid);
            }
        }
    }

    /// Every scheduler dies with the store, and the next ones find the copy. What
    /// was accepted or bought since is in no book any more.
    pub(crate) fn restore(&mut self, backup: Backup) {
        if !self.is_stormy() || self.store_away || self.store.restored.is_some() {
            return;
        }
        self.note(Kind::OldBackup);
        for node in 0..self.nodes.len() {
            if self.nodes[node].up {
                self.crash(node);
            }
        }
        self.tear();
        let epoch = Epoch(
            self.store.leader_record.epoch.0.max(backup.leader_record.epoch.0) + EPOCHS_AHEAD,
        );
        self.store.tables = backup.tables;
        self.store.leader_record = LeaderRecord { epoch, ..backup.leader_record };
        self.store.restored = Some(backup.made);
        self.cloud.machines = backup.machines;
        self.account_is_half_known();
        let attempts = &self.store.tables.attempts;
        let named = self.cloud.named.keys().map(|place| place.attempt);
        self.cloud.forgotten = named.filter(|attempt| !attempts.contains_key(attempt)).collect();
        let known = &self.store.tables.submissions;
        let mut lost = Vec::new();
        for (number, client) in self.clients.iter_mut().enumerate() {
            // A backup may be of before another restore, where others had its numbers.
            let told = client.accepted.as_ref();
            let same = known.get(&client.key).is_some_and(|record| told == Some(&record.jobs));
            if !same && client.forget() {
                lost.push(number);
            }
        }
        for number in lost {
            self.fired.note("submission_lost_with_the_store");
            let after = self.rng.random_range(MINUTE..HOUR);
            self.later(after, Event::Client(number));
        }
    }

    /// What the first leader does that finds an older store: `serve::restored`.
    pub(crate) fn take_in(&mut self, epoch: Epoch, made: Now) {
        let mut leftovers = Leftovers::default();
        for place in self.cloud.named.keys() {
            leftovers.note(place.attempt.job, place.attempt.number);
        }
        self.store.last_job = leftovers.last_job();
        self.store.restored = None;
        let mut state = self.store.tables.load();
        let mut working = WorkingState { state: &mut state, changes: Vec::new() };
        record_gaps(&mut working, &leftovers, &self.config, made, self.clock());
        let changes = working.changes;
        if changes.is_empty() {
            return;
        }
        self.check_round(&changes);
        let round = self.store.leader_record.round + 1;
        match self.store.commit(epoch, round, &changes) {
            Ok(()) => self.follow(&changes),
            Err(error) => self.fail(format!("what was half known is refused: {error}")),
        }
    }

    /// The newest checkpoint that an earlier attempt of the job has saved, and how
    /// far it is.
    pub(crate) fn newest_saved_before(&self, pid: Pid) -> (Option<Loaded>, Ms) {
        let Some(own) = self.cloud.workers.get(&pid).map(|worker| worker.place.attempt) else {
            return (None, 0);
        };
        let first = AttemptId { number: 0, ..own };
        let saves = self.cloud.workers.values().filter_map(|worker| {
            let attempt = worker.place.attempt;
            let (sequence, done) = worker.saves.last_key_value()?;
            (first..own).contains(&attempt).then_some((attempt, *sequence, *done, worker))
        });
        let newest = saves.max_by_key(|(attempt, sequence, ..)| (*attempt, *sequence));
        newest.map_or((None, 0), |(attempt, sequence, done, worker)| {
            let step = worker.steps(done);
            (Some(Loaded { attempt, sequence, bytes: 1, step }), done)
        })
    }

    /// An attempt has been told where to go on: after a restore that is what was saved
    /// last, whatever the store knew.
    pub(crate) fn check_resumed(&mut self, pid: Pid, newest: (Option<Loaded>, Ms)) {
        let worker = &self.cloud.workers[&pid];
        let attempt = worker.place.attempt;
        let known = self.store.tables.jobs.get(&attempt.job).and_then(|job| job.restore_gap);
        let ((Some(saved), at), Some(known)) = (newest, known) else { return };
        let Some(task) = worker.task.filter(|task| task.saves_every.is_some()) else { return };
        if saved.attempt.number <= known.attempt && known.attempt < attempt.number {
            self.fired.note("resumed_after_a_restore");
            if task.done < at {
                let from = task.done / SECOND;
                self.fail(format!(
                    "{attempt} goes on at {from} s, {saved:?} is at {} s",
                    at / SECOND
                ));
            }
        }
    }
}
