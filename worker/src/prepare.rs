//! Everything before the command can be started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spotwise_api::v1::Assignment;
use spotwise_model::AttemptId;
use tokio_util::sync::CancellationToken;

use crate::bucket_access::BucketAccess;
use crate::checkpoint::{
    AckedCheckpoints, CheckpointError, CheckpointId, Committer, Restored, Store, Wanted, restore,
};
use crate::environment;
use crate::folder::{Folder, inside};
use crate::input_staging;
use crate::notes::Notes;
use crate::outputs::{Brought, Plan, begin, store_folder};
use crate::scheduler_client::SchedulerClient;

/// A store that is away for longer ends the start of an attempt: meanwhile its machine is
/// paid for. Going on from an older checkpoint, or from none, would cost more.
const LONGEST_ABSENCE: Duration = Duration::from_secs(600);

/// Between two tries.
const ABSENCE_PAUSE: Duration = Duration::from_secs(5);

/// What the command needs.
pub(crate) struct Prepared {
    /// Its complete environment.
    pub(crate) environment: BTreeMap<String, OsString>,
    /// Where it starts.
    pub(crate) workdir: PathBuf,
    /// Where its outputs go, and which of them existed before.
    pub(crate) outputs: Option<(Plan, Brought)>,
    /// What was loaded.
    pub(crate) restored: Restored,
    /// Commits its checkpoints; `None` if it makes none, and on the other nodes of a gang.
    pub(crate) committer: Option<Committer>,
}

/// Brings inputs and checkpoint, and resolves secrets. The message of an error
/// is for the owner of the job.
pub(crate) async fn prepare(
    assignment: &Assignment,
    attempt: AttemptId,
    folder: &Folder,
    client: &SchedulerClient,
    fence: &CancellationToken,
    acked: &AckedCheckpoints,
    notes: &Notes,
) -> Result<Prepared, String> {
    if assignment.command.is_empty() {
        return Err("the job has no command".to_owned());
    }
    let settings = assignment.checkpoint.clone().unwrap_or_default();
    let dir = folder.checkpoint(&settings.dir).ok_or_else(|| {
        format!("checkpoint folder {:?}: not inside the working folder", settings.dir)
    })?;
    let output_store = Some(assignment.output_store.as_str()).filter(|store| !store.is_empty());
    let output_store = output_store.map(store_folder).transpose()?;
    input_staging::bring(folder, assignment.inputs.clone()).await?;
    let mut outputs = None;
    if let Some(store) = output_store {
        let plan = Plan {
            attempt,
            rank: client.rank(),
            nodes: u32::try_from(assignment.addresses.len()).unwrap_or(u32::MAX),
            store,
            named: assignment.outputs.clone(),
        };
        let brought = begin(plan.clone(), folder.clone(), notes).await;
        outputs = Some((plan, brought));
    }

    let mut restored = Restored::default();
    let mut committer = None;
    std::fs::create_dir_all(&dir).map_err(|error| format!("checkpoint folder: {error}"))?;
    if settings.enabled {
        let failed = |error: CheckpointError| error.line();
        let access = assignment.object_store.clone();
        let access = access.map(|told| BucketAccess::new(told, client.clone()));
        let store = Store::open_with(&settings.store, attempt.job, access).map_err(failed)?;
        let store = store.after(&settings.earlier).map_err(failed)?;
        let assigned = CheckpointId::assigned(assignment.restore.as_ref()).map_err(failed)?;
        let wanted = match assigned {
            _ if assignment.newest_saved => Wanted::NewestBefore(attempt),
            Some(assigned) => Wanted::This(assigned),
            None => Wanted::Nothing,
        };
        restored = restore_patiently(&store, wanted, folder, &dir, notes).await.map_err(failed)?;
        acked.restored(restored.loaded, assignment.addresses.len() > 1);
        if client.rank() == 0 {
            let (fence, acked) = (fence.clone(), acked.clone());
            let new = Committer::new(store, attempt, dir.clone(), settings.keep, fence, acked);
            let new = new.await.map_err(failed)?.with_room(folder.saving());
            committer = Some(new.after(&restored));
        }
    }
    let own = environment::of_this_process();
    let resumed = restored.loaded.is_some();
    let environment = environment::build(assignment, folder, &dir, resumed, client, &own)?;
    let workdir = workdir(folder, &assignment.workdir)?;
    Ok(Prepared { environment, workdir, outputs, restored, committer })
}

/// Restores, and waits for a store that is elsewhere and does not answer.
async fn restore_patiently(
    store: &Store,
    wanted: Wanted,
    folder: &Folder,
    dir: &Path,
    notes: &Notes,
) -> Result<Restored, CheckpointError> {
    let (begun, mut said) = (Instant::now(), false);
    loop {
        match restore(store, wanted, &folder.restoring(), dir).await {
            Err(error) if error.is_away(store) && begun.elapsed() < LONGEST_ABSENCE => {
                let text = format!("the store of checkpoints is waited for: {}", error.line());
                tracing::warn!("{text}");
                if !std::mem::replace(&mut said, true) {
                    notes.send(&text);
                }
                tokio::time::sleep(ABSENCE_PAUSE).await;
            }
            restored => return restored,
        }
    }
}

/// An absolute folder unchanged, any other inside the working folder.
fn workdir(folder: &Folder, named: &str) -> Result<PathBuf, String> {
    let path = if named.starts_with('/') {
        Some(PathBuf::from(named))
    } else {
        inside(&folder.work(), named)
    };
    let path = path.ok_or_else(|| format!("workdir {named:?}: not inside the working folder"))?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(format!("workdir {named:?}: there is no such folder"))
    }
}
