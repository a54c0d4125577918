//! After a restore: what was done after the backup is gone from the database, and yet its
//! folders, its checkpoints, and maybe its workers, still exist. Numbers of jobs and
//! attempts are not assigned again, so that nothing new meets an old one's leftovers.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use spotwise_model::time::TimeScale;
use spotwise_model::{AttemptId, JobId};

use crate::config::ServeConfig;
use crate::storage::ObjectStorage;
use spotwise_control::core::Leftovers;
use spotwise_control::phase::restored::record_gaps;
use spotwise_control::phase::round::WorkingState;
use spotwise_storage::StorageError;
use spotwise_store::{Epoch, RESTORED_AT, RESTORED_FROM, Round, Store, StoreError};

/// The restore that the jobs know of: the value that `RESTORED_AT` had then.
const TAKEN_IN: &str = "restored_taken_in_us";

/// Why the jobs of a restored database are not known.
#[derive(Debug, thiserror::Error)]
pub enum TakeInError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object store does not say what is in it.
    #[error("what is in the object store is not listed")]
    Storage(#[from] StorageError),
}

/// Updates the jobs of a restored database with what the data folder shows of them, once
/// after each restore. Returns the highest job number in use; 0 if the database was never
/// restored.
pub(super) async fn take_in(
    store: &Store,
    config: &ServeConfig,
    storage: Option<&ObjectStorage>,
    epoch: Epoch,
    scale: TimeScale,
) -> Result<u64, TakeInError> {
    let Some(restored) = store.meta(RESTORED_AT).await? else { return Ok(0) };
    let mut leftovers = leftovers(config);
    if let Some(storage) = storage {
        for name in storage.names().await? {
            note_name(&name, &mut leftovers);
        }
    }
    if store.meta(TAKEN_IN).await?.as_ref() == Some(&restored) {
        return Ok(leftovers.last_job());
    }
    let loaded = store.load().await?;
    let id = loaded.last_round + 1;
    let mut state = loaded.into_state();
    let mut working = WorkingState { state: &mut state, changes: Vec::new() };
    let now = crate::clock::now();
    let made = store.meta(RESTORED_FROM).await?.and_then(|made| made.parse().ok());
    let made = made.and_then(|made| Timestamp::from_microsecond(made).ok()).unwrap_or(now);
    record_gaps(&mut working, &leftovers, &config.control, scale.at(made), scale.at(now));
    if !working.changes.is_empty() {
        store.commit(&Round { epoch, id, changes: &working.changes }).await?;
    }
    store.set_meta(TAKEN_IN, &restored).await?;
    Ok(leftovers.last_job())
}

/// What the data folder shows of jobs and attempts.
fn leftovers(config: &ServeConfig) -> Leftovers {
    let mut leftovers = Leftovers::default();
    for folder in [config.work_dir(), config.logs_dir(), config.outputs_dir()] {
        note_names(&folder, &mut leftovers);
    }
    // A folder a job, and in it one a checkpoint.
    let checkpoints = config.checkpoints_dir();
    note_names(&checkpoints, &mut leftovers);
    for job in fs::read_dir(checkpoints).into_iter().flatten().flatten() {
        note_names(&job.path(), &mut leftovers);
    }
    leftovers
}

/// Names are those of jobs (`j17`) or begin with those of attempts
/// (`j17.2-0.log`).
fn note_names(folder: &Path, leftovers: &mut Leftovers) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        note_name(entry.file_name().to_str().unwrap_or_default(), leftovers);
    }
}

fn note_name(name: &str, leftovers: &mut Leftovers) {
    let name = name.split('-').next().unwrap_or_default();
    if let Ok(attempt) = name.parse::<AttemptId>() {
        leftovers.note(attempt.job, attempt.number);
    } else if let Ok(job) = name.parse::<JobId>() {
        leftovers.note(job, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spotwise_control::core::Change;
    use spotwise_control::fixture::{at, job};
    use spotwise_store::Location;

    #[test]
    fn numbers_are_read_from_the_names_of_folders_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = ServeConfig::new(folder.path().to_owned(), folder.path().to_owned());
        config.data_dir = folder.path().to_owned();
        assert_eq!(leftovers(&config), Leftovers::default(), "there is nothing yet");
        for path in [
            "work/j9.2-0",
            "work/j9.10-0",
            "logs/j9.11-0.log",
            "logs/k7000.1-0.log",
            "outputs/j17",
            "outputs/jobs",
            "checkpoints/j12/j12.3-000004",
            "checkpoints/j12/j12.2-000009",
            "checkpoints/j",
        ] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let leftovers = leftovers(&config);
        let attempts = [9, 12, 17, 7_000].map(|job| leftovers.attempts(JobId(job)));
        assert_eq!((attempts, leftovers.last_job()), ([11, 3, 0, 0], 17));
    }

    #[tokio::test]
    async fn jobs_are_told_once_after_each_restore() {
        let folder = tempfile::tempdir().unwrap();
        let config = ServeConfig::new(folder.path().to_owned(), folder.path().to_owned());
        let location = Location::from(folder.path().join("spotwise.db"));
        let store = Store::open(&location).await.unwrap();
        let epoch = store.lead("test", at(1)).await.unwrap();
        let changes = [Change::from(job(4, "training"))];
        store.commit(&Round { epoch, id: 1, changes: &changes }).await.unwrap();
        fs::create_dir_all(folder.path().join("logs/j4.3-0.log")).unwrap();
        fs::create_dir_all(folder.path().join("outputs/j9")).unwrap();
        let scale = TimeScale::real(at(0));
        let tell = || take_in(&store, &config, None, epoch, scale);
        let known = async || store.job(JobId(4)).await.unwrap().unwrap().restore_gap;
        assert_eq!(tell().await.unwrap(), 0, "it was never restored");
        assert_eq!(known().await, None);
        store.set_meta(RESTORED_AT, "1").await.unwrap();
        assert_eq!(tell().await.unwrap(), 9);
        assert_eq!(known().await.unwrap().attempt, 3);
        fs::create_dir_all(folder.path().join("logs/j4.5-0.log")).unwrap();
        for (restored, attempt) in [("1", 3), ("2", 5)] {
            store.set_meta(RESTORED_AT, restored).await.unwrap();
            tell().await.unwrap();
            assert_eq!(known().await.unwrap().attempt, attempt, "restore {restored}");
        }
        assert_eq!(store.load().await.unwrap().last_round, 3);
        store.close().await;
    }
}
