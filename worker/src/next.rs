//! What a worker goes on with: the next element of its array, as a new process image of
//! itself, so that nothing of the element before is left in it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::scheduler_client::{Backoff, CallError, SchedulerClient};

/// A worker that is given nothing for so long leaves: elsewhere its place may be held for
/// it (wall time).
const LONGEST_IDLE: Duration = Duration::from_secs(15);

/// An attempt to go on with.
pub(crate) struct Next {
    attempt: String,
    token: String,
}

/// Asks what to go on with. `None` if there is nothing.
pub(crate) async fn ask(
    client: &SchedulerClient,
    asked_to_stop: &CancellationToken,
) -> Option<Next> {
    let begun = Instant::now();
    let mut backoff = Backoff::new();
    while begun.elapsed() < LONGEST_IDLE {
        let answer = tokio::select! {
            answer = client.take_next() => answer,
            () = asked_to_stop.cancelled() => return None,
        };
        match answer {
            Ok(next) if !next.attempt.is_empty() => {
                return Some(Next { attempt: next.attempt, token: next.token });
            }
            Ok(next) if next.ask_again => {}
            Err(CallError::Away(_)) => tokio::time::sleep(backoff.pause()).await,
            Ok(_)
            | Err(CallError::Superseded(_) | CallError::Refused(_) | CallError::Stranger(_)) => {
                return None;
            }
        }
    }
    None
}

/// Becomes the worker of this attempt, in a folder beside this one. Returns only if that
/// fails.
pub(crate) fn become_its_worker(
    attempt: &Attempt<'_>,
    next: &Next,
    server: &str,
    address: &str,
) -> Result<()> {
    let old = attempt.folder.root();
    let dir = old.with_file_name(format!("{}-0", next.attempt));
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).context("making its folder")?;
    let mut command = Command::new("/proc/self/exe");
    command
        .args(attempt.mode)
        .args(["--server", server, "--attempt", &next.attempt, "--rank", "0", "--dir"])
        .arg(&dir)
        .args(["--address", address])
        .env("SPOTWISE_WORKER_TOKEN", &next.token)
        // By which the pool knows whose this process is.
        .env("SPOTWISE_ATTEMPT_ID", &next.attempt);
    if let Some(log) = own_log(old, &dir).context("opening its log")? {
        command.stdout(log.try_clone()?).stderr(log);
    }
    tracing::info!(next = next.attempt, "goes on");
    Err(command.exec()).context("going on with the next attempt")
}

/// The log of a worker in a folder, if what this one prints goes to the like in its own.
fn own_log(old: &Path, new: &Path) -> io::Result<Option<File>> {
    let printed = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
    let is_it = old
        .join("worker.log")
        .metadata()
        .is_ok_and(|log| (log.dev(), log.ino()) == (printed.dev(), printed.ino()));
    let open =
        || OpenOptions::new().create(true).append(true).mode(0o600).open(new.join("worker.log"));
    is_it.then(open).transpose()
}
