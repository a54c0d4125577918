//! Puts the parts together and runs them until told to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use spotwise_model::id::PoolName;
use spotwise_model::time::{TimeScale, add};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::capacity::Capacity;
use crate::config::Config;
use crate::driver::{self, Driver, DriverError};
use crate::effects::Effects;
use crate::handle::Handle;
use crate::market::{
    self, Catalog, CatalogError, Market, MarketError, MarketSource, SyntheticOptions,
};
use crate::options::{MarketChoice, ServeOptions};
use crate::server::{self, ServerError};
use crate::service::{self, Service};
use crate::store::{Store, StoreError};
use crate::token::WorkerTokens;

/// A synthetic market has lasted so long when the scheduler first looks at it,
/// so that spells have a history.
const PAST: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Under this key a data folder remembers how market time follows ours.
const TIME_KEY: &str = "time";

/// Why a scheduler could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database cannot be used.
    #[error("cannot use the database")]
    Store(#[from] StoreError),
    /// The catalogue cannot be used.
    #[error("cannot use the catalogue")]
    Catalog(#[from] CatalogError),
    /// The market cannot be used.
    #[error("cannot use the market")]
    Market(#[from] MarketError),
    /// The port cannot be used.
    #[error("cannot listen")]
    Server(#[from] ServerError),
    /// The loop ended.
    #[error("the scheduler stopped")]
    Driver(#[from] DriverError),
}

impl ServeError {
    /// Whether the operator has to change an option or a file, rather than the
    /// machine having failed.
    pub const fn is_configuration(&self) -> bool {
        !matches!(self, Self::Driver(_))
    }
}

/// Runs a scheduler until `shutdown`. `ready` hears the address once requests
/// are answered. Running jobs go on when it stops; the next start finds them.
pub async fn serve(
    options: ServeOptions,
    shutdown: CancellationToken,
    ready: impl FnOnce(std::net::SocketAddr) + Send,
) -> Result<(), ServeError> {
    let ServeOptions { mut config, market: choice, catalog } = options;
    config.fit_to_speed();
    prepare_folders(&config)?;
    let listener = server::bind(config.listen).await?;
    config.listen = server::local_address(&listener)?;
    let store = Store::open(&config.database()).await?;
    let catalog = load_catalog(catalog.as_deref())?;
    let (market, scale) = open_market(&store, &choice, &catalog, config.speed).await?;
    let config = Arc::new(config);
    let answer = run(
        Wired { config, listener, store: store.clone(), market, scale, choice },
        shutdown,
        ready,
    )
    .await;
    store.close().await;
    answer
}

/// What is known before the loop starts.
struct Wired {
    config: Arc<Config>,
    listener: TcpListener,
    store: Store,
    market: Market,
    scale: TimeScale,
    choice: MarketChoice,
}

async fn run(
    wired: Wired,
    shutdown: CancellationToken,
    ready: impl FnOnce(std::net::SocketAddr) + Send,
) -> Result<(), ServeError> {
    let Wired { config, listener, store, market, scale, choice } = wired;
    let secret = config.data_dir.join("worker-secret");
    let tokens = WorkerTokens::open(&secret)
        .map_err(|source| ServeError::DataDir { path: secret, source })?;
    let install = tokens.install();
    let holder = format!("pid {}", std::process::id());
    let epoch = store.lead(&holder, Timestamp::now()).await?;
    let (handle, inbox) = Handle::new();
    let address = config.listen;
    let capacity = Arc::new(Capacity::local(&config, &install));
    let effects =
        Effects::new(capacity, tokens.clone(), format!("http://{address}"), install.clone());
    let driver = Driver::new(driver::Parts {
        handle: handle.clone(),
        inbox,
        store: store.clone(),
        epoch,
        market: market.clone(),
        pool: PoolName::new("local"),
        config: config.clone(),
        scale,
        effects,
    })
    .await?;
    let service = Service::new(service::Parts {
        handle,
        store,
        config,
        tokens,
        market,
        market_name: choice.describe(),
        install,
        shutdown: shutdown.clone(),
    });
    // Whichever ends first ends the other.
    let _stop_both = shutdown.clone().drop_guard();
    let serving = tokio::spawn(server::serve(listener, service, shutdown.clone()));
    ready(address);
    tracing::info!(%address, "ready");
    let looped = driver.run(shutdown.clone()).await;
    shutdown.cancel();
    if let Ok(Err(error)) = serving.await {
        tracing::warn!(%error, "the server did not stop cleanly");
    }
    Ok(looped?)
}

fn prepare_folders(config: &Config) -> Result<(), ServeError> {
    let folders = [
        config.data_dir.clone(),
        config.logs_dir(),
        config.checkpoints_dir(),
        config.outputs_dir(),
        config.work_dir(),
    ];
    for path in folders {
        std::fs::create_dir_all(&path).map_err(|source| ServeError::DataDir { path, source })?;
    }
    Ok(())
}

fn load_catalog(path: Option<&Path>) -> Result<Catalog, ServeError> {
    Ok(match path {
        Some(path) => Catalog::read(path)?,
        None => Catalog::built_in(),
    })
}

/// What a data folder remembers of market time.
#[derive(Serialize, Deserialize)]
struct RememberedTime {
    /// When a synthetic market was first looked at.
    origin: Timestamp,
    /// How market time follows wall time since the last change of speed.
    scale: TimeScale,
}

/// The market, and how its time follows ours: as at the first start of this
/// data folder, so that jobs that ran on meanwhile are charged for it.
async fn open_market(
    store: &Store,
    choice: &MarketChoice,
    catalog: &Catalog,
    speed: u32,
) -> Result<(Market, TimeScale), ServeError> {
    let wall = Timestamp::now();
    let remembered: Option<RememberedTime> =
        store.meta(TIME_KEY).await?.and_then(|text| serde_json::from_str(&text).ok());
    let first_start = match choice {
        MarketChoice::Synthetic { start, .. } => start.unwrap_or(wall),
        MarketChoice::File { .. } => wall,
    };
    let origin = remembered.as_ref().map_or(first_start, |time| time.origin);
    let source = match choice {
        MarketChoice::Synthetic { seed, turbulence, days, .. } => {
            let past_days = u32::try_from(PAST.as_hours() / 24).unwrap_or(0);
            MarketSource::Synthetic(SyntheticOptions {
                turbulence: *turbulence,
                days: days.saturating_add(past_days),
                ..SyntheticOptions::new(*seed, add(origin, -PAST))
            })
        }
        MarketChoice::File { path, .. } if path.extension().is_some_and(|end| end == "json") => {
            MarketSource::PriceHistory { path: path.clone() }
        }
        MarketChoice::File { path, start } => {
            MarketSource::Recording { path: path.clone(), start: *start }
        }
    };
    let market = market::load(&source, catalog)?;
    let begin = match choice {
        MarketChoice::Synthetic { .. } => origin,
        MarketChoice::File { .. } => market.start(),
    };
    let scale = match remembered {
        Some(time) if time.scale.speed == speed => time.scale,
        Some(time) => {
            TimeScale { market_start: time.scale.at(wall).market, wall_start: wall, speed }
        }
        None => TimeScale { market_start: begin, wall_start: wall, speed },
    };
    let text = serde_json::to_string(&RememberedTime { origin, scale })
        .expect("times and numbers are JSON");
    store.set_meta(TIME_KEY, &text).await?;
    if scale.at(wall).market > market.end() {
        tracing::warn!("the market's recording is over: its last prices hold from here on");
    }
    Ok((market, scale))
}

impl Config {
    /// Market durations that stand for something real on this machine cannot be
    /// shorter than that takes on the wall: starting a process takes about one
    /// second, a round and a stop with its checkpoint up to two.
    fn fit_to_speed(&mut self) {
        let market = |wall: u64| Duration::from_secs(wall).saturating_mul(self.speed);
        let (start, stop) = (market(1), market(2));
        self.policy.changeover = self.policy.changeover.max(start);
        self.policy.deadline_margin = self.policy.deadline_margin.max(stop);
    }
}
