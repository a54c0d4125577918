//! What must hold when the faults are long over.

use std::collections::BTreeMap;

use spotwise_model::instance::EndedBy;
use spotwise_model::job::FailReason;
use spotwise_model::{
    AttemptId, AttemptState, CapacityType, InstanceState, JobId, JobState, Outcome,
};

use super::super::faults::Kind;
use super::super::sim::Sim;
use super::super::time::{self, SECOND};
use super::ORPHAN_BOUND;

impl Sim {
    /// Whether nothing is left to happen.
    pub(crate) fn is_over(&self) -> bool {
        let tables = &self.store.tables;
        let settled = |a: &spotwise_model::Attempt| matches!(a.state, AttemptState::Settled { .. });
        tables.jobs.values().all(|j| j.state.is_terminal() || is_out_of_money(j))
            && tables.attempts.values().all(settled)
            && tables
                .instances
                .values()
                .all(|i| matches!(i.state, InstanceState::Gone { settled: true, .. }))
            && self.cloud.workers.values().all(|w| !w.exists())
            && self.account_is_empty()
    }

    /// All of it, when the faults are long over.
    pub(crate) fn check_the_end(&mut self) {
        self.check_ends();
        self.check_books();
        self.check_submissions();
        self.count();
    }

    /// O1, O2, O6.
    fn check_ends(&mut self) {
        let tables = &self.store.tables;
        let mut broken = Vec::new();
        for job in tables.jobs.values() {
            let held = is_out_of_money(job);
            if !job.state.is_terminal() && !held {
                broken.push(format!("{} is still {:?}", job.id, job.state));
            }
            let cancelled = matches!(
                job.state,
                JobState::Cancelled { .. } | JobState::Succeeded { .. } | JobState::Failed { .. }
            );
            if job.cancel_asked.is_some() && !cancelled {
                broken.push(format!("{} was to be cancelled and is {}", job.id, job.state.name()));
            }
        }
        for job in tables.jobs.values() {
            let failed =
                matches!(job.state, JobState::Failed { why: FailReason::Errors { .. }, .. });
            let behaviour = self.submission_of(&job.spec.name).map(|client| client.behaviour);
            let faulty = behaviour.is_some_and(|n| n.exits_at_once.is_some() || n.fails_late);
            if failed && !faulty {
                broken.push(format!("{} failed for what it did not do: {:?}", job.id, job.state));
            }
        }
        // A stop is a stop: what succeeded was done, whatever its command returned. The
        // members of a gang work in step: who says that all is done says it of all of them.
        for job in tables.jobs.values() {
            let last = |place: AttemptId| place.job == job.id && place.number == job.attempts;
            let of_last = self.cloud.workers.values().filter(|it| last(it.place.attempt));
            let started: Vec<_> = of_last.filter(|worker| worker.started).collect();
            let undone = !started.is_empty() && !started.iter().any(|worker| worker.is_done());
            if matches!(job.state, JobState::Succeeded { .. }) && undone {
                broken.push(format!("{} succeeded, and was not done", job.id));
            }
        }
        for attempt in tables.attempts.values() {
            if !matches!(attempt.state, AttemptState::Settled { .. }) {
                broken.push(format!("{} is {}", attempt.id, attempt.state.name()));
            }
        }
        for (pid, worker) in &self.cloud.workers {
            if worker.exists() {
                broken.push(format!("worker {pid} of {} is left", worker.place.attempt));
            }
        }
        if self.tally.longest_orphan > ORPHAN_BOUND {
            broken.push(format!(
                "something was nobody's for {} s",
                self.tally.longest_orphan / SECOND
            ));
        }
        for what in broken {
            self.fail(what);
        }
    }

    /// O3: the ledger against the cloud's own meter.
    fn check_books(&mut self) {
        let mut booked: BTreeMap<_, i64> = BTreeMap::new();
        let mut spent: BTreeMap<JobId, i64> = BTreeMap::new();
        for entry in self.store.tables.ledger.values() {
            *booked.entry(entry.instance).or_default() += entry.amount.micros();
            if entry.offer.market.capacity_type == CapacityType::Reserved {
                self.tally.committed += entry.amount.micros();
            }
            if let Some(job) = entry.job() {
                *spent.entry(job).or_default() += entry.amount.micros();
            }
        }
        let mut broken: Vec<String> =
            self.cloud.misused(&self.simulated_market).into_iter().collect();
        for id in self.cloud.machines.keys() {
            let booked = booked.remove(id).unwrap_or(0);
            let bill = self.cloud.bill(*id, &self.simulated_market);
            let error = booked - bill.unwrap_or(0);
            self.tally.overcharged += error.max(0);
            self.tally.uncharged += (-error).max(0);
            match bill {
                Some(bill) if error == 0 => self.tally.charged += bill,
                bill => broken.push(format!("{id}: booked {booked}, the cloud says {bill:?}")),
            }
        }
        self.check_account(&mut booked);
        if !booked.is_empty() {
            broken.push(format!("charges for machines that never were: {booked:?}"));
        }
        for job in self.store.tables.jobs.values() {
            if job.spent.micros() != spent.get(&job.id).copied().unwrap_or(0) {
                broken.push(format!(
                    "{}: spent {:?}, ledger {:?}",
                    job.id,
                    job.spent,
                    spent.get(&job.id)
                ));
            }
        }
        for what in broken {
            self.fail(what);
        }
    }

    /// O1: what was accepted is there, once.
    fn check_submissions(&mut self) {
        let mut groups: BTreeMap<&str, std::collections::BTreeSet<JobId>> = BTreeMap::new();
        for job in self.store.tables.jobs.values() {
            let name = job.spec.name.trim_end_matches(['a', 'b']);
            groups.entry(name).or_default().insert(job.group);
        }
        let mut broken = Vec::new();
        for client in &self.clients {
            let made = groups.get(client.name.as_str()).map_or(0, std::collections::BTreeSet::len);
            if made > 1 {
                broken.push(format!("{} was accepted {made} times", client.key));
            }
            if let Some(jobs) = &client.accepted {
                if client.impostor {
                    broken.push(format!("{} was answered for another document", client.key));
                }
                for job in jobs {
                    if !self.store.tables.jobs.contains_key(job) {
                        broken.push(format!("{job} was accepted and is lost"));
                    }
                }
            } else if let Some(why) = client.refused.as_ref().filter(|_| !client.impostor) {
                broken.push(format!("{} was refused: {why}", client.key));
            }
        }
        for what in broken {
            self.fail(what);
        }
    }

    fn count(&mut self) {
        let jumped = self.simulated_market.jumps.iter().filter(|jump| {
            let at = time::at(self.start, **jump);
            self.store.tables.instances.values().any(|machine| {
                let ended = match machine.state {
                    InstanceState::Gone { at, .. } => at,
                    _ => at,
                };
                machine.since().is_some_and(|since| (since..ended).contains(&at))
            })
        });
        for _ in 0..jumped.count() {
            self.fired.note(Kind::PriceJump.name());
        }
        let dry = self.simulated_market.droughts.iter().filter(|(from, to)| {
            let (from, to) = (time::at(self.start, *from), time::at(self.start, *to));
            let meant = |job: &spotwise_model::Job| {
                job.submitted < to && job.state.ended().is_none_or(|ended| ended > from)
            };
            self.store.tables.jobs.values().any(meant)
        });
        for _ in 0..dry.count() {
            self.fired.note(Kind::IceAllPools.name());
        }
        let tables = &self.store.tables;
        self.tally.jobs = tables.jobs.len() as u64;
        self.tally.attempts = tables.attempts.len() as u64;
        let outcomes = tables.attempts.values().filter_map(|attempt| attempt.state.outcome());
        self.tally.interruptions =
            outcomes.filter(|outcome| matches!(outcome, Outcome::Interrupted)).count() as u64;
        for job in tables.jobs.values() {
            self.fired.note(match job.state {
                JobState::Succeeded { .. } => "job_succeeded",
                JobState::Failed { .. } => "job_failed",
                JobState::Cancelled { .. } => "job_cancelled",
                JobState::Skipped { .. } => "job_skipped",
                JobState::Held { .. } => "job_held",
                _ => "job_open",
            });
        }
        for machine in tables.instances.values() {
            if matches!(machine.state, InstanceState::Gone { by: EndedBy::Provider, .. }) {
                self.fired.note("machine_reclaimed");
            }
        }
    }
}

/// Its owner has to grant more: it may wait for ever.
fn is_out_of_money(job: &spotwise_model::Job) -> bool {
    use spotwise_model::WaitReason;
    match &job.state {
        JobState::Held { .. } => true,
        JobState::Waiting { why: WaitReason::OverBudget { .. }, .. } => true,
        // What it waits for may be out of money.
        JobState::Waiting { why: WaitReason::Dependencies { .. }, .. } => true,
        _ => false,
    }
}
