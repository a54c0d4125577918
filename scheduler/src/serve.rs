//! Assembles the parts and runs them until told to stop.

mod market;
mod pools;
mod restored;
mod sweep;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use spotwise_api::client::credentials;
use spotwise_api::trust::Fingerprint;
use spotwise_model::PoolSet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::access::Gate;
use crate::capacity::{Backends, CloudSetting, Clouds};
use crate::config::ServeConfig;
use crate::driver::{self, Driver, DriverError, Ending};
use crate::effects::{Addresses, Effects};
use crate::handle::Handle;
use crate::lease::Lease;
use crate::options::{MarketChoice, ServeOptions};
use crate::reuse::WorkerReuse;
use crate::serve::pools::OperatorsPools;
use crate::server::{self, Door, Limits, ServerError, Services, ServingState};
use crate::service::{self, Service};
use crate::storage::{ObjectStorage, ObjectStorageError};
use crate::tls::Certificates;
use crate::token::WorkerTokens;
use spotwise_market::{
    Catalog, CatalogError, CommitmentError, Declared, MarketError, read_commitments,
};
use spotwise_store::{Campaign, Candidate, Store, StoreError};

/// How many times per term a standby asks whether it may lead.
const CAMPAIGNS: u32 = 6;

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
    /// The pools file cannot be used.
    #[error(transparent)]
    Pools(#[from] pools::PoolsError),
    /// What an older database does not know of.
    #[error("cannot tell what was done since the backup")]
    Restored(#[from] restored::TakeInError),
    /// The storage cannot be used.
    #[error(transparent)]
    Storage(#[from] ObjectStorageError),
    /// The catalogue cannot be used.
    #[error("cannot use the catalogue")]
    Catalog(#[from] CatalogError),
    /// The market cannot be used.
    #[error("cannot use the market")]
    Market(#[from] MarketError),
    /// The commitments cannot be used.
    #[error("cannot use the commitments")]
    Commitments(#[from] CommitmentError),
    /// The port cannot be used.
    #[error("cannot listen")]
    Server(#[from] ServerError),
    /// The loop ended.
    #[error("the scheduler stopped")]
    Driver(#[from] DriverError),
}

impl ServeError {
    /// Whether the database was unavailable, so that the same may succeed later.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Restored(restored::TakeInError::Store(error)) => error.is_retryable(),
            Self::Restored(restored::TakeInError::Storage(_)) => true,
            Self::Store(error) | Self::Driver(DriverError::Load(error)) => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether the operator must change an option or a file, as opposed to a failure of the
    /// machine.
    pub const fn is_configuration(&self) -> bool {
        !matches!(self, Self::Driver(_))
    }
}

/// What a starting scheduler tells its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// It leads, and answers requests here.
    Ready {
        /// As programs of this machine call it.
        url: String,
        /// Whose certificate it shows, where systems do not know it.
        authority: Option<Fingerprint>,
    },
    /// Another scheduler leads; this one is on standby, and answers here that it is.
    Standby {
        /// Where this one answers.
        url: String,
        /// The leader's address.
        leader: String,
    },
}

/// Runs a scheduler until `shutdown`: it leads, or stands by until it may lead. `announce`
/// is called on each change. Running jobs continue when it stops; the next leader finds
/// them.
pub async fn serve(
    options: ServeOptions,
    shutdown: CancellationToken,
    announce: impl FnMut(Announcement) + Send,
) -> Result<(), ServeError> {
    let ServeOptions { mut config, market: choice, catalog, commitments, pools: pools_file } =
        options;
    config.control.fit_to_speed();
    prepare_folders(&config)?;
    let (door, certificates) = open_door(&config)?;
    let listener = server::bind(config.listen, door.is_protected()).await?;
    config.listen = server::local_address(&listener)?;
    let store = Store::open(&config.database()).await?;
    let object_storage = match config.storage.bucket() {
        Some(choice) => Some(Arc::new(ObjectStorage::open(choice).await?)),
        None => None,
    };
    let catalog = load_catalog(catalog.as_deref())?;
    let declared = commitments.as_deref().map(read_commitments).transpose()?.unwrap_or_default();
    let secret = config.data_dir.join("worker-secret");
    let tokens = WorkerTokens::open(&secret)
        .map_err(|source| ServeError::DataDir { path: secret, source })?;
    let path = config.data_dir.join("admin.token");
    let admin_token =
        crate::access::admin_token(&path).map_err(|source| ServeError::DataDir { path, source })?;
    let (serving_state, shown) = watch::channel(ServingState::Standby { leader: String::new() });
    // Whichever ends first ends the other.
    let _stop_both = shutdown.clone().drop_guard();
    let limits = Limits::of_process();
    let serving = tokio::spawn(server::serve(listener, shown, limits, door, shutdown.clone()));
    let authority = certificates.as_ref().and_then(|it| it.authority());
    if let Some(certificates) = certificates {
        tokio::spawn(certificates.renew(shutdown.clone()));
    }
    let config = Arc::new(config);
    let clouds = Arc::new(Clouds::default());
    let file = OperatorsPools::open(pools_file, config.clone(), clouds.clone())?;
    let pools = file.watch(shutdown.clone());
    let mut context = LeaderContext {
        config,
        store: store.clone(),
        object_storage,
        catalog,
        choice,
        declared,
        tokens,
        pools,
        clouds,
        admin_token,
        authority,
        stood_by: false,
        serving_state,
        announce,
    };
    let answer = context.terms(&shutdown).await;
    shutdown.cancel();
    if let Ok(Err(error)) = serving.await {
        tracing::warn!(%error, "the server did not stop cleanly");
    }
    store.close().await;
    answer
}

/// What outlives a term.
struct LeaderContext<A> {
    config: Arc<ServeConfig>,
    store: Store,
    object_storage: Option<Arc<ObjectStorage>>,
    catalog: Catalog,
    choice: MarketChoice,
    declared: Declared,
    tokens: WorkerTokens,
    pools: watch::Receiver<PoolSet>,
    clouds: Arc<Clouds>,
    admin_token: String,
    /// Whose certificate is shown, where systems do not know it.
    authority: Option<Fingerprint>,
    /// Whether another scheduler has led since this one began.
    stood_by: bool,
    serving_state: watch::Sender<ServingState>,
    announce: A,
}

impl<A: FnMut(Announcement) + Send> LeaderContext<A> {
    /// Leads whenever it may.
    async fn terms(&mut self, shutdown: &CancellationToken) -> Result<(), ServeError> {
        while let Some(lease) = self.win(shutdown).await? {
            tracing::info!(epoch = %lease.epoch(), "leads");
            let ended = self.term(&lease, shutdown).await;
            self.serving_state.send_replace(ServingState::Standby { leader: String::new() });
            if matches!(ended, Ok(Ending::Deposed)) {
                tracing::warn!(epoch = %lease.epoch(), "another scheduler leads now; standing by");
                continue;
            }
            // The next leader need not wait; where this fails, it waits.
            let _ = self.store.resign(lease.epoch()).await;
            match ended {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the term ended before it began; trying again");
                    tokio::time::sleep(self.config.term / CAMPAIGNS).await;
                }
                ended => return ended.map(|_| ()),
            }
        }
        Ok(())
    }

    /// Waits for the lease. `None` on shutdown.
    async fn win(&mut self, shutdown: &CancellationToken) -> Result<Option<Lease>, ServeError> {
        let candidate = Candidate { holder: holder(), address: self.address() };
        let mut seen = None;
        loop {
            let asked = Instant::now();
            match self.store.campaign(&candidate, self.config.term).await {
                Ok(Campaign::Won(epoch)) if self.store.is_shared() => {
                    return Ok(Some(Lease::for_a_term(epoch, asked, self.config.term)));
                }
                Ok(Campaign::Won(epoch)) => return Ok(Some(Lease::for_ever(epoch))),
                Ok(Campaign::Lost(incumbent)) => {
                    self.stood_by = true;
                    if seen.as_ref() != Some(&incumbent) {
                        let leader = incumbent.address.clone();
                        self.serving_state
                            .send_replace(ServingState::Standby { leader: leader.clone() });
                        let url = self.config.url();
                        (self.announce)(Announcement::Standby { url, leader });
                        seen = Some(incumbent);
                    }
                }
                Err(error) if error.is_retryable() && seen.is_some() => {
                    tracing::warn!(error = error.in_full(), "cannot ask who leads");
                }
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(self.config.term / CAMPAIGNS) => {}
            }
        }
    }

    /// Leads until told to stop, or until another scheduler leads.
    async fn term(
        &mut self,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Result<Ending, ServeError> {
        let (config, store) = (self.config.clone(), self.store.clone());
        // Ends what belongs to this term, such as streams, with it.
        let over = shutdown.child_token();
        let _end = over.clone().drop_guard();
        let (keeper, keep) = (lease.clone(), store.clone());
        let _keeping = AbortOnDropHandle::new(tokio::spawn(async move {
            keeper.keep(&keep, config.term).await;
        }));
        let config = self.config.clone();
        let (market, scale) =
            market::open(&store, &self.choice, &self.catalog, config.control.speed).await?;
        let now = scale.at(crate::clock::now()).market;
        let market = market::apply_commitments(&store, market, &self.declared, now).await?;
        let install = self.tokens.install();
        let (handle, inbox) = Handle::new();
        let clouds = self.clouds.clone();
        let setting = CloudSetting { market: market.clone(), scale, clouds };
        let backends = Backends::new(&config, &install, setting);
        let reuse = Arc::new(WorkerReuse::default());
        let storage = self.object_storage.clone();
        let effects = Effects::new(
            backends,
            self.tokens.clone(),
            Addresses { servers: self.addresses(), authority: self.authority },
            lease.clone(),
            reuse.clone(),
        );
        let last_job =
            restored::take_in(&store, &config, storage.as_deref(), lease.epoch(), scale).await?;
        let driver = Driver::new(driver::Parts {
            last_job,
            handle: handle.clone(),
            inbox,
            store: store.clone(),
            lease: lease.clone(),
            market: market.clone(),
            pools: self.pools.clone(),
            takes_over: self.stood_by,
            config: config.clone(),
            scale,
            effects,
            admin_token: self.admin_token.clone(),
        })
        .await?;
        let gate = Arc::new(Gate::new(&handle));
        self.keep_token();
        let _sweeping = storage.clone().map(|it| sweep::regularly(it, handle.clone()));
        let service = Service::new(service::Parts {
            handle,
            store,
            config,
            tokens: self.tokens.clone(),
            reuse,
            object_storage: storage,
            market,
            market_name: self.choice.describe(),
            install,
            shutdown: over.clone(),
        });
        self.serving_state.send_replace(ServingState::Open(Services::of(service, gate).await?));
        let (url, authority) = (self.config.url(), self.authority);
        tracing::info!(url, "ready");
        (self.announce)(Announcement::Ready { url, authority });
        Ok(driver.run(over).await?)
    }

    /// Programs of this user find the admin token, and know whom to send it to.
    fn keep_token(&self) {
        let address = self.config.url();
        let kept = credentials::keep_authority(&address, self.authority)
            .and_then(|()| credentials::keep(&address, &self.admin_token));
        if let Err(error) = kept {
            tracing::warn!(%error, "programs of this user find no token: name one by SPOTWISE_TOKEN");
        }
    }

    /// The address of this scheduler.
    fn address(&self) -> String {
        self.config.advertise.clone().unwrap_or_else(|| self.config.url())
    }

    /// Where a worker looks for the leader: here first.
    fn addresses(&self) -> String {
        let peers = self.config.peers.iter().cloned();
        std::iter::once(self.address()).chain(peers).collect::<Vec<_>>().join(",")
    }
}

/// What stands before the listener, and what it shows.
fn open_door(config: &ServeConfig) -> Result<(Door, Option<Arc<Certificates>>), ServerError> {
    let names = config.site_names();
    let mut shown = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    shown.extend(names.iter().cloned());
    let certificates = Certificates::open(&config.tls, &config.tls_dir(), shown)?;
    let door = Door::new(certificates.as_ref(), config.trusted_proxies.clone(), names)?;
    Ok((door, certificates))
}

/// The name of this process, for people.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} pid {}", host.trim(), std::process::id())
}

fn prepare_folders(config: &ServeConfig) -> Result<(), ServeError> {
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
