//! Output files belong to the job, over all its attempts.
//!
//! ```text
//! <store>/...                 what the job has left: node 0, and the only one mostly
//! <store>/rank-1/...          what the other nodes of a gang have left
//! <beside it>/.j17.outputs/   who may write there, and files on their way
//! ```
//!
//! An attempt starts with what earlier ones left ([`bring`]), and ends, in whatever way, by
//! copying what it has to the store ([`collect`]). What a killed worker could not copy is
//! copied later, by the worker of the next attempt on its machine, or by one that is
//! started for it ([`rescue`]). An older attempt that comes late replaces nothing
//! ([`Gate`]). Decision 23 says what is kept.

mod bring;
mod collect;
mod copy;
mod gate;
mod rescue;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spotwise_model::AttemptId;

use tokio_util::sync::CancellationToken;

pub(crate) use bring::Brought;
use bring::bring;
pub(crate) use collect::Collected;
use collect::collect;
use gate::Gate;
use rescue::rescue_earlier;
pub(crate) use rescue::rescue_here;

use crate::folder::{Folder, inside};
use crate::notes::Notes;

/// The owner of the outputs, and where they go. It stays in the worker's folder from the
/// start of the command until all of them are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Job and number.
    pub(crate) attempt: AttemptId,
    /// Which node.
    pub(crate) rank: u32,
    /// The number of nodes.
    pub(crate) nodes: u32,
    /// The folder of the job's outputs.
    pub(crate) store: PathBuf,
    /// What the job names in its working folder.
    pub(crate) named: Vec<String>,
}

impl Plan {
    /// Where this node's outputs go.
    fn base(&self) -> PathBuf {
        match self.rank {
            0 => self.store.clone(),
            rank => self.store.join(format!("rank-{rank}")),
        }
    }

    /// Where something of the output folder goes in the store, relative to this node's
    /// base. Names that belong to the other nodes are not available to node 0.
    fn stored(&self, path: &Path) -> PathBuf {
        if self.takes_a_rank(path) { Path::new("rank-0").join(path) } else { path.to_owned() }
    }

    /// Whether a path of node 0 begins like the folder of a node.
    fn takes_a_rank(&self, path: &Path) -> bool {
        let first = path.components().next().and_then(|part| part.as_os_str().to_str());
        let rank = first.and_then(|name| name.strip_prefix("rank-")?.parse::<u32>().ok());
        self.rank == 0 && self.nodes > 1 && rank.is_some_and(|rank| rank < self.nodes)
    }

    /// Where something of the store comes from, and goes to at the next start: into the
    /// working folder if the job names it, otherwise into the output folder. `None` for
    /// another node's.
    fn home(&self, stored: &Path, work: &Path, output: &Path) -> Option<PathBuf> {
        let named = |name: &String| {
            let name = inside(Path::new(""), name).map(|name| tidy(&name));
            name.is_some_and(|name| !name.as_os_str().is_empty() && stored.starts_with(name))
        };
        if self.named.iter().any(named) {
            return Some(work.join(stored));
        }
        if self.takes_a_rank(stored) {
            let own = stored.strip_prefix("rank-0").ok()?;
            return (!own.as_os_str().is_empty()).then(|| output.join(own));
        }
        Some(output.join(stored))
    }
}

/// The outputs of earlier attempts: first kept, if that has not happened yet, then brought
/// to where the command finds them. If that fails the attempt continues: what is kept
/// stays, and what it leaves is added.
pub(crate) async fn begin(plan: Plan, folder: Folder, notes: &Notes) -> Brought {
    // Dropping this future, when the attempt is stopped, ends the copy too.
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    let brought = tokio::task::spawn_blocking(move || {
        let found = rescue_earlier(&plan, &folder, &cut);
        let brought = Gate::of(&plan).begin().and_then(|()| bring(&plan, &folder, &cut));
        (found, brought)
    });
    let (found, brought) = match brought.await {
        Ok(done) => done,
        Err(error) => (Vec::new(), Err(io::Error::other(error))),
    };
    found.iter().for_each(|note| notes.send(note));
    brought.unwrap_or_else(|error| {
        notes.send(&format!(
            "the outputs of earlier attempts are kept, but could not be brought to this one: {error}"
        ));
        Brought::default()
    })
}

/// From now on there may be outputs that would need rescuing.
pub(crate) fn note(plan: &Plan, folder: &Folder) {
    let noted = serde_json::to_vec(plan).map_err(io::Error::from);
    if let Err(error) = noted.and_then(|note| std::fs::write(folder.outputs_note(), note)) {
        tracing::warn!(%error, "outputs could not be rescued");
    }
}

/// Adds the outputs to those of the job, however the command has ended.
pub(crate) async fn keep(
    plan: Plan,
    brought: Brought,
    folder: Folder,
    succeeded: bool,
) -> Collected {
    // Dropping this future, when the attempt is fenced, ends the copy too.
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    let done = tokio::task::spawn_blocking(move || {
        collect(&plan, &Gate::of(&plan), &folder, &brought, succeeded, &cut)
    });
    // One that broke off has brought what it could; the rest is there to be rescued.
    done.await.unwrap_or_default()
}

/// Without `.` in it.
fn tidy(path: &Path) -> PathBuf {
    let parts = path.components();
    parts.filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}

/// The folder behind a store's address: `file:///folder`, or the folder itself.
pub(crate) fn store_folder(address: &str) -> Result<PathBuf, String> {
    let path = address.strip_prefix("file://").unwrap_or(address);
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err(format!(
            "outputs in `{address}` need a build with that store; this one has folders only"
        ))
    }
}

/// What does not exist cannot be missing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
