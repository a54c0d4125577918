use spotwise_api::v1;
use spotwise_api::v1::cost_server::Cost;
use tonic::{Request, Response, Status};

use super::{Rpc, status};

#[tonic::async_trait]
impl Cost for Rpc {
    async fn query(
        &self,
        request: Request<v1::CostQuery>,
    ) -> Result<Response<v1::CostReport>, Status> {
        self.session(&request)?
            .cost(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|e| status(&e))
    }
}
