//! `spotwise-example`: see the library.

#![allow(clippy::print_stderr, reason = "a command-line program reports its failure there")]

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Parser;
use spotwise_examples::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match on_one_thread().and_then(|()| run(cli)) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program anew with one computing thread, unless it has only one.
///
/// Sums that are split over a different number of threads round differently, so
/// a run that goes on on a machine with other cores would not be the same run.
/// The number is read from the environment by the thread pools, and a program
/// cannot safely change its own environment: it can only hand a new one to its
/// successor, which keeps the process id.
fn on_one_thread() -> anyhow::Result<()> {
    const THREADS: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];
    if THREADS.iter().all(|name| std::env::var_os(name).is_some_and(|value| value == "1")) {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut successor = Command::new(std::env::current_exe().context("finding this program")?);
    if let Some(name) = arguments.next() {
        successor.arg0(name);
    }
    let error = successor.args(arguments).envs(THREADS.map(|name| (name, "1"))).exec();
    Err(error).context("starting anew with one thread")
}
