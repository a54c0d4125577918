//! This machine: each worker is a process with a folder of its own, and its lock in that
//! folder shows that it is alive. Workers outlive the scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spotwise_api::spool::Bounds;
use spotwise_model::AttemptId;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use spotwise_capacity::{FoundWorker, StartError, WorkerOrder};
use spotwise_storage::CREDENTIAL_VARIABLES;

use super::folders::{WorkerKey, folder, is_locked, is_new, keys, pid_in, remove, was_started};
use super::{process_tags, salvage};
use crate::config::{ServeConfig, log_file};
use crate::worker_program::WorkerProgram;

/// A kill is repeated until nothing is left, but not indefinitely: what hangs in the kernel
/// does not die.
const KILL_ROUNDS: u32 = 100;
const KILL_PAUSE: Duration = Duration::from_millis(20);

/// A worker leaves this note next to outputs that it has not preserved.
const OUTPUTS_NOTE: &str = "outputs.json";

/// The number of workers preserving outputs that are started at once.
const RESCUES: usize = 4;

/// The pool of this machine.
#[derive(Debug)]
pub struct Local {
    program: WorkerProgram,
    work: PathBuf,
    output: Output,
    install: String,
    /// Variables that no worker inherits: the scheduler's own keys of the object store.
    withheld: &'static [&'static str],
    children: Children,
    reaps: tokio::sync::Mutex<()>,
    reaping: Mutex<JoinSet<()>>,
}

/// Where captured output belongs, and how much of it.
#[derive(Clone, Debug)]
struct Output {
    logs: PathBuf,
    bounds: Bounds,
}

/// The workers that this process launched: their pid while they are running.
type Children = Arc<Mutex<BTreeMap<WorkerKey, Option<u32>>>>;

impl Local {
    /// The workers' folders are in the configuration's `work` folder.
    pub fn new(config: &ServeConfig, install: &str) -> Self {
        Self {
            program: config.worker.clone(),
            work: config.work_dir(),
            output: Output { logs: config.logs_dir(), bounds: Bounds::of(config.output_bytes) },
            install: install.to_owned(),
            withheld: if config.storage.bucket().is_some() { &CREDENTIAL_VARIABLES } else { &[] },
            children: Children::default(),
            reaps: tokio::sync::Mutex::new(()),
            reaping: Mutex::default(),
        }
    }

    /// See [`Backend::start_worker`](spotwise_capacity::Backend::start_worker).
    ///
    /// # Errors
    /// The worker cannot be started, or was and is lost.
    pub async fn launch(&self, launch: &WorkerOrder) -> Result<(), StartError> {
        let key = (launch.attempt, launch.rank);
        // Held over the start, so that nobody sees a folder without its worker.
        let mut children = lock(&self.children);
        let folder = folder(&self.work, key);
        if children.get(&key).is_some_and(Option::is_some) || is_locked(&folder) {
            return Ok(());
        }
        if was_started(&folder) || folder.join("exit.json").exists() {
            return Err(StartError {
                retryable: false,
                unknown: false,
                message: "lost: the worker is gone, and a command is never started twice"
                    .to_owned(),
            });
        }
        let child = self.spawn(launch, &folder).map_err(|error| StartError {
            // EAGAIN and ENOMEM pass; a program that is not there does not come.
            retryable: !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ),
            unknown: false,
            message: format!(
                "the worker {} cannot be started: {error}",
                self.program.path().display()
            ),
        })?;
        children.insert(key, child.id());
        drop(children);
        self.reap_child(key, child);
        Ok(())
    }

    /// See [`Backend::hand_over`](spotwise_capacity::Backend::hand_over).
    pub fn hand_over(&self, from: AttemptId, order: &WorkerOrder) -> bool {
        let (old, new) = ((from, 0), (order.attempt, order.rank));
        let mut children = lock(&self.children);
        let alive =
            children.get(&old).is_some_and(Option::is_some) || is_locked(&folder(&self.work, old));
        let folder = folder(&self.work, new);
        if !alive || children.contains_key(&new) || folder.exists() {
            return false;
        }
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "a worker cannot go on there");
            return false;
        }
        // The process is the same: it is the new attempt's from now on.
        if let Some(pid) = children.insert(old, None).flatten() {
            children.insert(new, Some(pid));
        }
        true
    }

    /// See [`Backend::kill`](spotwise_capacity::Backend::kill).
    pub async fn kill(&self, attempt: AttemptId) {
        self.kill_all(move |process| process.attempt == attempt).await;
    }

    /// Kills at once whatever is left of one worker of an attempt.
    pub(super) async fn kill_worker(&self, attempt: AttemptId, rank: u32) {
        self.kill_all(move |process| process.attempt == attempt && process.rank == rank).await;
    }

    async fn kill_all(
        &self,
        meant: impl Fn(&process_tags::TaggedProcess) -> bool + Clone + Send + 'static,
    ) {
        for _ in 0..KILL_ROUNDS {
            let (install, meant) = (self.install.clone(), meant.clone());
            let killed = blocking(move || {
                let found = process_tags::find(&install);
                found.iter().filter(|process| meant(process) && process.kill(&install)).count()
            });
            if killed.await == 0 {
                return;
            }
            tokio::time::sleep(KILL_PAUSE).await;
        }
        tracing::warn!("processes do not die");
    }

    /// See [`Backend::reap_strays`](spotwise_capacity::Backend::reap_strays).
    /// One at a time: several pools may run here, and what one clears up is no news to the
    /// others.
    pub(super) async fn reap_all(&self, live: BTreeSet<AttemptId>) -> usize {
        let Ok(_alone) = self.reaps.try_lock() else { return 0 };
        let install = self.install.clone();
        self.reap_strays(&install, move |id| live.contains(&id)).await
    }

    /// See [`Backend::list_workers`](spotwise_capacity::Backend::list_workers).
    pub async fn list(&self) -> Vec<FoundWorker> {
        let (work, children) = (self.work.clone(), Arc::clone(&self.children));
        let output = self.output.clone();
        blocking(move || {
            // Before the folders: a child that is launched meanwhile is not
            // listed, instead of listed as dead.
            let children = lock(&children).clone();
            let found = keys(&work).into_iter().filter_map(|key| {
                let folder = folder(&work, key);
                let child = children.get(&key);
                let pid = child.copied().flatten().or_else(|| pid_in(&folder));
                let alive = child.is_some_and(Option::is_some) || is_locked(&folder);
                // Without a pid and a child it was never launched, or only
                // just is: nothing can be said.
                let known = pid.is_some() || child.is_some();
                let (attempt, rank) = key;
                let started = was_started(&folder);
                if !alive && started {
                    // Before anybody hears that the attempt is over.
                    output.take(&folder, key);
                }
                known.then_some(FoundWorker { attempt, rank, pid, alive, started })
            });
            found.collect()
        })
        .await
    }

    /// See [`Backend::reap_strays`](spotwise_capacity::Backend::reap_strays).
    pub async fn reap_strays(
        &self,
        install: &str,
        is_live: impl Fn(AttemptId) -> bool + Send + 'static,
    ) -> usize {
        let (work, children) = (self.work.clone(), Arc::clone(&self.children));
        let (ours, install) = (install == self.install, install.to_owned());
        let (program, output) = (self.program.clone(), self.output.clone());
        blocking(move || {
            let mut killed = 0;
            for process in process_tags::find(&install) {
                let key = (process.attempt, process.rank);
                if is_stray(&work, &children, key, &is_live) && process.kill(&install) {
                    tracing::warn!(attempt.id = %process.attempt, pid = process.pid, "killed a stray");
                    killed += 1;
                }
            }
            // The folders are this installation's.
            if ours {
                clear(&program, &work, &children, &output, &is_live);
            }
            killed
        })
        .await
    }

    /// In its own process group, so that no Ctrl-C meant for the scheduler
    /// reaches it.
    fn spawn(&self, launch: &WorkerOrder, folder: &Path) -> io::Result<Child> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(folder.join("worker.log"))?;
        let WorkerOrder { attempt, rank, token, server, authority, machine: _ } = launch;
        let (attempt, rank) = (attempt.to_string(), rank.to_string());
        let mut command = Command::from(self.program.command());
        for name in self.withheld {
            command.env_remove(name);
        }
        command
            .args(["--server", server, "--attempt", &attempt, "--rank", &rank, "--dir"])
            .arg(folder)
            .env("SPOTWISE_WORKER_TOKEN", token)
            .envs(authority.iter().map(|authority| ("SPOTWISE_AUTHORITY", authority)))
            .env(process_tags::INSTALL, &self.install)
            .env(process_tags::ATTEMPT, &attempt)
            .env(process_tags::RANK, &rank)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
    }

    fn reap_child(&self, key: WorkerKey, mut child: Child) {
        let children = Arc::clone(&self.children);
        let pid = child.id();
        let mut tasks = self.reaping.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            match child.wait().await {
                Ok(status) => tracing::debug!(attempt.id = %key.0, %status, "a worker has ended"),
                Err(error) => tracing::warn!(%error, "a worker cannot be waited for"),
            }
            // It may have gone on with other attempts.
            let mut children = lock(&children);
            let its_own = children.iter().filter(|(_, known)| known.is_some() && **known == pid);
            let its_own = its_own.map(|(key, _)| *key).next().unwrap_or(key);
            children.insert(its_own, None);
        });
    }
}

impl Output {
    /// What a worker had captured and not delivered when it died.
    fn take(&self, folder: &Path, (attempt, rank): WorkerKey) {
        let log = log_file(&self.logs, attempt, rank);
        if let Err(error) = salvage::take_output(folder, log, self.bounds) {
            tracing::warn!(%error, attempt.id = %attempt, rank, "captured output is not taken over");
        }
    }
}

/// No worker is looking after it any more, and none will: either the attempt has ended, or
/// the command was started, which happens once.
fn is_stray(
    work: &Path,
    children: &Children,
    key: WorkerKey,
    is_live: &impl Fn(AttemptId) -> bool,
) -> bool {
    let folder = folder(work, key);
    // A worker of ours without its lock is only about to take it; so may one be that goes on
    // there, although nobody knew of that attempt when this look began.
    let starting = lock(children).get(&key).is_some_and(Option::is_some) || is_new(&folder);
    !starting && (!is_live(key.0) || was_started(&folder)) && !is_locked(&folder)
}

/// Removes the folders of ended attempts. What is durable is elsewhere, except the outputs
/// left by a killed worker: a worker is started to preserve them, and the folder is removed
/// the next time.
fn clear(
    program: &WorkerProgram,
    work: &Path,
    children: &Children,
    output: &Output,
    is_live: &impl Fn(AttemptId) -> bool,
) {
    let mut rescued = 0;
    for key in keys(work) {
        let mut children = lock(children);
        let running = children.get(&key).is_some_and(Option::is_some);
        let folder = folder(work, key);
        if running || is_live(key.0) || is_locked(&folder) {
            continue;
        }
        children.remove(&key);
        drop(children);
        output.take(&folder, key);
        if folder.join(OUTPUTS_NOTE).exists() {
            if rescued < RESCUES && program.rescue(&folder) {
                rescued += 1;
            }
            continue;
        }
        if let Err(error) = remove(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "a folder stays");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work on files and `/proc`, off the loop. A check that is cut off finds nothing.
async fn blocking<T: Default + Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
