use spotwise_api::v1;
use spotwise_api::v1::workers_server::Workers;
use tonic::{Request, Response, Status};

use super::{Rpc, status};

type RpcResult<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Workers for Rpc {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> RpcResult<v1::Assignment> {
        self.0.register(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> RpcResult<v1::RenewResponse> {
        self.0.renew(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> RpcResult<v1::HeartbeatResponse> {
        self.0.heartbeat(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> RpcResult<v1::ReportResponse> {
        self.0.report(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn append_log(
        &self,
        request: Request<v1::AppendLogRequest>,
    ) -> RpcResult<v1::AppendLogResponse> {
        self.0.append_log(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn take_next(
        &self,
        request: Request<v1::TakeNextRequest>,
    ) -> RpcResult<v1::TakeNextResponse> {
        self.0.take_next(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn get_storage_keys(
        &self,
        request: Request<v1::GetStorageKeysRequest>,
    ) -> RpcResult<v1::StorageKeys> {
        let keys = self.0.get_storage_keys(request.into_inner()).await;
        keys.map(Response::new).map_err(|e| status(&e))
    }
}
