//! What the scheduler does for its callers, the same for gRPC and REST: validates requests,
//! asks the loop or the store, and answers in wire types.

mod access;
pub mod assignment;
mod bands;
mod chain;
mod commitments;
mod cost;
mod edit;
mod error;
mod explain;
mod job_quote;
mod jobs;
mod limits;
mod live;
mod logs;
mod machine_words;
mod machines;
mod names;
mod pools;
mod quote;
mod resubmit;
mod session;
mod storage_keys;
mod submit;
mod system;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod watch;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use spotwise_model::JobId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub use error::{Kind, ServiceError};
pub(crate) use limits::document_size;
pub use logs::LogReader;
pub use session::Session;
pub use watch::Watcher;

use crate::config::ServeConfig;
use crate::handle::Handle;
use crate::reuse::WorkerReuse;
use crate::storage::ObjectStorage;
use crate::token::WorkerTokens;
use spotwise_market::Market;
use spotwise_store::Store;

/// Watchers and log followers at once: each holds a page of at most 500 events or 64 KiB of
/// output, so that together they stay below 64 MiB.
const MOST_FOLLOWERS: usize = 1_024;

/// What a [`Service`] is made of.
#[derive(Clone)]
pub struct Parts {
    /// The handle to the loop.
    pub handle: Handle,
    /// The durable state.
    pub store: Store,
    /// The operator's settings.
    pub config: Arc<ServeConfig>,
    /// Creates and checks workers' tokens.
    pub tokens: WorkerTokens,
    /// Workers that take the next element of their array.
    pub reuse: Arc<WorkerReuse>,
    /// The object store of jobs' files, if there is one.
    pub object_storage: Option<Arc<ObjectStorage>>,
    /// Prices, for what has not been charged yet.
    pub market: Market,
    /// The origin of the market, as text.
    pub market_name: String,
    /// The name of this data folder, which identifies processes as ours.
    pub install: String,
    /// Ends streams that would otherwise continue indefinitely.
    pub shutdown: CancellationToken,
}

/// The functions behind every interface. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    parts: Arc<Parts>,
    followers: Arc<Semaphore>,
}

impl Service {
    /// Joins the parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), followers: Arc::new(Semaphore::new(MOST_FOLLOWERS)) }
    }

    /// A slot among the followers. Released when dropped.
    fn follower(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        self.followers.clone().try_acquire_owned().map_err(|_| ServiceError::Overloaded)
    }
}

fn no_such_job(id: JobId) -> ServiceError {
    ServiceError::NotFound(format!("there is no job {id}"))
}

/// Whole milliseconds for the wire; saturates at the longest that fits.
fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
