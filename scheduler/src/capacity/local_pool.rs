//! This machine as a pool: its slots are there at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::{BoxFuture, ready};
use spotwise_capacity::{
    Backend, FoundWorker, LaunchedMachine, MachineError, MachineOrder, StartError, WorkerOrder,
};
use spotwise_model::AttemptId;
use spotwise_model::id::ProviderId;
use spotwise_model::inventory::Inventory;

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
    fn launch_machine(
        &self,
        _: MachineOrder,
    ) -> BoxFuture<'_, Result<LaunchedMachine, MachineError>> {
        Box::pin(ready(Err(MachineError::no_machines())))
    }

    fn terminate_machine(&self, _: ProviderId) -> BoxFuture<'_, Result<(), MachineError>> {
        Box::pin(ready(Err(MachineError::no_machines())))
    }

    fn list_machines(&self) -> BoxFuture<'_, Result<Inventory, MachineError>> {
        Box::pin(ready(Err(MachineError::no_machines())))
    }

    fn start_worker(&self, order: WorkerOrder) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move { self.0.launch(&order).await })
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
