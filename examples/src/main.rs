//! `spotwise-example`: see the library.

#![allow(clippy::print_stderr, reason = "a command-line program reports its failure there")]

use std::process::ExitCode;

use clap::Parser;
use spotwise_examples::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
