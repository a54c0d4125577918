//! The back ends of pools: what acts where pools say. Everything here is idempotent by
//! attempt and rank or by token, and nothing here decides: phases do.

mod external;
mod folders;
mod limits;
mod local;
mod local_pool;
mod process_tags;
mod salvage;
mod simulated;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use spotwise_capacity::Backend;
use spotwise_market::Market;
use spotwise_model::id::{Account, PoolName, Region};
use spotwise_model::pool::PoolKind;
use spotwise_model::pools_file::{CloudOptions, PoolsFile};
use spotwise_model::time::TimeScale;
use spotwise_model::{Pool, PoolSet};

use crate::config::ServeConfig;

pub use external::ExternalWorkers;
pub use local::Local;
pub use local_pool::LocalPool;
pub use simulated::SimulatedPool;
use simulated::{CloudAccount, CloudClock, cloud_spec};

/// The name of the pool that there is without a pools file.
const ONLY_POOL: &str = "local";

/// The pools without a pools file: this machine, or workers that somebody else starts.
pub fn only_pool(config: &ServeConfig) -> PoolSet {
    let kind = if config.external_workers { PoolKind::External } else { PoolKind::Local };
    let host = limits::of_this_machine(config);
    let changeover = config.control.policy.changeover;
    let mut pool = Pool::of_host(PoolName::new(ONLY_POOL), kind, host, changeover);
    pool.features.notice_lead = config.control.notice_lead;
    PoolSet::of([pool])
}

/// The pools of the operator's file, on this machine.
pub fn pools_of(file: PoolsFile, config: &ServeConfig) -> PoolSet {
    let mut set = file.with_host(limits::of_this_machine(config)).set;
    for pool in set.pools.values_mut().filter(|pool| pool.limits.host.is_some()) {
        pool.times.start = config.control.policy.changeover;
    }
    set
}

/// The simulated accounts that run in this process, whoever leads.
#[derive(Debug, Default)]
pub struct Clouds {
    options: Mutex<BTreeMap<Account, CloudOptions>>,
    running: Mutex<BTreeMap<(Account, Region), Arc<CloudAccount>>>,
}

impl Clouds {
    /// How accounts behave that are opened from now on.
    pub fn describe(&self, options: BTreeMap<Account, CloudOptions>) {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner) = options;
    }
}

/// What a simulated account is opened with.
#[derive(Clone, Debug)]
pub struct CloudSetting {
    /// What is sold.
    pub market: Market,
    /// How market time follows ours.
    pub scale: TimeScale,
    /// The accounts.
    pub clouds: Arc<Clouds>,
}

/// The back end of each pool, made when it is first needed.
#[derive(Debug)]
pub struct Backends {
    local: Arc<Local>,
    install: String,
    folder: PathBuf,
    setting: CloudSetting,
    by_pool: BTreeMap<PoolName, Arc<dyn Backend>>,
}

impl Backends {
    /// `install` marks every process and machine that belongs to this installation.
    pub fn new(config: &ServeConfig, install: &str, setting: CloudSetting) -> Self {
        Self {
            local: Arc::new(Local::new(config, install)),
            install: install.to_owned(),
            folder: config.data_dir.join("clouds"),
            setting,
            by_pool: BTreeMap::new(),
        }
    }

    /// The back end of a pool; `None`, and a word in the log, if it cannot be opened.
    pub fn of(&mut self, pool: &Pool, pools: &PoolSet) -> Option<Arc<dyn Backend>> {
        if let Some(known) = self.by_pool.get(&pool.name) {
            return Some(known.clone());
        }
        let made: Arc<dyn Backend> = match pool.kind {
            PoolKind::Local => Arc::new(LocalPool::new(self.local.clone())),
            PoolKind::External => Arc::new(ExternalWorkers),
            PoolKind::Simulated => match self.account(pool, pools) {
                Ok(account) => {
                    let (local, start) = (self.local.clone(), pool.times.start);
                    Arc::new(SimulatedPool::new(pool.name.clone(), account, local, start))
                }
                Err(error) => {
                    tracing::error!(pool = %pool.name, %error, "a simulated cloud cannot be opened");
                    return None;
                }
            },
        };
        self.by_pool.insert(pool.name.clone(), made.clone());
        Some(made)
    }

    /// The account of a pool, opened by the first of its pools.
    fn account(&self, pool: &Pool, pools: &PoolSet) -> io::Result<Arc<CloudAccount>> {
        let region = pool.sells.region.clone().unwrap_or_else(|| Region::new(""));
        let key = (pool.account.clone(), region);
        let CloudSetting { market, scale, clouds } = &self.setting;
        let mut running = clouds.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = running.get(&key) {
            return Ok(account.clone());
        }
        let options = clouds.options.lock().unwrap_or_else(PoisonError::into_inner);
        let options = options.get(&key.0).cloned().unwrap_or_default();
        let spec = cloud_spec(&key.0, &key.1, pools, &options, market);
        let journal = self.folder.join(format!("{}-{}.jsonl", key.0, key.1));
        let clock = CloudClock { scale: *scale };
        let journal = (self.install.as_str(), journal.as_path());
        let local = self.local.clone();
        let account =
            CloudAccount::open(spec, options.seed, market.clone(), clock, journal, local)?;
        running.insert(key, account.clone());
        Ok(account)
    }
}
