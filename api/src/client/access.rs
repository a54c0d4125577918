//! Callers, tokens and the audit log.

use super::{Again, Client, ClientError};
use crate::v1;

/// The largest page of the audit log.
const LARGEST_PAGE: u32 = 500;

impl Client {
    /// Who the caller is.
    pub async fn who_am_i(&self) -> Result<v1::CallerView, ClientError> {
        self.unary(Again::Yes, |mut door| async move {
            door.access.who_am_i(v1::WhoAmIRequest {}).await
        })
        .await
    }

    /// A new token. Never tried again: each try makes one.
    pub async fn create_token(
        &self,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, ClientError> {
        self.unary(Again::only_if(false), |mut door| {
            let request = request.clone();
            async move { door.access.create_token(request).await }
        })
        .await
    }

    /// Every token that the caller may see, the newest first.
    pub async fn tokens(&self) -> Result<v1::ListTokensResponse, ClientError> {
        self.unary(Again::Yes, |mut door| async move {
            door.access.list_tokens(v1::ListTokensRequest {}).await
        })
        .await
    }

    /// A token is good no more. Revoking twice is revoking once.
    pub async fn revoke_token(&self, id: &str) -> Result<v1::TokenView, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let id = id.to_owned();
            async move { door.access.revoke_token(v1::RevokeTokenRequest { id }).await }
        })
        .await
    }

    /// The next entries of the audit log after a number, and whether there are more.
    pub async fn audit(&self, after: u64) -> Result<v1::ListAuditResponse, ClientError> {
        let request = v1::ListAuditRequest { after, page_size: LARGEST_PAGE };
        self.unary(Again::Yes, |mut door| async move { door.access.list_audit(request).await })
            .await
    }
}
