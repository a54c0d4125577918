//! The contents of the checkpoint folder, as far as a checkpoint may hold them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{CheckpointError, MOST_BYTES, MOST_ENTRIES};
use crate::survey::{Stamp, Survey, survey};

/// Examines the folder. A missing one counts as empty.
///
/// More than a checkpoint may hold is refused as a whole: picking some of the files would
/// make a checkpoint that the command never wrote.
pub(super) fn scan(folder: &Path) -> Result<Survey, CheckpointError> {
    let survey = survey(folder).map_err(|(path, source)| CheckpointError::File {
        path: path.display().to_string(),
        source,
    })?;
    let count = survey.entries.len();
    if count > MOST_ENTRIES {
        return Err(CheckpointError::Refused(format!(
            "{count} files and folders, more than the {MOST_ENTRIES} that a checkpoint may hold: \
             put small files into archives"
        )));
    }
    let total = survey.files().map(|(_, file)| u128::from(file.size)).sum::<u128>();
    if total > u128::from(MOST_BYTES) {
        return Err(CheckpointError::Refused(format!(
            "{total} bytes, more than the {MOST_BYTES} that a checkpoint may hold"
        )));
    }
    Ok(survey)
}

/// The latest write time of the files that are not written all the time, or of all files if
/// each one is.
pub(super) fn newest(survey: &Survey, moves: impl Fn(&PathBuf) -> bool) -> Option<SystemTime> {
    let still = survey.files().filter(|(entry, _)| !moves(&entry.path));
    let still = still.map(|(entry, _)| entry.modified).max();
    still.or_else(|| survey.files().map(|(entry, _)| entry.modified).max()).map(system_time)
}

fn system_time(at: Stamp) -> SystemTime {
    let nanos = Duration::from_nanos(at.nanos.unsigned_abs());
    let seconds = Duration::from_secs(at.seconds.unsigned_abs());
    let whole = if at.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}
