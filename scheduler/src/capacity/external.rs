//! Workers started by something else: they know the secret of the data folder, learn of
//! their attempts from events, and register like any worker. Nothing of theirs can be
//! listed or killed from here; an expired lease is all that is known of them. Made for load
//! tests of the control plane.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, ready};
use spotwise_capacity::{Backend, FoundWorker, StartError, WorkerOrder};
use spotwise_model::AttemptId;

/// A pool whose workers are not ours.
#[derive(Clone, Copy, Debug)]
pub struct ExternalWorkers;

impl Backend for ExternalWorkers {
    fn start_worker(&self, _: WorkerOrder) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(ready(Ok(())))
    }

    fn kill(&self, _: AttemptId) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn list_workers(&self) -> BoxFuture<'_, Vec<FoundWorker>> {
        Box::pin(ready(Vec::new()))
    }

    fn reap_strays(&self, _: BTreeSet<AttemptId>) -> BoxFuture<'_, usize> {
        Box::pin(ready(0))
    }
}
