//! A simulated cloud, live: its machines follow the simulated account's clock at the
//! scheduler's speed, and workers on them are processes of this machine.
//!
//! The account outlives the scheduler, as a real one would: every call is written down
//! before it is made, and a scheduler that starts again makes the same calls at the same
//! times, which gives the same account.

mod account;
mod bill;
mod journal;
mod market;
mod spec;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use spotwise_capacity::{
    Backend, FoundWorker, LaunchedMachine, MachineError, MachineErrorClass, MachineOrder, Notice,
    StartError, WorkerOrder,
};
use spotwise_model::AttemptId;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::inventory::Inventory;
use spotwise_simulated_cloud::{CloudError, Delivery, ErrorClass};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Local;
pub(super) use account::{CloudAccount, CloudClock};
pub(super) use spec::cloud_spec;

/// A pool of a simulated account.
#[derive(Debug)]
pub struct SimulatedPool {
    name: PoolName,
    account: Arc<CloudAccount>,
    local: Arc<Local>,
    /// How long the start of a worker takes (wall time).
    start: Duration,
    notices: Mutex<UnboundedReceiver<Notice>>,
}

impl SimulatedPool {
    /// A pool of an account; its workers begin so long (market time) after they are asked
    /// for.
    pub(super) fn new(
        name: PoolName,
        account: Arc<CloudAccount>,
        local: Arc<Local>,
        start: Duration,
    ) -> Self {
        let notices = Mutex::new(account.listen(&name));
        let start = account.clock().wall(start);
        Self { name, account, local, start, notices }
    }

    /// Waits for an answer as long as it takes; what never comes is unknown.
    async fn answer<T>(
        &self,
        delivery: Delivery,
        outcome: Result<T, CloudError>,
    ) -> Result<T, MachineError> {
        match delivery {
            Delivery::Answered { at } => {
                self.account.clock().sleep_until(at).await;
                outcome.map_err(|error| failed(&error))
            }
            Delivery::Lost { known_after } => {
                self.account.clock().sleep_until(known_after).await;
                let message = "the provider has not answered".to_owned();
                Err(MachineError { class: MachineErrorClass::Unknown, message })
            }
        }
    }

    async fn start(&self, order: WorkerOrder) -> Result<(), StartError> {
        let Some(machine) = order.machine.clone() else {
            return Err(not_started("it has no machine"));
        };
        self.account.place(&order, &machine);
        tokio::time::sleep(self.start).await;
        if !self.account.runs(&machine) {
            return Err(not_started("its machine does not run any more"));
        }
        if self.account.was_killed(order.attempt) {
            return Err(not_started("it was killed before it began"));
        }
        self.local.launch(&order).await
    }
}

impl Backend for SimulatedPool {
    fn launch_machine(
        &self,
        order: MachineOrder,
    ) -> BoxFuture<'_, Result<LaunchedMachine, MachineError>> {
        Box::pin(async move {
            let call = self.account.launch(order);
            let launched = self.answer(call.delivery, call.outcome).await?;
            Ok(LaunchedMachine { provider: launched.machine, launched: launched.launched })
        })
    }

    fn terminate_machine(&self, machine: ProviderId) -> BoxFuture<'_, Result<(), MachineError>> {
        Box::pin(async move {
            let call = self.account.terminate(&machine);
            match self.answer(call.delivery, call.outcome).await {
                // It is gone already, or not known yet: a listing tells.
                Err(error) if error.class == MachineErrorClass::Refused => Ok(()),
                answer => answer,
            }
        })
    }

    fn list_machines(&self) -> BoxFuture<'_, Result<Inventory, MachineError>> {
        Box::pin(async move {
            let (arrives, listing) = self.account.list(&self.name);
            self.account.clock().sleep_until(arrives).await;
            listing.map_err(|error| failed(&error))
        })
    }

    fn start_worker(&self, order: WorkerOrder) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(self.start(order))
    }

    fn hand_over(&self, from: AttemptId, order: &WorkerOrder) -> bool {
        let Some(machine) = &order.machine else { return false };
        if !self.account.runs(machine) || !self.local.hand_over(from, order) {
            return false;
        }
        self.account.place(order, machine);
        true
    }

    fn kill(&self, attempt: AttemptId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.account.note_kill(attempt);
            self.local.kill(attempt).await;
        })
    }

    fn list_workers(&self) -> BoxFuture<'_, Vec<FoundWorker>> {
        Box::pin(self.local.list())
    }

    fn reap_strays(&self, live: BTreeSet<AttemptId>) -> BoxFuture<'_, usize> {
        Box::pin(self.local.reap_all(live))
    }

    fn next_notice(&self) -> BoxFuture<'_, Notice> {
        Box::pin(async move {
            match self.notices.lock().await.recv().await {
                Some(notice) => notice,
                None => futures::future::pending().await,
            }
        })
    }
}

fn not_started(why: &str) -> StartError {
    StartError { retryable: true, unknown: false, message: why.to_owned() }
}

fn failed(error: &CloudError) -> MachineError {
    let class = match error.class() {
        ErrorClass::Capacity => MachineErrorClass::Capacity,
        ErrorClass::Quota => MachineErrorClass::Quota,
        ErrorClass::Throttled => MachineErrorClass::Throttled,
        ErrorClass::Credentials | ErrorClass::Unreachable => MachineErrorClass::Unavailable,
        // The token has named a machine that is gone by now: a listing tells.
        ErrorClass::Mismatch => MachineErrorClass::Unknown,
        ErrorClass::NotFound | ErrorClass::Unsupported => MachineErrorClass::Refused,
    };
    MachineError { class, message: format!("{}: {error}", error.code()) }
}
