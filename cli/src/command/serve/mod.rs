//! `spotwise serve`.

pub(super) mod policy;
mod reach;
mod storage;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use spotwise_market::read_egress;
use spotwise_scheduler::config::{DEFAULT_PORT, ServeConfig};
use spotwise_scheduler::options::{MarketChoice, ServeOptions};
use spotwise_scheduler::serve::{Announcement, serve};
use spotwise_scheduler::worker_program::WorkerProgram;
use spotwise_store::Location;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::reach::Reach;
use self::values::{cpus, log_size, memory, scheduler_url, term, turbulence, worker_lease};
use super::{Context, worker};
use crate::exit::{Exit, Failure, chain};
use crate::format::duration;
use crate::output::note;
use crate::text::one_line;

/// Run the scheduler, until interrupted.
///
/// It keeps everything in one folder and continues there when it is started
/// again. It starts the workers of the local pool, as `spotwise-worker` or, where
/// that is not beside it, as `spotwise worker`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Folder of the database, logs, checkpoints and outputs. Default: .spotwise
    /// if it exists here, else $XDG_DATA_HOME/spotwise
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A path, or postgres://USER@HOST/DATABASE with its password in the file that
    /// PGPASSFILE names. Default: spotwise.db in the data folder
    #[arg(long, value_name = "URL|PATH", env = "SPOTWISE_DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// Where jobs' files are kept: a folder, or s3://BUCKET/PREFIX for checkpoints, with the
    /// endpoint and region of AWS_ENDPOINT_URL and AWS_REGION. Default: the data folder
    #[arg(
        long,
        value_name = "PLACE",
        env = "SPOTWISE_STORAGE",
        hide_env_values = true,
        help_heading = "Storage"
    )]
    storage: Option<String>,
    /// Workers get keys of this role for an hour, limited to the files of their job
    #[arg(long, value_name = "ARN", help_heading = "Storage")]
    storage_role: Option<String>,
    /// Workers get the scheduler's own keys of the bucket: for stores that know no roles
    #[arg(long, help_heading = "Storage", conflicts_with = "storage_role")]
    storage_share_keys: bool,
    /// Where gRPC and REST listen; this machine only, unless there is TLS
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)))]
    listen: SocketAddr,
    #[command(flatten)]
    reach: Reach,
    /// `synthetic`, or a recorded market: a table (.csv) or AWS's spot price history (.json)
    #[arg(long, value_name = "MARKET", help_heading = "Market")]
    market: Option<String>,
    /// Market time of the first start; for a recording: of its second 0, where the
    /// index.json beside it does not say
    #[arg(long, value_name = "TIME", help_heading = "Market")]
    market_start: Option<Timestamp>,
    /// Market seconds per second; above 1 only with --market
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Market",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    speed: u32,
    /// The same seed gives the same synthetic market
    #[arg(long, value_name = "N", default_value_t = 7, help_heading = "Market")]
    seed: u64,
    /// How many times shorter the synthetic market's spells are than recorded ones, 0.01 to 1000
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Market", value_parser = turbulence)]
    turbulence: f64,
    /// Machine types, shapes and on-demand prices; by default those built in
    #[arg(long, value_name = "FILE", help_heading = "Market")]
    catalog: Option<PathBuf>,
    /// What moving data between regions costs: a table (.csv) with from_region, to_region
    /// and price_usd_per_gb; $0.02/GB where it says nothing
    #[arg(long, value_name = "FILE", help_heading = "Market")]
    egress: Option<PathBuf>,
    /// What is paid for already (reserved instances, savings plans), YAML: jobs use it
    /// before anything is bought
    #[arg(long, value_name = "FILE", help_heading = "Market")]
    commitments: Option<PathBuf>,
    /// How long before it is taken back a local machine is told so (wall time)
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = duration, help_heading = "Local pool")]
    notice_lead: Duration,
    /// Whether jobs that ask for accelerators run on CPUs: true, false, or auto (where there is no GPU)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Local pool",
        hide_possible_values = true
    )]
    simulate_accelerators: Simulate,
    /// Workers are started by somebody else: for load tests
    #[arg(long, hide = true)]
    outside_workers: bool,
    /// CPUs of this machine to use; by default all
    #[arg(long, value_name = "N", value_parser = cpus, help_heading = "Local pool")]
    cpus: Option<u64>,
    /// Memory of this machine to use, such as 8GB; by default all
    #[arg(long, value_name = "SIZE", value_parser = memory, help_heading = "Local pool")]
    memory: Option<u64>,
    /// Where workers and other schedulers reach this one, if not at --listen
    #[arg(long, value_name = "URL", help_heading = "Several schedulers")]
    advertise: Option<String>,
    /// Where another scheduler of the same database answers; may be given again
    #[arg(long = "peer", value_name = "URL", help_heading = "Several schedulers")]
    peers: Vec<String>,
    /// A leader that has died is replaced after this time
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = term, help_heading = "Several schedulers")]
    leader_term: Duration,
    /// A worker that no scheduler answers for so long saves its work and stops; longer
    /// than outages that jobs shall survive
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = worker_lease)]
    worker_lease: Duration,
    /// Kept of what an attempt (of a gang: each of its nodes) writes, 1MB to 16GB:
    /// half from its beginning, half from its end. Default: 16 MiB
    #[arg(long, value_name = "SIZE", value_parser = log_size)]
    log_size: Option<u64>,
    /// Where capacity comes from, YAML: pools, what they buy, their limits and who may use
    /// them; read again when it changes. Default: this machine
    #[arg(long, value_name = "FILE")]
    pools: Option<PathBuf>,
    /// The operator's settings, YAML
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Whether GPU requests may run on CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Simulate {
    /// Where this machine has no GPU.
    #[default]
    Auto,
    /// Always.
    True,
    /// Never.
    False,
}

/// How the line begins that says where requests are answered.
pub(super) const READY: &str = "ready on ";

/// Days of a synthetic market: at 240 times the real speed, three hours.
const SYNTHETIC_DAYS: u32 = 30;

impl Serve {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        if context.output.is_json() {
            return Err(Failure::usage("serve prints no answer: leave out --output json"));
        }
        let options = self.options()?;
        worker::log_to_stderr();
        note(one_line(&summary(&options)));
        let output = context.output;
        let announce = move |news: Announcement| {
            let line = match news {
                Announcement::Ready { url, authority } => {
                    if let Some(authority) = authority {
                        note(format!(
                            "other machines: spotwise login URL --fingerprint {authority}"
                        ));
                    }
                    format!("{READY}{url}")
                }
                Announcement::Standby { url, leader } => {
                    format!("standing by on {url}; {leader} leads")
                }
            };
            // Whoever started us may have stopped listening; that is no reason to end.
            let _ = output.line(one_line(&line));
        };
        Box::pin(serve(options, stop_on_signals(), announce)).await.map_err(|error| {
            let exit = if error.is_configuration() { Exit::Usage } else { Exit::Failed };
            Failure::new(exit, chain(&error))
        })
    }

    /// Checks what the flags say together and makes plain data of it.
    fn options(self) -> Result<ServeOptions, Failure> {
        let market = self.market()?;
        if self.speed > 1 && self.market.is_none() {
            return Err(Failure::usage(format!(
                "--speed {} needs a market that can run faster than life: add --market synthetic or --market FILE",
                self.speed
            )));
        }
        if let Some(catalog) = &self.catalog {
            readable("--catalog", catalog)?;
        }
        let program = std::env::current_exe()
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot find this program: {e}")))?;
        let data_dir = self.data_dir.clone().or_else(default_data_dir).ok_or_else(|| {
            Failure::usage("neither XDG_DATA_HOME nor HOME is set: name a folder with --data-dir")
        })?;
        let mut config = ServeConfig::new(absolute(&data_dir)?, program.clone());
        config.worker = WorkerProgram::beside(program);
        config.storage = self.storage()?;
        config.database = self.database.as_deref().map(location).transpose()?;
        config.listen = self.listen;
        config.control.speed = self.speed;
        config.control.notice_lead = self.notice_lead;
        config.control.lease = self.worker_lease;
        config.term = self.leader_term;
        self.addresses(&mut config)?;
        self.reach.apply(&mut config)?;
        config.simulate_accelerators = match self.simulate_accelerators {
            Simulate::Auto => !has_gpu(),
            Simulate::True => true,
            Simulate::False => false,
        };
        config.external_workers = self.outside_workers;
        config.cpu_milli = self.cpus;
        config.memory_mib = self.memory;
        config.output_bytes = self.log_size.unwrap_or(config.output_bytes);
        if let Some(path) = &self.policy {
            config.control.policy = policy::read(path)?;
        }
        if let Some(path) = &self.egress {
            let egress = read_egress(path)
                .map_err(|error| Failure::usage(format!("--egress: {}", chain(&error))))?;
            config.control.policy.egress = Arc::new(egress);
        }
        if let Some(path) = &self.commitments {
            readable("--commitments", path)?;
        }
        if let Some(path) = &self.pools {
            readable("--pools", path)?;
        }
        Ok(ServeOptions {
            config,
            market,
            catalog: self.catalog,
            commitments: self.commitments,
            pools: self.pools,
        })
    }

    /// Where this scheduler and the others answer.
    fn addresses(&self, config: &mut ServeConfig) -> Result<(), Failure> {
        let peers = self.peers.iter().map(|url| ("--peer", url));
        for (flag, url) in peers.chain(self.advertise.iter().map(|url| ("--advertise", url))) {
            scheduler_url(flag, url)?;
        }
        config.peers.clone_from(&self.peers);
        config.advertise.clone_from(&self.advertise);
        Ok(())
    }

    fn market(&self) -> Result<MarketChoice, Failure> {
        match self.market.as_deref() {
            None if self.market_start.is_some() => Err(Failure::usage(
                "--market-start needs a market that has another time: add --market synthetic or --market FILE.csv",
            )),
            None | Some("synthetic") => Ok(MarketChoice::Synthetic {
                seed: self.seed,
                turbulence: self.turbulence,
                days: SYNTHETIC_DAYS,
                start: self.market_start,
            }),
            Some(path) => {
                let path = PathBuf::from(path);
                let known = path.extension().is_some_and(|e| e == "csv" || e == "json");
                if !known {
                    return Err(Failure::usage(format!(
                        "--market {}: write `synthetic`, or a file ending in .csv or .json",
                        path.display()
                    )));
                }
                readable("--market", &path)?;
                Ok(MarketChoice::File { path, start: self.market_start })
            }
        }
    }
}

/// What an operator should see before anything runs.
fn summary(options: &ServeOptions) -> String {
    let config = &options.config;
    let accelerators = if config.simulate_accelerators { "simulated on CPUs" } else { "real" };
    format!(
        "spotwise {}; market: {}, {}x; accelerators: {accelerators}; data: {}",
        env!("CARGO_PKG_VERSION"),
        options.market.describe(),
        config.control.speed,
        config.data_dir.display()
    )
}

/// Cancelled by SIGINT and by SIGTERM.
fn stop_on_signals() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            },
            Err(_) => drop(tokio::signal::ctrl_c().await),
        }
        stopping.cancel();
    });
    stop
}

/// Where a database is. What is wrong is said without quoting it: it may hold a
/// password.
pub(super) fn location(text: &str) -> Result<Location, Failure> {
    let location: Location =
        text.parse().map_err(|error| Failure::usage(format!("--database: {error}")))?;
    match location {
        Location::Sqlite(path) => Ok(absolute(&path)?.into()),
        Location::Postgres(server) => {
            if server.has_password_in_url() {
                note(
                    "the database URL holds a password: put it into the file that PGPASSFILE names",
                );
            }
            Ok(Location::Postgres(server))
        }
    }
}

pub(super) fn default_data_dir() -> Option<PathBuf> {
    let here = PathBuf::from(".spotwise");
    if here.is_dir() {
        return Some(here);
    }
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local").join("share")))
        .map(|data| data.join("spotwise"))
}

/// Workers run in other folders: paths must not depend on this one.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn readable(flag: &str, path: &Path) -> Result<(), Failure> {
    let fail = |why: String| Failure::usage(format!("{flag} {}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let folder = file.metadata().is_ok_and(|meta| meta.is_dir());
    if folder { Err(fail("is a folder, not a file".to_owned())) } else { Ok(()) }
}

/// The NVIDIA driver makes this device (or, under WSL, the second one).
fn has_gpu() -> bool {
    ["/dev/nvidiactl", "/dev/dxg"].iter().any(|device| Path::new(device).exists())
}

#[cfg(test)]
mod tests;
