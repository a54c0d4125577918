//! The command line, and what becomes of each subcommand.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::contract::{Contract, Outcome};
use crate::evaluate::{EvaluateArgs, evaluate};
use crate::infer::{InferArgs, infer};
use crate::prepare::{PrepareArgs, prepare};
use crate::stop::Stop;
use crate::train::{TrainArgs, train};

/// Small real workloads that run under a spotwise worker.
///
/// All that the worker says is in the environment (SPOTWISE_...); each command
/// also runs by hand without any of it.
#[derive(Debug, Parser)]
#[command(name = "spotwise-example", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The workloads.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn text into tokens in the shared folder: the first step of a pipeline.
    Prepare(PrepareArgs),
    /// Train a character-level language model, with checkpoints.
    Train(TrainArgs),
    /// Measure a trained model on text held out from training.
    Evaluate(EvaluateArgs),
    /// Score a share of a folder of text files: one element of a job array.
    Infer(InferArgs),
}

/// Runs one command under the contract found in the environment.
///
/// # Errors
/// Anything that keeps the work from being done; the program then ends with 1.
pub fn run(cli: Cli) -> Result<Outcome> {
    let contract = Contract::from_environment()?;
    println!("{contract}");
    match cli.command {
        // Seconds long and writing only whole results: SIGTERM may end these
        // two at once, and the worker then starts them again.
        Command::Prepare(args) => prepare(&args, &contract).map(|()| Outcome::Done),
        Command::Evaluate(args) => evaluate(&args, &contract).map(|()| Outcome::Done),
        Command::Train(args) => train(&args, &contract, &Stop::on_signals()?),
        Command::Infer(args) => infer(&args, &contract, &Stop::on_signals()?),
    }
}
