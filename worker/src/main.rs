//! The worker as a program of its own, for images without the command line.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "spotwise-worker", version, about = "Carries out one attempt at a job")]
struct Program {
    #[command(flatten)]
    options: spotwise_worker::Options,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("SPOTWISE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    spotwise_worker::run(Program::parse().options, &[])
}
