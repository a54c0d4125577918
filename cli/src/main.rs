//! `spotwise`: the one binary. It reads the command line, calls the other
//! crates, and prints what they answer; it must never decide anything itself.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod command;
mod config;
mod document;
mod exit;
mod format;
mod money;
mod output;
mod screen;
mod text;
mod wait;

use std::process::ExitCode;

use clap::Parser;

use crate::command::{Cli, Command, Context, Task};
use crate::exit::{Exit, Failure};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context {
        output: Output::new(cli.global.output, cli.global.no_color),
        target: cli.global.target.clone(),
    };
    let task = match cli.command {
        Command::Worker(worker) => return worker.run(),
        Command::Task(task) => task,
    };
    match run(task, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                output::note(format!("error: {}", text::one_line(message)));
            }
            failure.code()
        }
    }
}

fn run(task: Task, context: &Context) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    let ended = runtime.block_on(task.run(context));
    // A read of standard input cannot be taken back; nobody waits for it.
    runtime.shutdown_background();
    ended
}
