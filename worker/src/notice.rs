//! Tells the command that its machine is being taken back.

use std::time::Duration;

use jiff::Timestamp;

use crate::folder::{Folder, write_whole};

/// Writes the interruption file, completely: the shape of EC2's `spot/instance-action`
/// (action and time), plus the time left.
pub(crate) fn write(folder: &Folder, action: &str, reclaim_in: Duration, now: Timestamp) {
    let at = now.saturating_add(reclaim_in).unwrap_or(Timestamp::MAX);
    let notice = serde_json::json!({
        "action": action,
        "time": at.to_string(),
        "reclaim_in_ms": u64::try_from(reclaim_in.as_millis()).unwrap_or(u64::MAX),
    });
    if let Err(error) = write_whole(&folder.interruption(), notice.to_string().as_bytes()) {
        // The command still gets SIGTERM in time.
        tracing::warn!(%error, "the interruption file cannot be written");
    }
}
