//! Uploads the captured output chunk by chunk, from where the scheduler has it; resumes
//! after an outage, and needs memory for one chunk only.

use std::time::Duration;

use spotwise_api::spool::{Bounds, Found, Spool};
use tokio::sync::watch;

use crate::output::Level;
use crate::scheduler_client::{Backoff, CallError, SchedulerClient};

/// The most that one call carries.
const CHUNK: usize = 256 * 1024;

/// Bytes per second of an output that is larger than its first part: most of it is removed
/// soon, and a program that prints in a loop must not be a burden on others. The last part
/// is uploaded at once when the command has ended.
const RATE: u64 = 1024 * 1024;

/// What is uploaded.
#[derive(Clone, Debug)]
pub(crate) struct LogUpload {
    /// The captured output.
    pub(crate) log: Spool,
    /// How much of it is kept.
    pub(crate) bounds: Bounds,
    /// How much has been captured.
    pub(crate) level: watch::Receiver<Level>,
}

/// Uploads until everything of a closed capture is stored, or the scheduler refuses it.
pub(crate) async fn upload_log(client: SchedulerClient, output: LogUpload) {
    let LogUpload { log, bounds, mut level } = output;
    let mut offset = 0;
    let mut backoff = Backoff::new();
    loop {
        let now = *level.borrow_and_update();
        if offset >= now.bytes {
            if now.closed || level.changed().await.is_err() {
                return;
            }
            continue;
        }
        let (begin, data) = match next(&log, offset) {
            Ok(Some(next)) => next,
            // It was removed in the meantime: there is newer output.
            Ok(None) => {
                tokio::time::sleep(backoff.pause()).await;
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "captured output cannot be read");
                return;
            }
        };
        let sent = data.len() as u64;
        match client.append(begin, data, begin > offset).await {
            // The scheduler may have less than we sent, or more than we know of.
            Ok(stored) if stored.min(now.bytes) > offset => {
                offset = stored.min(now.bytes);
                backoff = Backoff::new();
                if offset > bounds.head {
                    pause(&mut level, Duration::from_micros(sent * 1_000_000 / RATE)).await;
                }
            }
            Ok(stored) => {
                offset = stored;
                tokio::time::sleep(backoff.pause()).await;
            }
            Err(CallError::Away(_)) => tokio::time::sleep(backoff.pause()).await,
            Err(error) => {
                tracing::warn!(%error, offset, "the scheduler refuses the output");
                return;
            }
        }
    }
}

/// The first bytes kept from `offset` on, and where they begin.
fn next(log: &Spool, offset: u64) -> std::io::Result<Option<(u64, Vec<u8>)>> {
    let found = match log.read(offset, CHUNK)? {
        Found::Missing { to } => (to, log.read(to, CHUNK)?),
        found => (offset, found),
    };
    Ok(match found {
        (begin, Found::Data(data)) => Some((begin, data)),
        _ => None,
    })
}

/// Ends early if nothing more will come.
async fn pause(level: &mut watch::Receiver<Level>, pause: Duration) {
    // No writer any more is as good as a closed capture.
    let _ = tokio::time::timeout(pause, level.wait_for(|level| level.closed)).await;
}
