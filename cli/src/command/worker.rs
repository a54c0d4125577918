//! `spotwise worker`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use tracing_subscriber::EnvFilter;

/// Run one attempt of a job; the scheduler starts this, not you.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    options: spotwise_worker::Options,
}

impl Worker {
    /// Runs before any other thread exists: the worker ties the life of its
    /// command to the thread that starts it.
    pub(crate) fn run(self) -> ExitCode {
        log_to_stderr();
        spotwise_worker::run(self.options, &["worker"])
    }
}

/// Log lines to standard error; `SPOTWISE_LOG` chooses which (`debug`,
/// `spotwise_scheduler=debug,info`).
pub(super) fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("SPOTWISE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
