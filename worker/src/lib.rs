//! The agent alongside one job: it starts the command, watches it, commits its checkpoints,
//! uploads its output, and ends it in time.
//!
//! One worker per attempt and rank, in a folder of its own. It never starts a command
//! twice, it stops the command before a replacement may start, and it knows the scheduler
//! only over the wire.

mod agent;
mod attempt;
mod bucket_access;
mod checkpoint;
mod copy;
mod environment;
mod exec;
mod folder;
mod gpu;
mod heartbeat;
mod input_staging;
mod log_upload;
mod memory;
mod meta;
mod next;
mod notes;
mod notice;
mod output;
mod outputs;
mod prepare;
mod process;
mod process_tree;
mod progress;
mod reporter;
mod save;
mod scheduler_client;
mod survey;
mod usage;
mod waits;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use spotwise_api::trust::Fingerprint;
use spotwise_model::AttemptId;

/// What one worker is told on its command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the scheduler answers
    #[arg(long, value_name = "URL", required_unless_present_any = ["exec", "collect"])]
    server: Option<String>,
    /// The attempt to carry out, such as j17.2
    #[arg(long, value_name = "ATTEMPT", required_unless_present_any = ["exec", "collect"])]
    attempt: Option<AttemptId>,
    /// Which node of the attempt this is
    #[arg(long, default_value_t = 0)]
    rank: u32,
    /// A folder for this attempt and rank alone
    #[arg(long, value_name = "FOLDER", required_unless_present = "exec")]
    dir: Option<PathBuf>,
    /// An address of this machine that the other nodes can reach
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// Fingerprint of the authority whose certificate the scheduler shows under TLS; without
    /// it, the system's authorities are believed
    #[arg(long, value_name = "FINGERPRINT", env = "SPOTWISE_AUTHORITY", hide_env_values = true)]
    authority: Option<Fingerprint>,
    /// What it shows when it first calls
    #[arg(long, env = "SPOTWISE_WORKER_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
    /// Keep the outputs that a killed worker has left in its folder, and end
    #[arg(long, hide = true, requires = "dir")]
    collect: bool,
    /// Become the command that follows, and die with the given parent
    #[arg(long, value_name = "PID", hide = true, requires = "command")]
    exec: Option<i32>,
    /// The control group that it enters first
    #[arg(long, value_name = "FOLDER", hide = true, requires = "exec")]
    group: Option<PathBuf>,
    /// The command of `--exec`
    #[arg(last = true, hide = true)]
    command: Vec<OsString>,
}

/// Carries out one attempt, or becomes its command in the hidden mode.
///
/// `mode` is what the calling program needs before a worker's options, such as
/// `["worker"]`: the worker starts the command through its own program.
/// Call it on the main thread, outside of any runtime: the command dies with
/// the thread that started it.
/// Success means that the worker did its work, however the command ended.
pub fn run(options: Options, mode: &[&str]) -> ExitCode {
    if let Some(parent) = options.exec {
        return exec::become_command(parent, options.group.as_deref(), &options.command);
    }
    if options.collect {
        let kept = options.dir.as_deref().map_or(Ok(()), outputs::rescue_here);
        return kept.map_or_else(
            |error| {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    exec::receive_all();
    // One thread that lives as long as the process: the kernel ties the
    // command's life to the *thread* that started it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime does not start");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(Box::pin(agent::run(options, mode)));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
