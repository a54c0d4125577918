//! A scheduler in virtual time: the same phases and the same intake as the real one, with a
//! store in memory. Its user moves the clock and plays the workers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::pool::{HostLimits, PoolKind};
use spotwise_model::{
    Attempt, AttemptId, Instance, InstanceId, Job, JobId, LedgerEntry, Now, Plan, Pool, PoolSet,
};
use spotwise_solver::{PlanInput, PoolLimit};

use crate::config::Config;
use crate::core::{Change, State};
use crate::intake;
use crate::phase::plan::plan_input;
use crate::phase::round::{self, Received, RoundInputs, WorkingState};
use crate::{Command, Refusal, Reply};
use spotwise_market::Market;

/// A scheduler, its market, and everything it has ever committed.
#[derive(Debug)]
pub struct World {
    /// What the scheduler holds in memory.
    pub state: State,
    /// Prices and capacity.
    pub market: Market,
    /// The operator's choices.
    pub config: Config,
    /// Both times: a virtual second is a market second.
    pub now: Timestamp,
    /// Whether events are kept, as text.
    pub keep_history: bool,
    /// What a store would have kept.
    pub committed: Committed,
}

/// The latest committed value of everything.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Every job accepted.
    pub jobs: BTreeMap<JobId, Job>,
    /// Every attempt.
    pub attempts: BTreeMap<AttemptId, Attempt>,
    /// Every machine.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Every charge.
    pub ledger: Vec<LedgerEntry>,
    /// Every event, as text, if they are kept.
    pub history: Vec<String>,
}

impl World {
    /// An empty world with one pool, whose machines are there at once. `total` names it and
    /// says what it has in all.
    pub fn new(market: Market, config: Config, total: &PoolLimit, now: Timestamp) -> Self {
        let host = HostLimits {
            cpu_milli: total.cpu_milli,
            memory_mib: total.memory_mib,
            gpus: total.gpus,
        };
        let mut pool =
            Pool::of_host(total.pool.clone(), PoolKind::Local, host, config.policy.changeover);
        pool.features.notice_lead = config.notice_lead;
        let pools = PoolSet::of([pool]);
        Self {
            state: State { pools, ..State::default() },
            market,
            config,
            now,
            keep_history: false,
            committed: Committed::default(),
        }
    }

    /// Both times.
    pub fn clock(&self) -> Now {
        Now { market: self.now, wall: self.now }
    }

    /// A call from a client or a worker, answered at once.
    pub fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        let now = self.clock();
        let (made, reply) = intake::answer(&mut self.state, command, &self.config, now)?;
        let mut working = WorkingState { state: &mut self.state, changes: Vec::new() };
        working.take(made);
        let changes = working.changes;
        self.commit(changes);
        Ok(reply)
    }

    /// One round of every phase.
    pub fn round(&mut self, plan: Option<Plan>) {
        let now = self.clock();
        let mut working = WorkingState { state: &mut self.state, changes: Vec::new() };
        let inputs = RoundInputs { market: &self.market, config: &self.config };
        let prices = Some(round::ask_prices(working.state, &self.market, now));
        round::run(&mut working, Received { plan, prices }, inputs, now);
        let changes = working.changes;
        self.commit(changes);
    }

    /// The snapshot on which a planner decides.
    pub fn plan_input(&self) -> PlanInput {
        plan_input(&self.state, &self.config, self.clock())
    }

    fn commit(&mut self, changes: Vec<Change>) {
        let committed = &mut self.committed;
        for change in changes {
            match change {
                Change::Job(job) => drop(committed.jobs.insert(job.id, *job)),
                Change::Attempt(attempt) => drop(committed.attempts.insert(attempt.id, *attempt)),
                Change::Instance(machine) => drop(committed.instances.insert(machine.id, *machine)),
                Change::Ledger(entries) => committed.ledger.extend(entries),
                Change::Event(event) if self.keep_history => {
                    let line = format!("{} {} {}", event.at, event.job, event.message);
                    committed.history.push(line);
                }
                Change::Event(_)
                | Change::Submission(_)
                | Change::Availability(_)
                | Change::Prices(_)
                | Change::Pools(_)
                | Change::Freeze(_)
                | Change::Token(_)
                | Change::Audit(_) => {}
            }
        }
    }
}
