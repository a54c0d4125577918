//! Pools and machines.

use axum::Json;
use spotwise_api::convert::Problem;
use spotwise_api::v1;

use super::Refused;
use super::body::Document;
use super::params::{NamePath, Params};
use crate::service::Session;

type JsonResult<T> = Result<Json<T>, Refused>;

/// Where capacity comes from, and how much of it is used.
#[utoipa::path(
    get, path = "/api/v1/pools", operation_id = "listPools", tag = "capacity",
    responses((status = 200, body = v1::ListPoolsResponse)))]
pub(super) async fn pools(service: Session, params: Params) -> JsonResult<v1::ListPoolsResponse> {
    params.end()?;
    Ok(Json(service.list_pools().await?))
}

/// One pool.
#[utoipa::path(
    get, path = "/api/v1/pools/{pool}", operation_id = "getPool", tag = "capacity",
    params(("pool" = String, Path, description = "Its name in the pools file")),
    responses((status = 200, body = v1::PoolView), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn pool(
    service: Session,
    NamePath(pool): NamePath,
    params: Params,
) -> JsonResult<v1::PoolView> {
    params.end()?;
    Ok(Json(service.get_pool(v1::GetPoolRequest { pool }).await?))
}

/// Machines whose charges are not settled, newest first.
#[utoipa::path(
    get, path = "/api/v1/machines", operation_id = "listMachines", tag = "capacity",
    params(
        ("pool" = Option<String>, Query, description = "Only machines of this pool"),
        ("machine_state" = Option<String>, Query, description = "Any of these, separated by commas"),
        ("all" = Option<bool>, Query, description = "Also those that are gone and not settled yet"),
        ("page_size" = Option<u32>, Query, description = "At most 500; 100 where it is 0 or not given"), ("page_token" = Option<String>, Query, description = "`next_page_token` of the page before")),
    responses(
        (status = 200, body = v1::ListMachinesResponse), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such pool", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn machines(
    service: Session,
    mut params: Params,
) -> JsonResult<v1::ListMachinesResponse> {
    let request = v1::ListMachinesRequest {
        pool: params.text("pool")?,
        states: params.list("machine_state")?,
        all: params.flag("all")?,
        page_size: params.number("page_size")?,
        page_token: params.page_token()?,
    };
    params.end()?;
    Ok(Json(service.list_machines(request).await?))
}

/// What a machine costs, who is on it, and why it is kept or given back.
#[utoipa::path(
    get, path = "/api/v1/machines/{machine}/explain", operation_id = "explainMachine", tag = "capacity",
    params(("machine" = String, Path, description = "i5 or 5")),
    responses((status = 200, body = v1::ExplainMachineResponse), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn explain(
    service: Session,
    NamePath(machine): NamePath,
    params: Params,
) -> JsonResult<v1::ExplainMachineResponse> {
    params.end()?;
    Ok(Json(service.explain_machine(v1::ExplainMachineRequest { machine }).await?))
}

/// No new work for a machine; it is given back when it is empty. Twice is once.
#[utoipa::path(
    post, path = "/api/v1/machines/{machine}/drain", operation_id = "drainMachine", tag = "capacity",
    params(("machine" = String, Path, description = "i5 or 5")),
    responses(
        (status = 200, body = v1::DrainMachineResponse), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is gone, not there yet, or a slot", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn drain(
    service: Session,
    NamePath(machine): NamePath,
    params: Params,
) -> JsonResult<v1::DrainMachineResponse> {
    params.end()?;
    Ok(Json(service.drain_machine(v1::DrainMachineRequest { machine }).await?))
}

/// Nothing said is not "let it go on".
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    frozen: bool,
    #[serde(default)]
    reason: String,
}

/// Stops all buying at once, or lets it go on. What runs goes on.
#[utoipa::path(
    put, path = "/api/v1/freeze", operation_id = "setFreeze", tag = "capacity",
    request_body(description = "Whether, and why", content((v1::SetFreezeRequest = "application/json"))),
    responses(
        (status = 200, body = v1::FreezeView), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn freeze(
    session: Session,
    params: Params,
    document: Document,
) -> JsonResult<v1::FreezeView> {
    params.end()?;
    let Wanted { frozen, reason } = document.message()?;
    Ok(Json(session.set_freeze(v1::SetFreezeRequest { frozen, reason }).await?))
}
