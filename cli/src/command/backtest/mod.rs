//! `spotwise backtest`: recorded markets, policies, and what they would have
//! cost.

mod progress;
mod single;
mod workload;

use std::time::Duration;

use clap::{Args, Subcommand};
use spotwise_backtest::BacktestError;

use super::Context;
use crate::exit::{Exit, Failure, chain};

/// Replay recorded markets: what would have been paid, and why.
///
/// Needs no scheduler. Recordings are CSV tables with the columns seconds, zone,
/// instance_type, available and spot_usd_per_hour; an index.json says the rest
/// of each: its step, its length, its on-demand prices.
#[derive(Debug, Args)]
pub(crate) struct Backtest {
    #[command(subcommand)]
    form: Form,
}

/// What is replayed.
#[derive(Debug, Subcommand)]
enum Form {
    Single(Box<single::Single>),
    Workload(Box<workload::Workload>),
}

impl Backtest {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.form {
            Form::Single(form) => form.run(context),
            Form::Workload(form) => form.run(context),
        }
    }
}

/// The input was wrong, but where only the output could not be written.
fn failure(error: &BacktestError) -> Failure {
    let exit = match error {
        BacktestError::Write { .. } => Exit::Failed,
        _ => Exit::Usage,
    };
    Failure::new(exit, chain(error))
}

/// A duration that may be none: `0s`, `12m`.
fn span(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s" | "0m" | "0h") {
        return Ok(Duration::ZERO);
    }
    crate::format::duration(text)
}
