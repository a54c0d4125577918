use spotwise_api::v1;
use spotwise_api::v1::system_server::System;
use tonic::{Request, Response, Status};

use super::{Rpc, status};

#[tonic::async_trait]
impl System for Rpc {
    async fn info(
        &self,
        request: Request<v1::InfoRequest>,
    ) -> Result<Response<v1::InfoResponse>, Status> {
        self.session(&request)?.info().await.map(Response::new).map_err(|e| status(&e))
    }

    async fn list_offers(
        &self,
        request: Request<v1::ListOffersRequest>,
    ) -> Result<Response<v1::ListOffersResponse>, Status> {
        self.session(&request)?
            .list_offers(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
