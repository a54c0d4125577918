//! `spotwise backtest workload`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use spotwise_backtest::workload::{Options, Report, run};
use spotwise_backtest::{JobsOptions, Measures, SharedMarketOptions, Source, plot};
use spotwise_model::policy::Policy;

use super::progress::Progress;
use super::{failure, span};
use crate::command::Context;
use crate::command::serve::policy;
use crate::exit::{Exit, Failure};
use crate::format::{count, dollars, percent};
use crate::output::{Grid, Output};

/// Replay many jobs that compete for the capacity of a recorded market.
///
/// Jobs go through the very phases of the scheduler, on virtual time. The
/// baselines look at each job for itself: `greedy` takes the cheapest spot and
/// goes on demand when the deadline asks for it; `uniform-progress` also buys
/// on demand to keep an even pace. With --policy-file the same history is
/// replayed under other settings of the operator.
#[derive(Debug, Args)]
pub(crate) struct Workload {
    /// The recorded market, a CSV table
    #[arg(long, value_name = "FILE")]
    market: PathBuf,
    /// The JSON index that lists it
    #[arg(long, value_name = "FILE")]
    index: PathBuf,
    /// Machine types, comma-separated [default: all of the market]
    #[arg(long = "type", value_name = "NAMES", value_delimiter = ',')]
    types: Vec<String>,
    /// Zones, comma-separated [default: all of the market]
    #[arg(long, value_name = "ZONES", value_delimiter = ',')]
    zones: Vec<String>,
    /// Spot machines of each type a zone has while the market has any
    #[arg(long, value_name = "N")]
    capacity: u32,
    /// On-demand machines of each type a zone has [default: 1000]
    #[arg(long, value_name = "N")]
    on_demand_capacity: Option<u32>,
    #[command(flatten)]
    jobs: Jobs,
    /// From a launch to the first step of the work
    #[arg(long, value_name = "DURATION", default_value = "12m", value_parser = span)]
    changeover: Duration,
    /// Planners, comma-separated
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "spotwise,greedy,uniform-progress"
    )]
    planners: Vec<String>,
    /// Replay spotwise under these settings of the operator (YAML) as well; may be repeated
    #[arg(long, value_name = "FILE")]
    policy_file: Vec<PathBuf>,
    /// Plan at least so often
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = crate::format::duration)]
    round_every: Duration,
    /// The longest that one plan may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = crate::format::duration)]
    plan_time_limit: Duration,
    /// Write a plot of cost and machines over time to this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Which jobs, and what they are asked for.
#[derive(Debug, Args)]
struct Jobs {
    /// A trace (.csv or .csv.gz with submit_s, duration_s, num_gpus,
    /// virtual_cluster), or a folder of job files, all submitted at once
    #[arg(long, value_name = "PATH")]
    jobs: PathBuf,
    /// Jobs of the trace to pass over first, of those within the bounds below
    #[arg(long, value_name = "N", default_value_t = 0)]
    jobs_from: usize,
    /// Take every n-th of those that follow
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs_every: usize,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    jobs_limit: usize,
    /// Leave shorter jobs out
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = span)]
    shortest: Duration,
    /// Leave longer jobs out
    #[arg(long, value_name = "DURATION", default_value = "2d", value_parser = crate::format::duration)]
    longest: Duration,
    /// Leave jobs with more GPUs out
    #[arg(long, value_name = "N", default_value_t = 8)]
    most_gpus: u32,
    /// Times its work that a job may take
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5)]
    deadline_factor: f64,
    /// On top of that
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = span)]
    deadline_slack: Duration,
    /// From the market's start to the first submission
    #[arg(long, value_name = "DURATION", default_value = "2d", value_parser = span)]
    start_after: Duration,
}

impl Workload {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let plot_file = self.plot.clone();
        let options = self.options()?;
        let report = {
            let progress = Progress::new();
            run(&options, &|planner, over, of| {
                progress.show(over, of, &format!("jobs over ({planner})"));
            })
        };
        let report = report.map_err(|error| failure(&error))?;
        if let Some(path) = plot_file {
            write_plot(&path, &report)?;
        }
        if output.is_json() { output.json(&report) } else { show(output, &report) }
    }

    fn options(self) -> Result<Options, Failure> {
        let base = Policy { changeover: self.changeover, ..Policy::default() };
        let read = |path: &PathBuf| -> Result<(String, Policy), Failure> {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            Ok((name.into_owned(), policy::read_over(path, base.clone())?))
        };
        let other_policies = self.policy_file.iter().map(read).collect::<Result<_, _>>()?;
        let jobs = self.jobs;
        Ok(Options {
            market: SharedMarketOptions {
                source: Source { table: self.market, index: self.index },
                types: self.types,
                zones: self.zones,
                capacity: self.capacity,
                on_demand_capacity: self.on_demand_capacity,
            },
            jobs: JobsOptions {
                path: jobs.jobs,
                from: jobs.jobs_from,
                every: jobs.jobs_every,
                limit: jobs.jobs_limit,
                shortest: jobs.shortest,
                longest: jobs.longest,
                most_gpus: jobs.most_gpus,
                deadline_factor: jobs.deadline_factor,
                deadline_slack: jobs.deadline_slack,
                start_after: jobs.start_after,
            },
            changeover: self.changeover,
            planners: self.planners,
            policy: base,
            other_policies,
            round_every: self.round_every,
            plan_time_limit: self.plan_time_limit,
        })
    }
}

fn write_plot(path: &Path, report: &Report) -> Result<(), Failure> {
    let title = format!(
        "{} submissions, {} spot machines a zone, from {}",
        report.submissions, report.capacity, report.start
    );
    std::fs::write(path, plot(&title, &report.results)).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
    })
}

fn show(output: &Output, report: &Report) -> Result<(), Failure> {
    let mut grid = Grid::new(&[
        "PLANNER", ">COST", ">OF OD", ">MISSED", ">USEFUL", ">SPOT", ">WAIT", ">P90", ">TAKEN",
        ">MOVED",
    ]);
    for measures in &report.results {
        grid.row(line(measures));
    }
    output.table(&grid)?;
    let skipped = report.skipped;
    let left_out =
        skipped.too_short + skipped.too_long + skipped.too_wide + skipped.beyond_the_market;
    output.line(output.dim(&format!(
        "{}, {left_out} of the trace left out; {} to {}",
        count(report.submissions, "submission"),
        report.start,
        report.end
    )))?;
    output.line(output.dim(
        "of od: of what the work alone costs on demand; useful: work of the hours paid; \
         wait: hours without progress",
    ))?;
    let cut: u64 = report.results.iter().map(|measures| measures.plans_cut_short).sum();
    if cut > 0 {
        output.line(output.warn(&format!(
            "{cut} plans were cut short by --plan-time-limit: another run may differ"
        )))?;
    }
    Ok(())
}

fn line(measures: &Measures) -> [String; 10] {
    let missed = match measures.unfinished {
        0 => format!("{} of {}", measures.missed, measures.jobs),
        open => format!("{} of {} ({open} never done)", measures.missed, measures.jobs),
    };
    [
        measures.planner.clone(),
        dollars(measures.cost_micros),
        format!("{:.1} %", measures.cost_share * 100.0),
        missed,
        percent(measures.utilisation),
        percent(measures.spot_share),
        format!("{:.1} h", measures.wait_mean_hours),
        format!("{:.1} h", measures.wait_p90_hours),
        measures.interruptions.to_string(),
        measures.moves.to_string(),
    ]
}
