//! The results of a replay: figures for a table, and series for a plot.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use spotwise_model::attempt::StopReason;
use spotwise_model::resources::GPU_UNITS;
use spotwise_model::time::{between, hours};
use spotwise_model::{
    CapacityType, Instance, InstanceState, Job, JobState, Money, NodeShape, Outcome, Share,
};

use spotwise_control::world::Committed;

/// The results of one planner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measures {
    /// The planner, and the operator's policy if it is a different one.
    pub planner: String,
    /// The total of the ledger, in micro-dollars.
    pub cost_micros: i64,
    /// The cost of the work alone on demand, in micro-dollars.
    pub on_demand_micros: i64,
    /// The first as a fraction of the second.
    pub cost_share: f64,
    /// Jobs.
    pub jobs: usize,
    /// Jobs that finished after their deadline, or never.
    pub missed: usize,
    /// Jobs that never finished.
    pub unfinished: usize,
    /// Machine-hours paid for.
    pub machine_hours: f64,
    /// The fraction of them spent on work of jobs that finished.
    pub utilisation: f64,
    /// The fraction of them on spot.
    pub spot_share: f64,
    /// Mean hours between a job's submission and its end in which it made no progress.
    pub wait_mean_hours: f64,
    /// The 90th percentile of the same.
    pub wait_p90_hours: f64,
    /// Machines taken back from jobs.
    pub interruptions: u64,
    /// Jobs stopped in order to continue elsewhere.
    pub moves: u64,
    /// Plans made.
    pub plans: u64,
    /// Plans cut short by the planner's time limit: only if there are none is a replay sure
    /// to be reproducible.
    pub plans_cut_short: u64,
    /// For a plot.
    #[serde(skip)]
    pub series: Series,
}

/// Cost and machines at equal intervals of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Hours since the market's start.
    pub hours: Vec<f64>,
    /// Dollars spent by then.
    pub dollars: Vec<f64>,
    /// Machines in use.
    pub machines: Vec<f64>,
}

/// How many plans were made, and how many were cut short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plans {
    pub(super) made: u64,
    pub(super) cut_short: u64,
}

/// A machine on demand, for what work costs there.
#[derive(Clone, Debug)]
pub(super) struct OnDemand {
    pub(super) shape: NodeShape,
    pub(super) dollars_per_hour: f64,
}

/// Evaluates everything that was committed.
pub(super) fn measure(
    planner: String,
    committed: &Committed,
    machines: &[OnDemand],
    plans: Plans,
) -> Measures {
    let cost: Money = committed.ledger.iter().map(|entry| entry.amount).sum();
    let jobs = || committed.jobs.values();
    let done = |job: &&Job| matches!(job.state, JobState::Succeeded { .. });
    let on_demand =
        Money::estimate(jobs().filter_map(|job| work_on_demand(job, machines)).sum::<f64>());
    let machine_hours: f64 = committed.instances.values().map(life).sum();
    let spot =
        committed.instances.values().filter(|i| i.offer.market.capacity_type == CapacityType::Spot);
    let work: f64 = jobs().filter(done).map(machine_hours_of).sum();
    let mut waits: Vec<f64> = jobs().filter_map(waited).collect();
    waits.sort_by(f64::total_cmp);
    let moved = |outcome: Option<&Outcome>| {
        matches!(outcome, Some(Outcome::Stopped { reason: StopReason::Moved }))
    };
    Measures {
        planner,
        cost_micros: cost.micros(),
        on_demand_micros: on_demand.micros(),
        cost_share: share(cost.dollars(), on_demand.dollars()),
        jobs: committed.jobs.len(),
        missed: jobs().filter(|job| job.met_deadline() != Some(true)).count(),
        unfinished: jobs().filter(|job| !done(job)).count(),
        machine_hours,
        utilisation: share(work, machine_hours),
        spot_share: share(spot.map(life).sum(), machine_hours),
        wait_mean_hours: share(waits.iter().sum(), waits.len() as f64),
        wait_p90_hours: waits
            .get((waits.len() * 9).div_ceil(10).saturating_sub(1))
            .copied()
            .unwrap_or(0.0),
        interruptions: jobs().map(|job| u64::from(job.interruptions)).sum(),
        moves: committed.attempts.values().filter(|a| moved(a.state.outcome())).count() as u64,
        plans: plans.made,
        plans_cut_short: plans.cut_short,
        series: Series::default(),
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Work alone, on machines of its size.
fn machine_hours_of(job: &Job) -> f64 {
    hours(job.spec.longest_expected_duration()) * f64::from(job.spec.resources.nodes.max(1))
}

/// Dollars of the work on the cheapest machine that holds it.
fn work_on_demand(job: &Job, machines: &[OnDemand]) -> Option<f64> {
    let cheapest = machines.iter().filter_map(|machine| {
        let accelerator = machine.shape.accelerator.as_ref();
        let share = job.spec.share_on(accelerator)?;
        let work = hours(job.spec.expected_duration(accelerator));
        Some(machine.dollars_per_hour * part_of(&share, &machine.shape)? * work)
    });
    let one = cheapest.min_by(f64::total_cmp)?;
    Some(one * f64::from(job.spec.resources.nodes.max(1)))
}

/// The largest fraction of anything that a share takes; `None` if it does not fit.
fn part_of(share: &Share, shape: &NodeShape) -> Option<f64> {
    let gpus = share.gpu_units(shape) as f64 / GPU_UNITS as f64;
    let part = |take: f64, of: f64| match (take > 0.0, of > 0.0) {
        (false, _) => 0.0,
        (true, true) => take / of,
        (true, false) => f64::INFINITY,
    };
    let parts = [
        part(gpus, f64::from(shape.gpus)),
        part(share.cpu_milli as f64, shape.cpu_milli as f64),
        part(share.memory_mib as f64, shape.memory_mib as f64),
    ];
    parts.into_iter().max_by(f64::total_cmp).filter(|largest| *largest <= 1.0)
}

fn waited(job: &Job) -> Option<f64> {
    let JobState::Succeeded { at } = job.state else { return None };
    let work = hours(job.spec.longest_expected_duration());
    Some((hours(between(job.submitted, at)) - work).max(0.0))
}

fn life(instance: &Instance) -> f64 {
    match instance.state {
        InstanceState::Gone { since: Some(since), at, .. } => hours(between(since, at)),
        // Replays end when everything is over, or at their horizon.
        _ => 0.0,
    }
}

/// Points of a series.
const POINTS: u32 = 400;

/// Cost and machines over time, from `start` to `end`.
pub(super) fn series(committed: &Committed, start: Timestamp, end: Timestamp) -> Series {
    let step = (between(start, end) / POINTS).max(Duration::from_secs(1));
    let mut machines: BTreeMap<Timestamp, i64> = BTreeMap::new();
    for instance in committed.instances.values() {
        if let InstanceState::Gone { since: Some(since), at, .. } = instance.state {
            *machines.entry(since).or_default() += 1;
            *machines.entry(at).or_default() -= 1;
        }
    }
    let mut rates: BTreeMap<Timestamp, f64> = BTreeMap::new();
    for entry in &committed.ledger {
        let span = between(entry.from, entry.to).as_secs_f64().max(1.0);
        let rate = entry.amount.dollars() / span;
        *rates.entry(entry.from).or_default() += rate;
        *rates.entry(entry.to).or_default() -= rate;
    }
    let (mut series, mut in_use) = (Series::default(), 0);
    let mut meter = Meter { at: start, rate: 0.0, dollars: 0.0 };
    let (mut machines, mut rates) = (machines.into_iter().peekable(), rates.into_iter().peekable());
    for point in 0..=POINTS {
        let at = spotwise_model::time::after(start, step * point);
        while let Some((_, change)) = machines.next_if(|(when, _)| *when <= at) {
            in_use += change;
        }
        while let Some((when, change)) = rates.next_if(|(when, _)| *when <= at) {
            meter.run_to(when);
            meter.rate += change;
        }
        meter.run_to(at);
        series.hours.push(hours(step * point));
        series.dollars.push(meter.dollars);
        series.machines.push(in_use as f64);
    }
    series
}

struct Meter {
    at: Timestamp,
    rate: f64,
    dollars: f64,
}

impl Meter {
    fn run_to(&mut self, at: Timestamp) {
        self.dollars += self.rate * between(self.at, at).as_secs_f64();
        self.at = at.max(self.at);
    }
}
