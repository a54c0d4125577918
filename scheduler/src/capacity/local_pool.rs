//! This machine as a pool: its slots are there at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use spotwise_capacity::{Backend, FoundWorker, StartError, WorkerOrder};
use spotwise_model::AttemptId;

use super::Local;

/// The slots of this machine as a pool.
#[derive(Debug)]
pub struct LocalPool(Arc<Local>);

impl LocalPool {
    /// Of these processes.
    pub const fn new(local: Arc<Local>) -> Self {
        Self(local)
    }
}

impl Backend for LocalPool {
    fn start_worker(&self, order: WorkerOrder) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move { self.0.launch(&order).await })
    }

    fn hand_over(&self, from: AttemptId, order: &WorkerOrder) -> bool {
        self.0.hand_over(from, order)
    }

    fn kill(&self, attempt: AttemptId) -> BoxFuture<'_, ()> {
        Box::pin(self.0.kill(attempt))
    }

    fn list_workers(&self) -> BoxFuture<'_, Vec<FoundWorker>> {
        Box::pin(self.0.list())
    }

    fn reap_strays(&self, live: BTreeSet<AttemptId>) -> BoxFuture<'_, usize> {
        Box::pin(self.0.reap_all(live))
    }
}
