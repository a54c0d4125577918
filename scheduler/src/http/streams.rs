//! Answers that go on: output and events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, TryStreamExt};
use spotwise_api::convert::Problem;
use spotwise_api::v1;

use super::params::{JobPath, Params};
use super::{Refused, problem};
use crate::service::{Service, ServiceError};

/// A comment goes out so often: proxies and clients close what is silent for
/// 30 s to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Captured output as it was captured: plain text for programs and terminals,
/// which no browser shall interpret.
#[utoipa::path(
    get, path = "/api/v1/jobs/{job}/logs", tag = "jobs",
    params(
        ("job" = String, Path, description = "j17, 17, or a job's name"), ("attempt" = Option<u32>, Query, description = "The newest where it is not given"),
        ("all_attempts" = Option<bool>, Query), ("follow" = Option<bool>, Query, description = "Until the job has ended"),
        ("tail" = Option<u32>, Query, description = "Only the last so many lines of each attempt and rank")),
    responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn logs(
    State(service): State<Service>,
    JobPath(job): JobPath,
    mut params: Params,
) -> Result<Response, Refused> {
    let request = v1::LogsRequest {
        job,
        attempt: params.number("attempt")?,
        all_attempts: params.flag("all_attempts")?,
        follow: params.flag("follow")?,
        tail: params.number("tail")?,
    };
    params.end()?;
    let reader = service.logs(request).await?;
    let name = format!("attachment; filename=\"{}.log\"", reader.job());
    // The answer has begun: an error can only break it off.
    let data = reader.into_stream().map_ok(|chunk| chunk.data).inspect_err(ServiceError::log);
    let mut response = Body::from_stream(data).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let name = HeaderValue::try_from(name)
        .map_err(|error| ServiceError::internal("naming a file", error))?;
    headers.insert(CONTENT_DISPOSITION, name);
    Ok(response)
}

/// Events after a number, then as they happen, as server-sent events. The id of
/// each is its number: clients that come back send it as `Last-Event-ID`.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "jobs",
    params(
        ("job" = Option<String>, Query, description = "Only this job"), ("after" = Option<u64>, Query, description = "Events after this number"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same, and stronger")),
    responses((status = 200, content_type = "text/event-stream", body = v1::Event), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(service): State<Service>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (job, after) = (params.text("job")?, params.number("after")?);
    params.end()?;
    let after_event = last_seen(&headers)?.unwrap_or(after);
    let watcher = service.watch(v1::WatchRequest { job, after_event }).await?;
    let events = Sse::new(as_messages(watcher.into_stream()));
    Ok(events.keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// An error is told as an event of its own, and ends the stream.
fn as_messages(
    events: impl Stream<Item = Result<v1::Event, ServiceError>> + Send,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    events.map(|next| {
        let message = next.and_then(|event| {
            let message = Event::default().id(event.number.to_string()).json_data(&event);
            message.map_err(|error| ServiceError::internal("writing an event", error))
        });
        Ok(message.unwrap_or_else(|error| {
            error.log();
            let told = Event::default().event("error").json_data(problem(&error));
            told.unwrap_or_else(|_| Event::default().event("error"))
        }))
    })
}

fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, ServiceError> {
    let Some(given) = headers.get("last-event-id") else { return Ok(None) };
    let number = given.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        ServiceError::invalid("invalid_value", "last-event-id", "not the number of an event")
    })
}
