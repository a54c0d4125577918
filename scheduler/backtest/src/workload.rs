//! Many jobs competing for limited capacity: the same phases as the scheduler's in virtual
//! time, under several planners and several operator's policies.
//!
//! Time moves from event to event: a submission, a worker that is up or finished, a change
//! of the market, and a round at least every [`Options::round_every`]. Durations are as in
//! the job files. A machine that is taken back is gone at once; its job saves what it did.
//! Nothing here is random.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use spotwise_model::Plan;
use spotwise_model::id::PoolName;
use spotwise_model::plan::Method;
use spotwise_model::policy::Policy;
use spotwise_model::time::after;
use spotwise_solver::{PlanInput, PoolLimit, baseline, check};

use super::error::BacktestError;
use super::jobs::{self, Arrival, JobsOptions};
use super::measure::{Measures, Plans, measure, series};
use super::parallel::in_parallel;
use super::shared_market::{self, SharedMarketOptions};
use super::simulated_workers::SimulatedWorkers;
use super::skipped::Skipped;
use spotwise_control::Command;
use spotwise_control::command::Submit;
use spotwise_control::config::Config;
use spotwise_control::world::World;
use spotwise_market::{Catalog, Market};

/// A replay is given up this long after the end of the market, whose last rows still hold
/// there.
const OVERTIME: Duration = Duration::from_secs(60 * 86_400);

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What is offered.
    pub market: SharedMarketOptions,
    /// What is submitted.
    pub jobs: JobsOptions,
    /// From a launch to the first step of the work.
    pub changeover: Duration,
    /// Planners, by name.
    pub planners: Vec<String>,
    /// The operator's policy.
    pub policy: Policy,
    /// Other policies under which spotwise replays the same jobs, with their names.
    pub other_policies: Vec<(String, Policy)>,
    /// A round is made at least this often.
    pub round_every: Duration,
    /// The longest that one plan may take (wall time).
    pub plan_time_limit: Duration,
}

/// The results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The recording.
    pub market: String,
    /// Its first moment.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// Jobs submitted.
    pub submissions: usize,
    /// Jobs of the trace left out.
    pub skipped: Skipped,
    /// Spot machines of each type in a zone while it has any.
    pub capacity: u32,
    /// On-demand machines of each type in a zone, if given.
    pub on_demand_capacity: Option<u32>,
    /// One for each planner and policy.
    pub results: Vec<Measures>,
}

/// Makes the plans of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planner {
    /// Ours.
    Spotwise,
    /// [`baseline::greedy`].
    Greedy,
    /// [`baseline::uniform_progress`].
    UniformProgress,
}

impl Planner {
    /// Every planner.
    pub const ALL: [Self; 3] = [Self::Spotwise, Self::Greedy, Self::UniformProgress];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spotwise => "spotwise",
            Self::Greedy => "greedy",
            Self::UniformProgress => "uniform-progress",
        }
    }

    fn named(name: &str) -> Result<Self, BacktestError> {
        Self::ALL.into_iter().find(|planner| planner.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            BacktestError::UnknownPlanner { name: name.to_owned(), known }
        })
    }

    fn plan(self, input: &PlanInput) -> Plan {
        match self {
            Self::Spotwise => spotwise_solver::plan(input).0,
            Self::Greedy => baseline::greedy(input),
            Self::UniformProgress => baseline::uniform_progress(input),
        }
    }
}

/// Replays the jobs under every planner, and under every other policy. `progress` is called
/// with the planner, how many jobs have ended, and how many there are in total.
pub fn run(
    options: &Options,
    progress: &(dyn Fn(&str, usize, usize) + Sync),
) -> Result<Report, BacktestError> {
    if options.planners.is_empty() {
        return Err(BacktestError::Empty { what: "planners" });
    }
    if options.round_every.is_zero() {
        let (range, value) = ("longer than nothing".to_owned(), "0s".to_owned());
        return Err(BacktestError::Range { what: "round-every", range, value });
    }
    let planners = options.planners.iter().map(|name| Planner::named(name));
    let mut replays: Vec<(String, Planner, &Policy)> = Vec::new();
    for planner in planners.collect::<Result<Vec<_>, _>>()? {
        replays.push((planner.name().to_owned(), planner, &options.policy));
    }
    for (name, policy) in &options.other_policies {
        replays.push((format!("spotwise, {name}"), Planner::Spotwise, policy));
    }
    let market = shared_market::read(&options.market, &Catalog::built_in())?;
    let stage = shared_market::stage(&market);
    let (arrivals, skipped) = jobs::read(&options.jobs, &stage)?;
    let machines = shared_market::on_demand(&market);
    let replayed = in_parallel(&replays, |(name, planner, policy)| {
        let mut replay = Replay::new(*planner, &market, &arrivals, options, policy);
        replay.run_to_the_end(&|over| progress(name, over, arrivals.len()))?;
        Ok(replay)
    })?;
    // All of one length, so that their plots can be laid over each other.
    let last = replayed.iter().map(|replay| replay.world.now).max().unwrap_or(stage.end);
    let results = replayed.iter().zip(&replays).map(|(replay, (name, ..))| Measures {
        series: series(&replay.world.committed, stage.start, last),
        ..measure(name.clone(), &replay.world.committed, &machines, replay.plans)
    });
    Ok(Report {
        market: options.market.source.table.display().to_string(),
        start: stage.start,
        end: stage.end,
        submissions: arrivals.len(),
        skipped,
        capacity: options.market.capacity,
        on_demand_capacity: options.market.on_demand_capacity,
        results: results.collect(),
    })
}

/// One planner's replay.
struct Replay<'a> {
    planner: Planner,
    arrivals: &'a [Arrival],
    /// The next of them.
    next: usize,
    world: World,
    workers: SimulatedWorkers,
    round_every: Duration,
    next_round: Timestamp,
    horizon: Timestamp,
    plans: Plans,
}

impl<'a> Replay<'a> {
    fn new(
        planner: Planner,
        market: &Market,
        arrivals: &'a [Arrival],
        options: &Options,
        policy: &Policy,
    ) -> Self {
        let config = Config {
            // The recording says when a machine is gone: the notice comes with it.
            notice_lead: Duration::ZERO,
            plan_time_limit: options.plan_time_limit,
            max_live_jobs: usize::MAX / 2,
            policy: policy.clone(),
            ..Config::default()
        };
        let pool = PoolName::new("market");
        let total =
            PoolLimit { pool, cpu_milli: u64::MAX / 2, memory_mib: u64::MAX / 2, gpus: None };
        let start = market.start();
        let world = World::new(market.clone(), config, &total, start);
        Self {
            planner,
            arrivals,
            next: 0,
            world,
            workers: SimulatedWorkers::new(options.changeover),
            round_every: options.round_every,
            next_round: start,
            horizon: after(market.end(), OVERTIME),
            plans: Plans::default(),
        }
    }

    /// Runs until everything has ended. `progress` is called with how many jobs have.
    fn run_to_the_end(&mut self, progress: &dyn Fn(usize)) -> Result<(), BacktestError> {
        while let Some(at) = self.next_event().filter(|at| *at <= self.horizon) {
            let changed = self.world.market.next_change(self.world.now) == Some(at);
            self.world.now = at;
            let done = self.workers.act(&mut self.world);
            let came = self.submit()?;
            if changed || done || came || at >= self.next_round {
                self.make_rounds()?;
                self.next_round = after(at, self.round_every);
                progress(self.next - self.world.state.jobs.len().min(self.next));
            }
        }
        Ok(())
    }

    fn next_event(&self) -> Option<Timestamp> {
        let arrival = self.arrivals.get(self.next).map(|arrival| arrival.at);
        let state = &self.world.state;
        // A scheduler watches the market while it waits for jobs, too.
        let busy = !state.jobs.is_empty() || !state.instances.is_empty() || arrival.is_some();
        let change = busy.then(|| self.world.market.next_change(self.world.now)).flatten();
        let round = busy.then_some(self.next_round);
        [arrival, self.workers.next_moment(), change, round].into_iter().flatten().min()
    }

    /// Submits what is due now. True if anything was.
    fn submit(&mut self) -> Result<bool, BacktestError> {
        let first = self.next;
        while let Some(arrival) = self.arrivals.get(self.next)
            && arrival.at <= self.world.now
        {
            self.next += 1;
            let request = Submit {
                submission: arrival.submission.clone(),
                document_hash: String::new(),
                key: None,
                known: None,
                ended_parents: Vec::new(),
                arrays: std::collections::BTreeMap::new(),
            };
            self.world.command(Command::Submit(request)).map_err(|refusal| {
                let name = arrival.submission.jobs.first().map(|job| job.name.clone());
                BacktestError::Refused {
                    name: name.unwrap_or_default(),
                    problem: refusal.to_string(),
                }
            })?;
        }
        Ok(self.next > first)
    }

    /// The rounds that a scheduler makes within the second after an event: for what ended
    /// and what was taken back, then a plan; if that stops jobs to move them, another one
    /// when they have stopped.
    fn make_rounds(&mut self) -> Result<(), BacktestError> {
        self.round_without_plan();
        for _ in 0..2 {
            let input = self.world.plan_input();
            if input.jobs.is_empty() && input.running.is_empty() {
                break;
            }
            let plan = self.plan(&input)?;
            let moves = !plan.moves.is_empty();
            self.world.round(Some(plan));
            self.workers.boot_launched(&self.world);
            if !moves {
                break;
            }
            self.round_without_plan();
        }
        self.world.state.forget_settled();
        Ok(())
    }

    fn round_without_plan(&mut self) {
        self.world.round(None);
        if self.workers.obey_stops(&mut self.world) {
            self.world.round(None);
        }
    }

    fn plan(&mut self, input: &PlanInput) -> Result<Plan, BacktestError> {
        let plan = self.planner.plan(input);
        self.plans.made += 1;
        self.plans.cut_short += u64::from(plan.method == Method::TimeLimit);
        check(input, &plan).map_err(|wrong| BacktestError::WrongPlan {
            planner: self.planner.name().to_owned(),
            at: input.now,
            problem: wrong.first().map(ToString::to_string).unwrap_or_default(),
        })?;
        Ok(plan)
    }
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
