use spotwise_api::v1;
use spotwise_api::v1::access_server::Access;
use tonic::{Request, Response, Status};

use super::{Rpc, status};

type RpcResult<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Access for Rpc {
    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> RpcResult<v1::CallerView> {
        Ok(Response::new(self.session(&request)?.who_am_i()))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> RpcResult<v1::CreateTokenResponse> {
        let session = self.session(&request)?;
        session.create_token(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> RpcResult<v1::ListTokensResponse> {
        self.session(&request)?.list_tokens().await.map(Response::new).map_err(|e| status(&e))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> RpcResult<v1::TokenView> {
        let session = self.session(&request)?;
        session.revoke_token(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> RpcResult<v1::ListAuditResponse> {
        let session = self.session(&request)?;
        session.list_audit(request.into_inner()).await.map(Response::new).map_err(|e| status(&e))
    }
}
