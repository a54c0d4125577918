//! Pools and machines.

use super::{Again, Client, ClientError};
use crate::v1;

/// The largest page of machines.
const LARGEST_PAGE: u32 = 500;

impl Client {
    /// Every pool, and the version of the operator's file.
    pub async fn pools(&self) -> Result<v1::ListPoolsResponse, ClientError> {
        self.unary(Again::Yes, |mut door| async move {
            door.capacity.list_pools(v1::ListPoolsRequest {}).await
        })
        .await
    }

    /// One pool, by its name.
    pub async fn pool(&self, name: &str) -> Result<v1::PoolView, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let pool = name.to_owned();
            async move { door.capacity.get_pool(v1::GetPoolRequest { pool }).await }
        })
        .await
    }

    /// All machines of a query, page after page, newest first. Its page size and token are
    /// chosen here.
    pub async fn machines(
        &self,
        mut request: v1::ListMachinesRequest,
    ) -> Result<v1::ListMachinesResponse, ClientError> {
        let mut all = v1::ListMachinesResponse::default();
        request.page_size = LARGEST_PAGE;
        request.page_token = String::new();
        loop {
            let page = self
                .unary(Again::Yes, |mut door| {
                    let request = request.clone();
                    async move { door.capacity.list_machines(request).await }
                })
                .await?;
            all.machines.extend(page.machines);
            all.note = page.note;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// What a machine costs, who is on it, and why it is kept or given back: `i5` or `5`.
    pub async fn explain_machine(
        &self,
        machine: &str,
    ) -> Result<v1::ExplainMachineResponse, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let machine = machine.to_owned();
            async move {
                door.capacity.explain_machine(v1::ExplainMachineRequest { machine }).await
            }
        })
        .await
    }

    /// No new work for a machine. Draining twice is draining once, so it is tried again.
    pub async fn drain_machine(
        &self,
        machine: &str,
    ) -> Result<v1::DrainMachineResponse, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let machine = machine.to_owned();
            async move { door.capacity.drain_machine(v1::DrainMachineRequest { machine }).await }
        })
        .await
    }

    /// Stops all buying, or lets it go on. Twice is once, so it is tried again.
    pub async fn set_freeze(
        &self,
        request: v1::SetFreezeRequest,
    ) -> Result<v1::FreezeView, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let request = request.clone();
            async move { door.capacity.set_freeze(request).await }
        })
        .await
    }
}
