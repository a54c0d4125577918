//! What must hold after every round and at the end, judged from outside.

use std::collections::BTreeMap;

use spotwise_model::instance::EndedBy;
use spotwise_model::job::FailReason;
use spotwise_model::{AttemptId, AttemptState, InstanceState, JobId, JobState, Outcome};
use spotwise_scheduler::core::Change;

use super::crew::Pid;
use super::faults::Kind;
use super::sim::{Event, Sim};
use super::time::{self, MINUTE, Ms, SECOND};

/// Nothing of an attempt that is over is left for longer: the reaper's period,
/// the longest lag of a list, and the latest kill.
const ORPHAN_BOUND: Ms = 20 * MINUTE;

/// Figures of a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) plans: u64,
    pub(crate) rounds: u64,
    pub(crate) workers: u64,
    pub(crate) leaders: u64,
    pub(crate) away_since: Option<Ms>,
    /// After the loss of the leader or the store: from when a scheduler and the
    /// store were there (again) to the next round.
    pub(crate) recoveries: Vec<Ms>,
    pub(crate) longest_orphan: Ms,
    /// Commands without their worker beside which a replacement runs, and since when.
    abandoned: BTreeMap<Pid, Ms>,
    /// The longest time that such a command ran on.
    pub(crate) longest_overlap: Ms,
    pub(crate) overrun: i64,
    /// Over a budget by what its machines cost while nobody led.
    pub(crate) overrun_away: i64,
    forgiven: BTreeMap<JobId, i64>,
    /// Since when no round can be written, and the times before.
    gap_since: Option<Ms>,
    gaps: Vec<(Ms, Ms)>,
    pub(crate) attempts: u64,
    pub(crate) interruptions: u64,
    pub(crate) jobs: u64,
    pub(crate) charged: i64,
    /// Micro-dollars that the ledger has and the meter has not.
    pub(crate) overcharged: i64,
    /// Micro-dollars that the meter has and the ledger has not.
    pub(crate) uncharged: i64,
}

impl Sim {
    /// Before a round is written.
    pub(crate) fn check_round(&mut self, changes: &[Change]) {
        let mut broken = Vec::new();
        let mut now_live: BTreeMap<JobId, AttemptId> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Job(job) => {
                    let before = self.store.tables.jobs.get(&job.id);
                    if let Some(before) = before.filter(|before| before.state.is_terminal())
                        && before.state != job.state
                    {
                        broken.push(format!(
                            "{} was {:?} and is {:?}",
                            job.id, before.state, job.state
                        ));
                    }
                }
                Change::Attempt(attempt) => {
                    let before = self.store.tables.attempts.get(&attempt.id);
                    if before.is_some_and(|b| !b.state.is_live()) && attempt.state.is_live() {
                        broken.push(format!("{} lives again", attempt.id));
                    }
                    let heard =
                        |a: &spotwise_model::Attempt| (a.nodes.clone(), a.checkpoint, a.progress);
                    if before.is_some_and(|b| !b.state.is_live() && heard(b) != heard(attempt)) {
                        broken.push(format!("{} is over and was heard", attempt.id));
                    }
                    if attempt.state.is_live() {
                        now_live.insert(attempt.id.job, attempt.id);
                    }
                }
                _ => {}
            }
        }
        for what in broken {
            self.fail(what);
        }
    }

    /// After a round was written: the cloud hears of it, and what must hold
    /// between rounds is checked.
    pub(crate) fn follow(&mut self, changes: &[Change]) {
        let now = self.cloud_time();
        for change in changes {
            match change {
                Change::Event(event) => {
                    self.say(|| format!("  {} {}", event.job, event.message));
                }
                Change::Instance(machine) => {
                    if let Err(what) = self.cloud.follow(machine, now) {
                        self.fail(what);
                    }
                    if let InstanceState::Noticed { at, reclaim_at, .. } = machine.state {
                        self.on_notice(
                            machine,
                            time::moment(self.start, at),
                            time::moment(self.start, reclaim_at),
                        );
                    }
                }
                Change::Attempt(attempt) => {
                    if let (Some(order), true) = (attempt.stop, attempt.state.is_live()) {
                        self.hint(attempt.id, order.reason);
                    }
                }
                _ => {}
            }
        }
        self.check_jobs(changes);
    }

    fn on_notice(&mut self, machine: &spotwise_model::Instance, at: Ms, reclaim_at: Ms) {
        let id = machine.id;
        let offer = &machine.offer;
        if self.place.reclaims.iter().any(|r| (*r..*r + 15 * SECOND).contains(&at)) {
            self.note(Kind::MassReclaim);
        }
        if self.place.droughts.iter().any(|(from, _)| (*from..*from + 5 * SECOND).contains(&at)) {
            self.note(Kind::IceAllPools);
        }
        // Capacity that comes back, or goes once more, before the machine goes.
        let mut moment = at;
        let mut available = 0;
        while let Some(next) = self.place.market.next_change(time::at(self.start, moment)) {
            moment = time::moment(self.start, next);
            if moment >= reclaim_at {
                break;
            }
            let quote = self.place.market.quote(
                &offer.zone,
                &offer.instance_type,
                offer.capacity_type,
                next,
            );
            let there = quote.map_or(0, |quote| quote.available);
            if there > available && self.recipe.kinds.contains(&Kind::NoticeWithdrawn) {
                self.note(Kind::NoticeWithdrawn);
            }
            if there < available && self.recipe.kinds.contains(&Kind::NoticeTwice) {
                self.note(Kind::NoticeTwice);
            }
            available = there;
        }
        let goes = if self.strikes(Kind::NoticeLate, 8) { self.now + SECOND } else { reclaim_at };
        if self.strikes(Kind::WrongInstance, 8) {
            let others: Vec<_> = self
                .store
                .tables
                .live_machines()
                .filter(|m| m.offer == *offer && m.id != id)
                .map(|m| m.id)
                .collect();
            if let Some(other) = others.first() {
                self.at(reclaim_at, Event::MachineGone(*other));
            }
        } else {
            self.at(goes, Event::MachineGone(id));
        }
    }

    fn check_jobs(&mut self, changes: &[Change]) {
        let touched = changes.iter().filter_map(|change| match change {
            Change::Job(job) => Some(job.id),
            Change::Attempt(attempt) => Some(attempt.id.job),
            _ => None,
        });
        let mut broken = Vec::new();
        for id in touched.collect::<std::collections::BTreeSet<_>>() {
            let tables = &self.store.tables;
            let Some(job) = tables.jobs.get(&id) else {
                broken.push(format!("{id} has attempts and is not there"));
                continue;
            };
            let all = AttemptId { job: id, number: 0 }..=AttemptId { job: id, number: u32::MAX };
            let attempts: Vec<_> = tables.attempts.range(all).map(|(_, attempt)| attempt).collect();
            let live = attempts.iter().filter(|a| a.state.is_live()).count();
            let active = matches!(job.state, JobState::Active { .. });
            if live > 1 || active != (live == 1) {
                broken.push(format!("{id} is {} and has {live} live attempts", job.state.name()));
            }
            if let Some(budget) = job.spec.budget {
                if attempts.iter().any(|a| a.state.is_live() && a.hold.micros() <= 0) {
                    broken.push(format!("{id} has a budget and runs without a hold"));
                }
                let held: i64 = attempts
                    .iter()
                    .filter(|a| !matches!(a.state, AttemptState::Settled { .. }))
                    .map(|a| a.hold.micros())
                    .sum();
                let over = job.spent.micros() + held - budget.micros();
                let forgiven = self.tally.forgiven.get(&id).copied().unwrap_or(0);
                if over > forgiven && over <= self.cost_of_absence(&attempts) {
                    self.tally.forgiven.insert(id, over);
                    self.tally.overrun_away = self.tally.overrun_away.max(over);
                } else if over > forgiven {
                    broken.push(format!(
                        "{id}: {} spent and {held} held of a budget of {}",
                        job.spent.micros(),
                        budget.micros()
                    ));
                    self.tally.overrun = self.tally.overrun.max(over);
                }
            }
        }
        for what in broken {
            self.fail(what);
        }
    }

    /// No round can be written from now on.
    pub(crate) fn nobody_leads(&mut self) {
        self.tally.gap_since.get_or_insert(self.now);
    }

    /// Rounds are written again.
    pub(crate) fn somebody_leads(&mut self) {
        if let Some(since) = self.tally.gap_since.take() {
            self.tally.gaps.push((since, self.now));
        }
        if let Some(since) = self.tally.away_since.take() {
            self.tally.recoveries.push(self.now - since);
        }
    }

    /// What the machines of these attempts cost at most in that part of the last
    /// hour in which nobody could stop them: micro-dollars.
    fn cost_of_absence(&self, attempts: &[&spotwise_model::Attempt]) -> i64 {
        let from = self.now.saturating_sub(time::HOUR);
        let gaps = self.tally.gaps.iter().filter(|(_, to)| *to > from);
        // A second more for each: looks come once in a second.
        let away: Ms = gaps.map(|(since, to)| to - from.max(*since) + SECOND).sum();
        let rates = attempts
            .iter()
            .map(|attempt| self.place.on_demand_price(&attempt.offer) * attempt.nodes.len() as i64);
        let rate = rates.max().unwrap_or(0);
        rate * i64::try_from(away.div_ceil(SECOND)).unwrap_or(i64::MAX) / 3_600 + 1
    }

    /// A command is about to run: no other of its job may.
    pub(crate) fn start_command(&mut self, pid: Pid) {
        let now = self.now;
        let place = self.cloud.workers[&pid].place;
        let others: Vec<(Pid, bool)> = self
            .cloud
            .workers
            .iter()
            .filter(|(other, w)| {
                **other != pid
                    && w.place.attempt.job == place.attempt.job
                    && w.running_since.is_some()
                    && (w.place.attempt != place.attempt || w.place.rank == place.rank)
            })
            .map(|(other, w)| (*other, w.alive))
            .collect();
        for (other, alive) in others {
            let whose = self.cloud.workers[&other].place.attempt;
            if alive {
                self.fail(format!("{} starts while {whose} (worker {other}) runs", place.attempt));
            } else {
                self.tally.abandoned.entry(other).or_insert(now);
                self.say(|| {
                    format!("{} starts while an abandoned command of {whose} runs", place.attempt)
                });
            }
        }
        if let Some(worker) = self.cloud.workers.get_mut(&pid) {
            worker.start(now);
        }
    }

    /// A command has ended: whatever it was, how long was it nobody's?
    pub(crate) fn command_over(&mut self, pid: Pid) {
        let Some(worker) = self.cloud.workers.get(&pid) else { return };
        if !worker.alive {
            self.pool_changed();
        }
        if let Some(since) = self.tally.abandoned.remove(&pid) {
            let overlap = self.now.saturating_sub(since);
            self.tally.longest_overlap = self.tally.longest_overlap.max(overlap);
        }
        let Some(worker) = self.cloud.workers.get(&pid) else { return };
        let attempt = self.store.tables.attempts.get(&worker.place.attempt);
        let Some(over) = attempt.and_then(|a| a.state.ended()) else { return };
        if worker.started {
            let orphan = self.now.saturating_sub(time::moment(self.start, over.wall));
            if orphan > ORPHAN_BOUND {
                let whose = worker.place.attempt;
                self.fail(format!("{whose} ran on for {} s after its end", orphan / SECOND));
            }
            self.tally.longest_orphan = self.tally.longest_orphan.max(orphan);
        }
    }

    /// Whether nothing is left to happen.
    pub(crate) fn is_over(&self) -> bool {
        let tables = &self.store.tables;
        let settled = |a: &spotwise_model::Attempt| matches!(a.state, AttemptState::Settled { .. });
        tables.jobs.values().all(|j| j.state.is_terminal() || is_out_of_money(j))
            && tables.attempts.values().all(settled)
            && tables
                .instances
                .values()
                .all(|i| matches!(i.state, InstanceState::Ended { settled: true, .. }))
            && self.cloud.workers.values().all(|w| !w.exists())
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
            let nature = self.submission_of(&job.spec.name).map(|client| client.nature);
            let faulty = nature.is_some_and(|n| n.exits_at_once.is_some() || n.fails_late);
            if failed && !faulty {
                broken.push(format!("{} failed for what it did not do: {:?}", job.id, job.state));
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
            if let Some(job) = entry.job() {
                *spent.entry(job).or_default() += entry.amount.micros();
            }
        }
        let mut broken = Vec::new();
        for id in self.cloud.machines.keys() {
            let booked = booked.remove(id).unwrap_or(0);
            let bill = self.cloud.bill(*id, &self.place);
            let error = booked - bill.unwrap_or(0);
            self.tally.overcharged += error.max(0);
            self.tally.uncharged += (-error).max(0);
            match bill {
                Some(bill) if error == 0 => self.tally.charged += bill,
                bill => broken.push(format!("{id}: booked {booked}, the cloud says {bill:?}")),
            }
        }
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
        let jumped = self.place.jumps.iter().filter(|jump| {
            let at = time::at(self.start, **jump);
            self.store.tables.instances.values().any(|machine| {
                let ended = match machine.state {
                    InstanceState::Ended { at, .. } => at,
                    _ => at,
                };
                (machine.since()..ended).contains(&at)
            })
        });
        for _ in 0..jumped.count() {
            self.fired.note(Kind::PriceJump.name());
        }
        let dry = self.place.droughts.iter().filter(|(from, to)| {
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
                JobState::Held { .. } => "job_held",
                _ => "job_open",
            });
        }
        for machine in tables.instances.values() {
            if matches!(machine.state, InstanceState::Ended { by: EndedBy::Provider, .. }) {
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
