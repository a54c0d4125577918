//! One job per window: every policy on the same spans of a recorded market.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use spotwise_solver::replay::{
    Job, JobLocation, OPTIMAL, Outcome, RecordedMarket, Scripted, optimal, policy, simulate,
};

use super::error::BacktestError;
use super::parallel::in_parallel;
use super::recording::{Source, read_market};

const MOST_WINDOWS: usize = 100_000;
/// Steps of a recording in which no window begins, beyond its own length.
const MARGIN: usize = 2;

/// What to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The market.
    pub market: Source,
    /// An earlier recording, which ends where the market begins.
    pub history: Option<Source>,
    /// The machine type.
    pub instance_type: String,
    /// The zones, in the order in which ties are broken; all if none are named.
    pub zones: Vec<String>,
    /// Hours of work of the job.
    pub hours: f64,
    /// The job's deadlines as multiples of its work.
    pub deadline_factors: Vec<f64>,
    /// The time that every start spends without progress.
    pub changeover: Duration,
    /// How many windows, spread evenly over the recording.
    pub windows: usize,
    /// The policies, by name.
    pub policies: Vec<String>,
    /// Whether every choice of every step is kept, for [`write_decisions`].
    pub keep_choices: bool,
}

/// One policy in one window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The job's deadline as a multiple of its work.
    pub deadline_factor: f64,
    /// Market step with which the window begins.
    pub start_step: usize,
    /// The policy.
    pub policy: String,
    /// What was paid, as a fraction of the job's hours at the on-demand price.
    pub cost_fraction: f64,
    /// Whether the job finished after its deadline.
    pub missed: bool,
    /// How often the market took its machine.
    pub interruptions: u32,
    /// How often it left a machine for another by choice.
    pub moves: u32,
    /// Where it was in each step until it finished, if that is kept.
    #[serde(skip)]
    pub choices: Vec<JobLocation>,
}

/// The results.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// By factor, window and policy, each in the requested order.
    pub rows: Vec<Row>,
    /// The zones that [`JobLocation::Spot`] indexes.
    pub zones: Vec<String>,
}

/// Runs every policy in every window. `progress` is called with the number of finished runs
/// and the total.
pub fn run(
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Report, BacktestError> {
    check(options)?;
    let market = read_market(
        &options.market,
        options.history.as_ref(),
        &options.instance_type,
        &options.zones,
    )?;
    let jobs = jobs(options, &market)?;
    let longest = jobs.iter().map(|(_, job)| job.deadline).max().unwrap_or(0);
    let starts = starts(market.steps(), longest, options.windows).ok_or_else(|| {
        let market_name = options.market.table.display().to_string();
        let needed = longest.saturating_add(MARGIN);
        BacktestError::TooShort { market: market_name, needed, steps: market.steps() }
    })?;
    let mut runs = Vec::new();
    for (factor, job) in &jobs {
        for start in &starts {
            runs.extend(options.policies.iter().map(|name| (*factor, *job, *start, name)));
        }
    }
    let done = AtomicUsize::new(0);
    let rows = in_parallel(&runs, |(factor, job, start, name)| {
        let mut outcome = outcome(name, &market, job, *start)?;
        if !options.keep_choices {
            outcome.choices = Vec::new();
        }
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, runs.len());
        Ok(row(*factor, *start, name, outcome))
    })?;
    Ok(Report { rows, zones: market.zones().iter().map(|zone| zone.name.clone()).collect() })
}

/// One policy, from one step of a market on.
pub fn outcome(
    name: &str,
    market: &RecordedMarket,
    job: &Job,
    start: usize,
) -> Result<Outcome, BacktestError> {
    if name == OPTIMAL {
        let mut script = Scripted::new(OPTIMAL, optimal(market, job, start)?);
        return Ok(simulate(market, job, start, &mut script));
    }
    Ok(simulate(market, job, start, policy(name)?.as_mut()))
}

/// Where windows begin: spread evenly, so that the last one still ends inside the
/// recording. `None` if not even one fits.
pub fn starts(steps: usize, longest: usize, windows: usize) -> Option<Vec<usize>> {
    let last = steps.checked_sub(longest.checked_add(MARGIN)?)?;
    if windows == 1 {
        return Some(vec![0]);
    }
    let between = windows.saturating_sub(1) as f64;
    Some((0..windows).map(|i| ((i * last) as f64 / between).round_ties_even() as usize).collect())
}

/// Writes what every policy chose: one row per step until the work was done.
pub fn write_decisions(path: &Path, report: &Report) -> Result<(), BacktestError> {
    let failed = |source| BacktestError::Write { path: path.to_owned(), source };
    let file = std::fs::File::create(path).map_err(failed)?;
    decisions(std::io::BufWriter::new(file), report).map_err(failed)
}

fn decisions(mut to: impl Write, report: &Report) -> std::io::Result<()> {
    writeln!(to, "deadline_factor,start_step,policy,step,choice")?;
    for row in &report.rows {
        for (step, choice) in row.choices.iter().enumerate() {
            let choice = match choice {
                JobLocation::Idle => "idle",
                JobLocation::OnDemand => "on-demand",
                JobLocation::Spot(zone) => report.zones.get(*zone).map_or("", String::as_str),
            };
            let Row { deadline_factor, start_step, policy, .. } = row;
            writeln!(to, "{deadline_factor},{start_step},{policy},{step},{choice}")?;
        }
    }
    to.flush()
}

fn check(options: &Options) -> Result<(), BacktestError> {
    if options.policies.is_empty() {
        return Err(BacktestError::Empty { what: "policies" });
    }
    if options.deadline_factors.is_empty() {
        return Err(BacktestError::Empty { what: "deadline-factor" });
    }
    if !(1..=MOST_WINDOWS).contains(&options.windows) {
        let range = format!("a number from 1 to {MOST_WINDOWS}");
        let value = options.windows.to_string();
        return Err(BacktestError::Range { what: "windows", range, value });
    }
    for name in options.policies.iter().filter(|name| *name != OPTIMAL) {
        policy(name)?;
    }
    once("policies", &options.policies)?;
    once("zones", &options.zones)?;
    once("deadline-factor", &options.deadline_factors)
}

fn once<T: PartialEq + ToString>(what: &'static str, values: &[T]) -> Result<(), BacktestError> {
    let twice =
        values.iter().enumerate().find(|(at, value)| values.iter().take(*at).any(|v| v == *value));
    match twice {
        Some((_, value)) => Err(BacktestError::Twice { what, value: value.to_string() }),
        None => Ok(()),
    }
}

fn jobs(options: &Options, market: &RecordedMarket) -> Result<Vec<(f64, Job)>, BacktestError> {
    let changeover = options.changeover.as_secs_f64();
    let jobs = options.deadline_factors.iter().map(|factor| {
        Ok((*factor, Job::new(options.hours, *factor, changeover, market.step_seconds())?))
    });
    jobs.collect()
}

fn row(deadline_factor: f64, start_step: usize, policy: &str, outcome: Outcome) -> Row {
    Row {
        deadline_factor,
        start_step,
        policy: policy.to_owned(),
        cost_fraction: outcome.cost_fraction,
        missed: outcome.missed,
        interruptions: outcome.interruptions,
        moves: outcome.moves,
        choices: outcome.choices,
    }
}

#[cfg(test)]
#[path = "single_tests.rs"]
mod tests;
