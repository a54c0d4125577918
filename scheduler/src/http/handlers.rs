use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use spotwise_api::convert::Problem;
use spotwise_api::v1;

use super::Refused;
use super::body::{Document, MaybeDocument};
use super::params::{JobPath, Params};
use crate::service::{Service, ServiceError, Session};

type JsonResult<T> = Result<Json<T>, Refused>;

/// Accepts all jobs of a document, or none.
#[utoipa::path(
    post, path = "/api/v1/jobs", operation_id = "submitJobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters; a repeated call gives the same answer")),
    request_body(description = "A job document, at most 1 MiB", content(("application/yaml"), ("application/json"))),
    responses(
        (status = 201, body = v1::SubmitResponse), (status = 200, description = "An earlier call with this key had made them", body = v1::SubmitResponse),
        (status = 400, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"), (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn submit(
    service: Session,
    params: Params,
    headers: HeaderMap,
    document: Document,
) -> Result<Response, Refused> {
    params.end()?;
    let idempotency_key = idempotency_key(&headers)?;
    let Document { text: document, format } = document;
    let request = v1::SubmitRequest { document, format, idempotency_key };
    Ok(submitted(service.submit(request).await?))
}

/// What a document would cost. Changes nothing.
#[utoipa::path(
    post, path = "/api/v1/quotes", operation_id = "quoteJobs", tag = "jobs",
    request_body(description = "A job document, at most 1 MiB", content(("application/yaml"), ("application/json"))),
    responses(
        (status = 200, body = v1::QuoteResponse), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"), (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn quote(
    service: Session,
    params: Params,
    document: Document,
) -> JsonResult<v1::QuoteResponse> {
    params.end()?;
    let Document { text: document, format } = document;
    Ok(Json(service.quote(v1::QuoteRequest { document, format }).await?))
}

/// Jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/jobs", operation_id = "listJobs", tag = "jobs",
    params(
        ("state" = Option<String>, Query, description = "Any of these, separated by commas"), ("name" = Option<String>, Query),
        ("tag" = Option<std::collections::BTreeMap<String, String>>, Query, style = DeepObject, explode, description = "All of these tags, or `model` and `class`: tag[Team]=ml"),
        ("page_size" = Option<u32>, Query, description = "At most 500; 100 where it is 0 or not given"), ("page_token" = Option<String>, Query, description = "`next_page_token` of the page before")),
    responses((status = 200, body = v1::ListJobsResponse), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(service: Session, mut params: Params) -> JsonResult<v1::ListJobsResponse> {
    let request = v1::ListJobsRequest {
        states: params.list("state")?,
        name: params.text("name")?,
        tags: params.map("tag")?,
        page_size: params.number("page_size")?,
        page_token: params.page_token()?,
    };
    params.end()?;
    Ok(Json(service.list(request).await?))
}

/// One job with its attempts and its history.
#[utoipa::path(
    get, path = "/api/v1/jobs/{job}", operation_id = "getJob", tag = "jobs", params(("job" = String, Path, description = "j17, 17, or a job's name")),
    responses(
        (status = 200, body = v1::JobDetail), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    service: Session,
    JobPath(job): JobPath,
    params: Params,
) -> JsonResult<v1::JobDetail> {
    params.end()?;
    Ok(Json(service.get(v1::GetJobRequest { job }).await?))
}

/// Cancels a job, durably.
#[utoipa::path(
    post, path = "/api/v1/jobs/{job}/cancel", operation_id = "cancelJob", tag = "jobs",
    params(("job" = String, Path, description = "j17, 17, or a job's name"), ("group" = Option<bool>, Query, description = "All jobs of the same submission")),
    responses(
        (status = 200, body = v1::CancelResponse), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn cancel(
    service: Session,
    JobPath(job): JobPath,
    mut params: Params,
) -> JsonResult<v1::CancelResponse> {
    let group = params.flag("group")?;
    params.end()?;
    Ok(Json(service.cancel(v1::CancelRequest { job, group }).await?))
}

/// The same as `cancel`.
#[utoipa::path(
    delete, path = "/api/v1/jobs/{job}", operation_id = "deleteJob", tag = "jobs",
    params(("job" = String, Path, description = "j17, 17, or a job's name"), ("group" = Option<bool>, Query, description = "All jobs of the same submission")),
    responses(
        (status = 200, body = v1::CancelResponse), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn delete(
    state: Session,
    job: JobPath,
    params: Params,
) -> JsonResult<v1::CancelResponse> {
    cancel(state, job, params).await
}

/// Changes the budget, deadline, priority or retries of a job that is not over.
#[utoipa::path(
    patch, path = "/api/v1/jobs/{job}", tag = "jobs",
    params(
        ("job" = String, Path, description = "j17, 17, or a job's name"), ("dry_run" = Option<bool>, Query, description = "Say what it would do, and do nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters; a repeated call gives the same answer")),
    request_body(description = "Any of `budget_usd`, `deadline`, `priority` and `retries`", content(("application/yaml"), ("application/json"))),
    responses(
        (status = 200, body = v1::EditResponse), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn edit(
    service: Session,
    JobPath(job): JobPath,
    mut params: Params,
    headers: HeaderMap,
    document: Document,
) -> JsonResult<v1::EditResponse> {
    let dry_run = params.flag("dry_run")?;
    params.end()?;
    let idempotency_key = idempotency_key(&headers)?;
    let Document { text: document, format } = document;
    let request = v1::EditRequest { job, document, format, idempotency_key, dry_run };
    Ok(Json(service.edit(request).await?))
}

/// Brings jobs that ended back as new ones. The body, a mended document, may be left out.
#[utoipa::path(
    post, path = "/api/v1/jobs/{job}/resubmit", operation_id = "resubmitJob", tag = "jobs",
    params(
        ("job" = String, Path, description = "j17, 17, a job's name, or an element such as big[3]"),
        ("failed" = Option<bool>, Query, description = "Only those that have not succeeded, and what is behind them"),
        ("fresh" = Option<bool>, Query, description = "From the start, not from the newest checkpoint"),
        ("group" = Option<bool>, Query, description = "Of all jobs of the same submission"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters")),
    request_body(description = "A mended document, or nothing", content(("application/yaml"), ("application/json"))),
    responses(
        (status = 201, body = v1::SubmitResponse), (status = 200, description = "An earlier call with this key had made it", body = v1::SubmitResponse),
        (status = 404, body = Problem, content_type = "application/problem+json"), (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn resubmit(
    service: Session,
    JobPath(job): JobPath,
    mut params: Params,
    headers: HeaderMap,
    MaybeDocument(document): MaybeDocument,
) -> Result<Response, Refused> {
    let [failed, fresh, group] =
        [params.flag("failed")?, params.flag("fresh")?, params.flag("group")?];
    params.end()?;
    let idempotency_key = idempotency_key(&headers)?;
    let Document { text: document, format } = document;
    let request =
        v1::ResubmitRequest { job, idempotency_key, failed, fresh, group, document, format };
    Ok(submitted(service.resubmit(request).await?))
}

/// Why a job waits, or why it is where it is.
#[utoipa::path(
    get, path = "/api/v1/jobs/{job}/explain", operation_id = "explainJob", tag = "jobs", params(("job" = String, Path, description = "j17, 17, or a job's name")),
    responses((status = 200, body = v1::ExplainResponse), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn explain(
    service: Session,
    JobPath(job): JobPath,
    params: Params,
) -> JsonResult<v1::ExplainResponse> {
    params.end()?;
    Ok(Json(service.explain(v1::ExplainRequest { job }).await?))
}

/// What was paid, and what it would have cost on demand.
#[utoipa::path(
    get, path = "/api/v1/costs", operation_id = "queryCosts", tag = "cost",
    params(
        ("group_by" = Option<String>, Query, description = "Dimensions, separated by commas: hour, day, month, job, attempt, kind, pool, zone, instance_type, capacity_type, model, class, or any tag"),
        ("since" = Option<String>, Query, description = "What was consumed from then on: RFC 3339, or a day of the time zone such as 2026-03-07"),
        ("until" = Option<String>, Query, description = "What was consumed before then, in the same forms"),
        ("timezone" = Option<String>, Query, description = "Whose hours, days and months, such as Europe/Berlin; UTC where it is not given"),
        ("filter" = Option<std::collections::BTreeMap<String, String>>, Query, style = DeepObject, explode, description = "Only charges with these dimensions: filter[model]=llama")),
    responses((status = 200, body = v1::CostReport), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn costs(service: Session, mut params: Params) -> JsonResult<v1::CostReport> {
    let query = v1::CostQuery {
        group_by: params.list("group_by")?,
        since: params.text("since")?,
        until: params.text("until")?,
        filters: params.map("filter")?,
        timezone: params.text("timezone")?,
    };
    params.end()?;
    Ok(Json(service.cost(query).await?))
}

/// Capacity that can be bought now.
#[utoipa::path(
    get, path = "/api/v1/offers", operation_id = "listOffers", tag = "system",
    params(("accelerator" = Option<String>, Query), ("all" = Option<bool>, Query, description = "Also what is not free")),
    responses((status = 200, body = v1::ListOffersResponse), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn offers(
    service: Session,
    mut params: Params,
) -> JsonResult<v1::ListOffersResponse> {
    let accelerator = params.text("accelerator")?;
    let request = v1::ListOffersRequest { accelerator, all: params.flag("all")? };
    params.end()?;
    Ok(Json(service.list_offers(request).await?))
}

/// The scheduler itself.
#[utoipa::path(get, path = "/api/v1/info", operation_id = "getInfo", tag = "system", responses((status = 200, body = v1::InfoResponse)))]
pub(super) async fn info(service: Session, params: Params) -> JsonResult<v1::InfoResponse> {
    params.end()?;
    Ok(Json(service.info().await?))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, description = "It does", content_type = "text/plain", body = String)))]
pub(super) async fn healthz(params: Params) -> Result<&'static str, Refused> {
    params.end()?;
    Ok("ok\n")
}

/// Whether it can do its work.
#[utoipa::path(
    get, path = "/readyz", tag = "system",
    responses((status = 200, description = "It can", content_type = "text/plain", body = String), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn readyz(
    State(service): State<Service>,
    params: Params,
) -> Result<&'static str, Refused> {
    params.end()?;
    service.ready().await?;
    Ok("ready\n")
}

/// 201 for new jobs, 200 for those of an earlier call.
fn submitted(response: v1::SubmitResponse) -> Response {
    let status = if response.replayed { StatusCode::OK } else { StatusCode::CREATED };
    let first = response.jobs.first().map(|job| format!("/api/v1/jobs/{}", job.id));
    match first {
        Some(first) => (status, [(LOCATION, first)], Json(response)).into_response(),
        None => (status, Json(response)).into_response(),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, ServiceError> {
    let invalid = |message| ServiceError::invalid("invalid_value", "idempotency_key", message);
    let mut given = headers.get_all("idempotency-key").iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(String::new()),
        (Some(_), Some(_)) => Err(invalid("is given twice")),
        (Some(key), None) if key.is_empty() => Err(invalid("is empty; leave it out for none")),
        (Some(key), None) => Ok(key
            .to_str()
            .map_err(|_| invalid("1 to 128 visible ASCII characters without spaces"))?
            .to_owned()),
    }
}
