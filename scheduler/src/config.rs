//! The operator's settings for one scheduler.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use spotwise_api::spool::Bounds;
use spotwise_control::Config;
use spotwise_model::AttemptId;
use spotwise_store::Location;

use crate::storage::StorageChoice;
use crate::tls::TlsSetting;
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
    /// Where gRPC and REST listen, on one port: on loopback, or with TLS of its own or of
    /// a trusted proxy.
    pub listen: SocketAddr,
    /// What is shown there.
    pub tls: TlsSetting,
    /// Who shows it in place of the scheduler, and says whom it answers for.
    pub trusted_proxies: Vec<IpAddr>,
    /// Names under which it is called, besides those that follow from its addresses.
    pub names: Vec<String>,
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
            tls: TlsSetting::None,
            trusted_proxies: Vec::new(),
            names: Vec::new(),
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

    /// Where the key of an own authority is kept.
    pub fn tls_dir(&self) -> PathBuf {
        self.data_dir.join("tls")
    }

    /// Where it answers, as a program of this machine calls it.
    pub fn url(&self) -> String {
        let scheme = if self.tls == TlsSetting::None { "http" } else { "https" };
        let mut address = self.listen;
        if address.ip().is_unspecified() {
            let loopback: IpAddr = match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            address.set_ip(loopback);
        }
        format!("{scheme}://{address}")
    }

    /// The names under which others call it: those given, the host of what is advertised,
    /// the machine's own, and the address it listens on.
    pub fn site_names(&self) -> Vec<String> {
        let advertised = self.advertise.as_deref().and_then(|url| {
            let uri: http::Uri = url.parse().ok()?;
            Some(uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned())
        });
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let machine = machine.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let listens = Some(self.listen.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
        let mut names: Vec<String> = self.names.clone();
        names.extend(advertised);
        names.extend(machine);
        names.extend(listens.map(|ip| ip.to_string()));
        names.iter_mut().for_each(|name| name.make_ascii_lowercase());
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where the database is.
    pub fn database(&self) -> Location {
        let file = || self.data_dir.join("spotwise.db").into();
        self.database.clone().unwrap_or_else(file)
    }
}

/// The default port of `serve`.
pub const DEFAULT_PORT: u16 = 7717;
