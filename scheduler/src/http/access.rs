//! Who may do what, and who has done what.

use axum::Json;
use axum::http::StatusCode;
use spotwise_api::convert::Problem;
use spotwise_api::v1;

use super::Refused;
use super::body::Document;
use super::params::{NamePath, Params};
use crate::service::Session;

type JsonResult<T> = Result<Json<T>, Refused>;

/// Who the caller is, and what he may do.
#[utoipa::path(
    get, path = "/api/v1/caller", operation_id = "whoAmI", tag = "access",
    responses((status = 200, body = v1::CallerView)))]
pub(super) async fn caller(session: Session, params: Params) -> JsonResult<v1::CallerView> {
    params.end()?;
    Ok(Json(session.who_am_i()))
}

/// A new token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/tokens", operation_id = "createToken", tag = "access",
    request_body(description = "For whom, with which roles and teams, and for how long", content((v1::CreateTokenRequest = "application/json"))),
    responses(
        (status = 201, body = v1::CreateTokenResponse), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn create(
    session: Session,
    params: Params,
    document: Document,
) -> Result<(StatusCode, Json<v1::CreateTokenResponse>), Refused> {
    params.end()?;
    let request = document.message()?;
    Ok((StatusCode::CREATED, Json(session.create_token(request).await?)))
}

/// Tokens, the newest first; never their secrets.
#[utoipa::path(
    get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "access",
    responses((status = 200, body = v1::ListTokensResponse)))]
pub(super) async fn list(session: Session, params: Params) -> JsonResult<v1::ListTokensResponse> {
    params.end()?;
    Ok(Json(session.list_tokens().await?))
}

/// From now on it is good no more. Twice is once.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{token}", operation_id = "revokeToken", tag = "access",
    params(("token" = String, Path, description = "Its id, as in lists")),
    responses((status = 200, body = v1::TokenView), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn revoke(
    session: Session,
    NamePath(id): NamePath,
    params: Params,
) -> JsonResult<v1::TokenView> {
    params.end()?;
    Ok(Json(session.revoke_token(v1::RevokeTokenRequest { id }).await?))
}

/// The audit log, oldest first.
#[utoipa::path(
    get, path = "/api/v1/audit", operation_id = "listAudit", tag = "access",
    params(
        ("after" = Option<u64>, Query, description = "Entries above this number"),
        ("page_size" = Option<u32>, Query, description = "At most 500; 100 where it is 0 or not given")),
    responses((status = 200, body = v1::ListAuditResponse), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn audit(
    session: Session,
    mut params: Params,
) -> JsonResult<v1::ListAuditResponse> {
    let request = v1::ListAuditRequest {
        after: params.number("after")?,
        page_size: params.number("page_size")?,
    };
    params.end()?;
    Ok(Json(session.list_audit(request).await?))
}
