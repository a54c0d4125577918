//! Outputs left behind by a killed worker.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use spotwise_model::AttemptId;
use tokio_util::sync::CancellationToken;

use super::{Brought, Collected, Gate, Plan, collect, if_there};
use crate::folder::Folder;
use crate::process_tree;

/// Another process may be keeping them at the moment; it is given this long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
const LOCK_INTERVAL: Duration = Duration::from_millis(200);

/// Keeps the outputs of earlier attempts whose folders are next to this one. Returns what
/// the owner of the job should know.
pub(crate) fn rescue_earlier(plan: &Plan, folder: &Folder, cut: &CancellationToken) -> Vec<String> {
    let mut notes = Vec::new();
    for number in 1..plan.attempt.number {
        let earlier = AttemptId { number, ..plan.attempt };
        let Some(left) = folder.beside(&earlier.to_string(), plan.rank) else { continue };
        match rescue(&left, cut) {
            Ok(None) => {}
            Ok(Some(Collected { files, notes: said, .. })) => {
                if files > 0 {
                    notes.push(format!(
                        "the worker of {earlier} did not come to keep its outputs: {files} files \
                         of it are kept now"
                    ));
                }
                notes.extend(said);
            }
            Err(error) => notes.push(format!("outputs of {earlier} could not be kept: {error}")),
        }
    }
    notes
}

/// The same for the folder of one worker, which has ended.
///
/// # Errors
/// They could not all be stored; they are still there.
pub(crate) fn rescue_here(root: &Path) -> Result<()> {
    let Some(folder) = Folder::of_earlier(root) else { return Ok(()) };
    let collected = rescue(&folder, &CancellationToken::new()).context("keeping outputs")?;
    let Some(Collected { files, notes, whole }) = collected else { return Ok(()) };
    tracing::info!(files, "kept the outputs that were left here");
    for note in &notes {
        tracing::warn!("{note}");
    }
    anyhow::ensure!(whole, "not all outputs could be kept: {}", notes.join("; "));
    Ok(())
}

/// `None` if there is nothing to rescue.
fn rescue(folder: &Folder, cut: &CancellationToken) -> io::Result<Option<Collected>> {
    let note = folder.outputs_note();
    let mut waited = Duration::ZERO;
    loop {
        if !note.try_exists()? {
            return Ok(None);
        }
        if let Some(_lock) = folder.lock()? {
            let Some(bytes) = if_there(fs::read(&note))? else { return Ok(None) };
            let plan: Plan = serde_json::from_slice(&bytes)?;
            // Nothing may go on writing.
            process_tree::kill_left_behind(&folder.progress());
            let gate = Gate::of(&plan).may_be_late();
            let collected = collect(&plan, &gate, folder, &Brought::default(), false, cut);
            if collected.whole {
                if_there(fs::remove_file(&note))?;
            }
            return Ok(Some(collected));
        }
        if waited >= LOCK_TIMEOUT || cut.is_cancelled() {
            return Err(io::Error::other("its worker still lives"));
        }
        std::thread::sleep(LOCK_INTERVAL);
        waited += LOCK_INTERVAL;
    }
}
