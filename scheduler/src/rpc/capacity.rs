use spotwise_api::v1;
use spotwise_api::v1::capacity_server::Capacity;
use tonic::{Request, Response, Status};

use super::{Rpc, status};

#[tonic::async_trait]
impl Capacity for Rpc {
    async fn list_pools(
        &self,
        request: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListPoolsResponse>, Status> {
        self.session(&request)?.list_pools().await.map(Response::new).map_err(|e| status(&e))
    }

    async fn get_pool(
        &self,
        request: Request<v1::GetPoolRequest>,
    ) -> Result<Response<v1::PoolView>, Status> {
        self.session(&request)?
            .get_pool(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn list_machines(
        &self,
        request: Request<v1::ListMachinesRequest>,
    ) -> Result<Response<v1::ListMachinesResponse>, Status> {
        self.session(&request)?
            .list_machines(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn explain_machine(
        &self,
        request: Request<v1::ExplainMachineRequest>,
    ) -> Result<Response<v1::ExplainMachineResponse>, Status> {
        self.session(&request)?
            .explain_machine(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn drain_machine(
        &self,
        request: Request<v1::DrainMachineRequest>,
    ) -> Result<Response<v1::DrainMachineResponse>, Status> {
        self.session(&request)?
            .drain_machine(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }

    async fn set_freeze(
        &self,
        request: Request<v1::SetFreezeRequest>,
    ) -> Result<Response<v1::FreezeView>, Status> {
        self.session(&request)?
            .set_freeze(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
