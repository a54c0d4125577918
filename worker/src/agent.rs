//! The life of a worker, from its folder to its final report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use spotwise_api::client::credentials;
use spotwise_api::trust::Trust;
use spotwise_api::v1::Assignment;
use spotwise_model::AttemptId;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::http::Uri;
use tracing::Instrument;

use crate::attempt::{self, Attempt};
use crate::folder::Folder;
use crate::scheduler_client::{Backoff, CallError, Proofs, SchedulerClient};
use crate::{Options, next, process_tree, reporter};

/// A scheduler that does not answer the first call for this long has given up on the
/// attempt.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(600);

/// How often to ask again while a gang is incomplete, if the scheduler does not say.
const REGISTER_INTERVAL: Duration = Duration::from_millis(500);

/// Carries out one attempt.
pub(crate) async fn run(options: Options, mode: &[&str]) -> Result<()> {
    let id = options.attempt.context("no attempt was named")?;
    let rank = options.rank;
    let span = tracing::info_span!("attempt", job.id = %id.job, attempt.id = %id, rank);
    Box::pin(run_attempt(id, options, mode)).instrument(span).await
}

async fn run_attempt(id: AttemptId, options: Options, mode: &[&str]) -> Result<()> {
    let server = options.server.context("no server was named")?;
    check_addresses(&server)?;
    let folder = Folder::enter(&options.dir.context("no folder was named")?)
        .context("entering the attempt's folder")?;
    // Held until this process ends, or becomes the worker of another attempt.
    let Some(_lock) = folder.lock().context("locking the attempt's folder")? else {
        tracing::info!("another worker carries this out");
        return Ok(());
    };
    // What the command leaves behind is ours to end and to reap.
    prctl::set_child_subreaper(true).context("becoming a subreaper")?;
    folder.write_identity(&id.to_string(), options.rank).context("writing worker.json")?;
    let key = folder.key().context("drawing a key")?;
    let proofs = Proofs::new(options.token.unwrap_or_default(), key);
    let client = SchedulerClient::new(
        &server,
        Trust::of(options.authority),
        id.to_string(),
        options.rank,
        proofs,
    )
    .context("reading the server's address")?;

    if let Some(last) = folder.ending().context("reading exit.json")? {
        tracing::info!("repeating the final report of an earlier worker");
        reporter::repeat(client, &folder, last).await;
        return Ok(());
    }
    if folder.was_started() {
        let killed = process_tree::kill_left_behind(&folder.progress());
        tracing::warn!(killed, "the worker was restarted while its command ran");
        let lost = vec![reporter::lost()];
        folder.keep_ending(&lost);
        reporter::repeat(client, &folder, lost).await;
        return Ok(());
    }

    let asked_to_stop = CancellationToken::new();
    let _signals = listen(asked_to_stop.clone()).context("listening to signals")?;
    let asked = Instant::now();
    let registered = register(&client, &options.address);
    let (answered, assignment) = tokio::select! {
        registered = registered => match registered? {
            Some(registered) => registered,
            None => return Ok(()),
        },
        () = asked_to_stop.cancelled() => {
            tracing::info!(waited = ?asked.elapsed(), "stopped before there was anything to do");
            return Ok(());
        }
    };
    let takes_next = assignment.takes_next;
    let attempt = Attempt { id, folder, client, mode, asked_to_stop };
    let carried_out = attempt::carry_out(&attempt, Arc::new(assignment), answered);
    if !Box::pin(carried_out).await? || !takes_next {
        return Ok(());
    }
    match next::ask(&attempt.client, &attempt.asked_to_stop).await {
        Some(next) => next::become_its_worker(&attempt, &next, &server, &options.address),
        None => Ok(()),
    }
}

/// What a worker shows is sent to other machines under TLS only.
fn check_addresses(servers: &str) -> Result<()> {
    for server in servers.split(',').map(str::trim) {
        let uri: Uri = server.parse().with_context(|| format!("`{server}` is no address"))?;
        let is_plain = uri.scheme_str() == Some("http");
        if is_plain && !credentials::is_this_machine(uri.host().unwrap_or_default()) {
            bail!("`{server}`: other machines are called under TLS only: write https");
        }
    }
    Ok(())
}

/// Asks until there is something to do; returns when the successful call was made. `None`
/// if the attempt has already ended.
async fn register(
    client: &SchedulerClient,
    address: &str,
) -> Result<Option<(Instant, Assignment)>> {
    let mut answered = Instant::now();
    let mut backoff = Backoff::new();
    loop {
        let asked = Instant::now();
        match client.register(address.to_owned()).await {
            Ok(assignment) if assignment.ready => return Ok(Some((asked, assignment))),
            Ok(assignment) => {
                answered = asked;
                backoff = Backoff::new();
                let pause = Duration::from_millis(assignment.heartbeat_ms.into());
                tokio::time::sleep(if pause.is_zero() { REGISTER_INTERVAL } else { pause }).await;
            }
            Err(CallError::Superseded(message)) => {
                tracing::info!(message, "superseded before there was anything to do");
                return Ok(None);
            }
            Err(error @ (CallError::Refused(_) | CallError::Stranger(_))) => {
                return Err(error).context("registering");
            }
            Err(CallError::Away(message)) => {
                if answered.elapsed() >= REGISTER_TIMEOUT {
                    bail!("no scheduler to register with: {message}");
                }
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

/// SIGTERM and SIGINT to the worker mean: stop the command, with its grace.
fn listen(asked_to_stop: CancellationToken) -> std::io::Result<AbortOnDropHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked_to_stop.cancel();
    })))
}

#[cfg(test)]
mod tests {
    use super::check_addresses;

    #[test]
    fn other_machines_are_called_under_tls_only() {
        for good in
            ["http://127.0.0.1:1", "http://[::1]:1,https://10.0.0.7:1", "http://localhost:1"]
        {
            assert!(check_addresses(good).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.7:1", "http://127.0.0.1:1,http://host:1", "", "a b"] {
            assert!(check_addresses(bad).is_err(), "{bad}");
        }
    }
}
