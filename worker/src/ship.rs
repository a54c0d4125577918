//! Ships the captured output, chunk by chunk, from wherever the scheduler has
//! it; resumed after an outage, and bounded in memory by one chunk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::link::{Backoff, Link, LinkError};
use crate::output::Level;

/// The most that one call carries.
const CHUNK: u64 = 256 * 1024;

/// Ships until everything of a closed capture is stored, or nobody wants it.
pub(crate) async fn ship(link: Link, path: PathBuf, mut level: watch::Receiver<Level>) {
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
        let data = match chunk(&path, offset, now.bytes) {
            Ok(data) => data,
            Err(error) => {
                tracing::warn!(%error, "captured output cannot be read");
                return;
            }
        };
        match link.append(offset, data).await {
            // The scheduler may have less than we sent, or more than we know of.
            Ok(stored) if stored.min(now.bytes) > offset => {
                offset = stored.min(now.bytes);
                backoff = Backoff::new();
            }
            Ok(stored) => {
                offset = stored;
                tokio::time::sleep(backoff.pause()).await;
            }
            Err(LinkError::Away(_)) => tokio::time::sleep(backoff.pause()).await,
            Err(error) => {
                tracing::warn!(%error, offset, "output is not wanted");
                return;
            }
        }
    }
}

fn chunk(path: &Path, offset: u64, end: u64) -> io::Result<Vec<u8>> {
    let length = (end - offset).min(CHUNK);
    let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    File::open(path)?.read_exact_at(&mut data, offset)?;
    Ok(data)
}
