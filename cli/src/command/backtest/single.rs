//! `spotwise backtest single`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use spotwise_backtest::Source;
use spotwise_backtest::single::{Options, Report, Row, run, write_decisions};
use spotwise_solver::replay::OPTIMAL;

use super::progress::Progress;
use super::{failure, span};
use crate::command::Context;
use crate::exit::Failure;
use crate::format::percent;
use crate::output::{Grid, Output};

/// Run one job in windows of a recorded market, under several policies.
///
/// Costs are shares of what the job's work costs on demand. `optimal` is the
/// exact least, with the whole future known; every other policy sees nothing
/// later than the step it decides.
#[derive(Debug, Args)]
pub(crate) struct Single {
    /// The recorded market, a CSV table
    #[arg(long, value_name = "FILE")]
    market: PathBuf,
    /// The JSON index that lists it
    #[arg(long, value_name = "FILE")]
    index: PathBuf,
    /// An earlier recording, which ends where the market begins
    #[arg(long, value_name = "FILE", requires = "history_index")]
    history: Option<PathBuf>,
    /// The JSON index that lists the earlier recording
    #[arg(long, value_name = "FILE", requires = "history")]
    history_index: Option<PathBuf>,
    /// The machine type
    #[arg(long = "type", value_name = "NAME")]
    instance_type: String,
    /// Zones, comma-separated; ties go to the first [default: all of the market]
    #[arg(long, value_name = "ZONES", value_delimiter = ',')]
    zones: Vec<String>,
    /// Hours of work
    #[arg(long, value_name = "HOURS")]
    hours: f64,
    /// Times its work that the job may take, comma-separated
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', default_value = "1.25")]
    deadline_factor: Vec<f64>,
    /// What every start spends without progress
    #[arg(long, value_name = "DURATION", default_value = "12m", value_parser = span)]
    changeover: Duration,
    /// How many windows, spread evenly over the market
    #[arg(long, value_name = "N", default_value_t = 12)]
    windows: usize,
    /// Policies, comma-separated
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "spotwise,greedy,uniform-progress,on-demand,optimal"
    )]
    policies: Vec<String>,
    /// Write every choice of every step to this CSV file
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
}

impl Single {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let decisions = self.decisions.clone();
        let report = {
            let progress = Progress::new();
            run(&self.options(), &|done, of| progress.show(done, of, "runs"))
        };
        let report = report.map_err(|error| failure(&error))?;
        if let Some(path) = decisions {
            write_decisions(&path, &report).map_err(|error| failure(&error))?;
        }
        if output.is_json() { output.json(&report.rows) } else { show(output, &report) }
    }

    fn options(self) -> Options {
        let history = self.history.zip(self.history_index);
        Options {
            market: Source { table: self.market, index: self.index },
            history: history.map(|(table, index)| Source { table, index }),
            instance_type: self.instance_type,
            zones: self.zones,
            hours: self.hours,
            deadline_factors: self.deadline_factor,
            changeover: self.changeover,
            windows: self.windows,
            policies: self.policies,
            keep_choices: self.decisions.is_some(),
        }
    }
}

/// One line a factor and policy.
fn show(output: &Output, report: &Report) -> Result<(), Failure> {
    let mut grid = Grid::new(&[
        ">DEADLINE",
        "POLICY",
        ">WINDOWS",
        ">MEAN COST",
        ">LEAST",
        ">MOST",
        ">VS OPTIMUM",
        ">MISSED",
        ">INTERRUPTED",
        ">MOVED",
    ]);
    let mut shown: Vec<(f64, &str)> = Vec::new();
    for Row { deadline_factor, policy, .. } in &report.rows {
        if !shown.contains(&(*deadline_factor, policy)) {
            shown.push((*deadline_factor, policy));
            grid.row(line(report, *deadline_factor, policy));
        }
    }
    output.table(&grid)?;
    output.line(output.dim("cost: share of the same work on demand without any start"))
}

fn line(report: &Report, factor: f64, policy: &str) -> [String; 10] {
    let rows = |policy: &str| -> Vec<&Row> {
        let wanted = |row: &&Row| row.deadline_factor == factor && row.policy == policy;
        report.rows.iter().filter(wanted).collect()
    };
    let own = rows(policy);
    let cost = mean(&own, |row| row.cost_fraction);
    let optimum = mean(&rows(OPTIMAL), |row| row.cost_fraction);
    let costs = || own.iter().map(|row| row.cost_fraction);
    [
        format!("x{factor}"),
        policy.to_owned(),
        own.len().to_string(),
        cost.map_or("-".to_owned(), percent_fine),
        percent(costs().fold(f64::INFINITY, f64::min)),
        percent(costs().fold(0.0, f64::max)),
        match (cost, optimum.filter(|optimum| *optimum > 0.0)) {
            (Some(cost), Some(optimum)) => format!("{:.3}", cost / optimum),
            _ => "-".to_owned(),
        },
        own.iter().filter(|row| row.missed).count().to_string(),
        mean(&own, |row| f64::from(row.interruptions))
            .map_or("-".to_owned(), |n| format!("{n:.1}")),
        mean(&own, |row| f64::from(row.moves)).map_or("-".to_owned(), |n| format!("{n:.1}")),
    ]
}

fn mean(rows: &[&Row], value: impl Fn(&Row) -> f64) -> Option<f64> {
    let sum: f64 = rows.iter().map(|row| value(row)).sum();
    (!rows.is_empty()).then(|| sum / rows.len() as f64)
}

fn percent_fine(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
