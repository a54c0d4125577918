//! The operator's settings for one scheduler.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spotwise_api::spool::Bounds;
use spotwise_control::Config;
use spotwise_model::AttemptId;
use spotwise_store::Location;

use crate::storage::StorageChoice;
use crate::worker_program::WorkerProgram;

/// What one scheduler runs with. The command line fills it in.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The settings that decisions depend on.
    pub control: Config,
    /// Folder of everything durable: database, logs, checkpoints, outputs.
    pub data_dir: PathBuf,
    /// Where jobs' files are kept.
    pub storage: StorageChoice,
    /// The database; `None` for a file in the data folder.
    pub database: Option<Location>,
    /// Where gRPC and REST listen, on one port. Loopback only until
    /// authentication exists.
    pub listen: SocketAddr,
    /// How often workers report.
    pub heartbeat: Duration,
    /// How long a leader leads without renewing its lease: a standby takes over this long
    /// after it has died.
    pub term: Duration,
    /// Where workers and other schedulers reach this one, if that is not the address it
    /// listens on.
    pub advertise: Option<String>,
    /// The addresses of the other schedulers of this database: workers turn to them when
    /// this one is gone.
    pub peers: Vec<String>,
    /// Without a pools file, workers are started by somebody else and register by
    /// themselves.
    pub external_workers: bool,
    /// GPU requests may run on CPUs: borrowed names, real processes.
    pub simulate_accelerators: bool,
    /// CPUs of this machine to use, in thousandths; `None` for all of them.
    pub cpu_milli: Option<u64>,
    /// Memory of this machine to use, in MiB; `None` for all of it.
    pub memory_mib: Option<u64>,
    /// Captured output kept of each attempt and rank, in bytes: half from its
    /// beginning, half from its end.
    pub output_bytes: u64,
    /// The program that carries out attempts.
    pub worker: WorkerProgram,
}

/// The file in the log folder with the first bytes that an attempt and rank wrote; the last
/// ones are in another next to it.
pub fn log_file(logs: &Path, attempt: AttemptId, rank: u32) -> PathBuf {
    logs.join(format!("{attempt}-{rank}.log"))
}

impl ServeConfig {
    /// A scheduler for this folder with every default.
    pub fn new(data_dir: PathBuf, worker_program: PathBuf) -> Self {
        Self {
            control: Config::default(),
            data_dir,
            storage: StorageChoice::default(),
            database: None,
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            heartbeat: Duration::from_millis(500),
            term: Duration::from_secs(3),
            advertise: None,
            peers: Vec::new(),
            external_workers: false,
            simulate_accelerators: false,
            cpu_milli: None,
            memory_mib: None,
            output_bytes: Bounds::DEFAULT_BYTES,
            worker: WorkerProgram::within(worker_program),
        }
    }

    /// The folder of what jobs leave in folders.
    pub fn files_dir(&self) -> &Path {
        self.storage.folder().unwrap_or(&self.data_dir)
    }

    /// Where captured output of attempts is kept.
    pub fn logs_dir(&self) -> PathBuf {
        self.files_dir().join("logs")
    }

    /// Where checkpoints of jobs are kept, unless in an object store.
    pub fn checkpoints_dir(&self) -> PathBuf {
        self.files_dir().join("checkpoints")
    }

    /// Where collected output files are kept.
    pub fn outputs_dir(&self) -> PathBuf {
        self.files_dir().join("outputs")
    }

    /// Where the local pool's workers live while they are running.
    pub fn work_dir(&self) -> PathBuf {
        self.data_dir.join("work")
    }

    /// Where the database is.
    pub fn database(&self) -> Location {
        let file = || self.data_dir.join("spotwise.db").into();
        self.database.clone().unwrap_or_else(file)
    }
}

/// The default port of `serve`.
pub const DEFAULT_PORT: u16 = 7717;
