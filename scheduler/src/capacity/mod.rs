//! Where attempts run. Everything here is idempotent by attempt and rank, and
//! nothing here decides: phases do.

mod external;
mod limits;
mod local;
mod process_tags;
mod salvage;

use spotwise_model::AttemptId;
use spotwise_solver::PoolLimit;

use crate::config::ServeConfig;
use spotwise_control::config::Launcher;

pub use external::ExternalWorkers;
pub(crate) use limits::POOL as LOCAL_POOL;
pub use local::Local;

/// A pool that workers are launched on.
#[derive(Debug)]
pub enum Capacity {
    /// Processes on this machine.
    Local(Local),
    /// Workers started by something else.
    External(ExternalWorkers),
}

/// One worker to launch.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Which node of it.
    pub rank: u32,
    /// The token that the worker presents with every call.
    pub token: String,
    /// The address at which it reaches the scheduler.
    pub server: String,
}

impl std::fmt::Debug for Launch {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { attempt, rank, server, .. } = self;
        write!(f, "Launch({attempt}-{rank} from {server})")
    }
}

/// A failed launch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// Whether the same launch may succeed later.
    pub retryable: bool,
    /// Whether it may have succeeded after all.
    pub unknown: bool,
    /// The pool's message.
    pub message: String,
}

/// A worker known to the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which attempt it carries out.
    pub attempt: AttemptId,
    /// Which node of it.
    pub rank: u32,
    /// Its process.
    pub pid: Option<u32>,
    /// Whether it is running, or about to.
    pub alive: bool,
    /// Whether its command may have been started.
    pub started: bool,
}

impl Capacity {
    /// The pool that the configuration asks for. `install` marks every process on this
    /// machine that belongs to this installation.
    pub fn of(config: &ServeConfig, install: &str) -> Self {
        match config.control.launcher {
            Launcher::Local => Self::Local(Local::new(config, install)),
            Launcher::External => Self::External(ExternalWorkers::new(config)),
        }
    }

    /// Launches a worker, unless it is already running.
    ///
    /// # Errors
    /// It cannot be launched, or has been launched before and is lost: a
    /// command is never started twice.
    pub async fn launch(&self, launch: &Launch) -> Result<(), LaunchError> {
        match self {
            Self::Local(local) => local.launch(launch).await,
            Self::External(_) => Ok(()),
        }
    }

    /// Kills at once whatever is left of an attempt: workers, commands, and what they
    /// started.
    pub async fn kill(&self, attempt: AttemptId) {
        match self {
            Self::Local(local) => local.kill(attempt).await,
            Self::External(_) => {}
        }
    }

    /// Every worker known to the pool, including dead ones until they are cleaned up.
    pub async fn list(&self) -> Vec<Found> {
        match self {
            Self::Local(local) => local.list().await,
            Self::External(_) => Vec::new(),
        }
    }

    /// What the pool has in all.
    pub fn total(&self) -> PoolLimit {
        match self {
            Self::Local(local) => local.total(),
            Self::External(external) => external.total(),
        }
    }

    /// Kills processes of `install` whose worker is gone and whose attempt has ended (or
    /// whose command was started and left alone), and removes the folders of ended
    /// attempts. Nothing belonging to anyone else is touched. Returns how many processes
    /// were killed.
    pub async fn reap_strays(
        &self,
        install: &str,
        is_live: impl Fn(AttemptId) -> bool + Send + 'static,
    ) -> usize {
        match self {
            Self::Local(local) => local.reap_strays(install, is_live).await,
            Self::External(_) => 0,
        }
    }
}
