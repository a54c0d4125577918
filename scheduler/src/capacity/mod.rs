//! The back ends of pools: what acts where pools say. Everything here is idempotent by
//! attempt and rank or by token, and nothing here decides: phases do.

mod external;
mod limits;
mod local;
mod process_tags;
mod salvage;

use std::collections::BTreeMap;
use std::sync::Arc;

use spotwise_capacity::Backend;
use spotwise_control::config::Launcher;
use spotwise_model::id::PoolName;
use spotwise_model::pool::PoolKind;
use spotwise_model::{Pool, PoolSet};

use crate::config::ServeConfig;

pub use external::ExternalWorkers;
pub use local::{Local, LocalPool};

/// The name of the pool that there is without a pools file.
const ONLY_POOL: &str = "local";

/// The pools without a pools file: this machine, or workers that somebody else starts.
pub fn only_pool(config: &ServeConfig) -> PoolSet {
    let kind = match config.control.launcher {
        Launcher::Local => PoolKind::Local,
        Launcher::External => PoolKind::External,
    };
    let host = limits::of_this_machine(config);
    let changeover = config.control.policy.changeover;
    let mut pool = Pool::of_host(PoolName::new(ONLY_POOL), kind, host, changeover);
    pool.features.notice_lead = config.control.notice_lead;
    PoolSet::of([pool])
}

/// The back end of each pool, made when it is first needed.
#[derive(Debug)]
pub struct Backends {
    local: Arc<Local>,
    by_pool: BTreeMap<PoolName, Arc<dyn Backend>>,
}

impl Backends {
    /// `install` marks every process and machine that belongs to this installation.
    pub fn new(config: &ServeConfig, install: &str) -> Self {
        Self { local: Arc::new(Local::new(config, install)), by_pool: BTreeMap::new() }
    }

    /// The back end of a pool.
    pub fn of(&mut self, pool: &Pool) -> Arc<dyn Backend> {
        let local = &self.local;
        let made = || -> Arc<dyn Backend> {
            match pool.kind {
                PoolKind::Local | PoolKind::Simulated => Arc::new(LocalPool::new(local.clone())),
                PoolKind::External => Arc::new(ExternalWorkers),
            }
        };
        self.by_pool.entry(pool.name.clone()).or_insert_with(made).clone()
    }
}
