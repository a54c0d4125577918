//! Answers that go on: output and events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, TryStreamExt};
use spotwise_api::convert::{LogLine, LogText, Problem};
use spotwise_api::v1;

use super::params::{JobPath, Params};
use super::{Refused, problem};
use crate::service::{ServiceError, Session};

/// Lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// A comment goes out so often: proxies and clients close what is silent for
/// 30 s to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a job wrote, oldest first.
///
/// As plain text byte for byte as it was written, which no browser shall interpret; a
/// line `[spotwise: N bytes of output are missing here: …]` stands where the output was
/// too long to be kept. With `Accept: application/x-ndjson` as lines of JSON, which say
/// whose output it is and where it begins: a client that comes back asks for that
/// `attempt` and `rank` from `next_offset` on.
#[utoipa::path(
    get, path = "/api/v1/jobs/{job}/logs", operation_id = "readLogs", tag = "jobs",
    params(
        ("job" = String, Path, description = "j17, 17, or a job's name"), ("attempt" = Option<u32>, Query, description = "The newest where it is not given"),
        ("all_attempts" = Option<bool>, Query), ("follow" = Option<bool>, Query, description = "Until the job has ended"),
        ("tail" = Option<u32>, Query, description = "Only the last so many lines of each attempt and rank"),
        ("rank" = Option<u32>, Query, description = "Only of this node of a gang"),
        ("offset" = Option<u64>, Query, description = "From this byte on of what the attempt and rank wrote; both have to be named (a job of one node has only rank 0)"),
        ("resume" = Option<Vec<String>>, Query, explode = false, description = "What was read already, ATTEMPT:RANK:OFFSET each: it goes on there, and at the beginning of what is not named")),
    responses(
        (status = 200, description = "The output; as lines of JSON each line is one of these", content((String = "text/plain"), (LogLine = "application/x-ndjson"))),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn logs(
    service: Session,
    JobPath(job): JobPath,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let request = v1::LogsRequest {
        job,
        attempt: params.number("attempt")?,
        all_attempts: params.flag("all_attempts")?,
        follow: params.flag("follow")?,
        tail: params.number("tail")?,
        rank: params.optional_number("rank")?,
        offset: params.number("offset")?,
        resume: params.list("resume")?.iter().map(|at| position(at)).collect::<Result<_, _>>()?,
    };
    params.end()?;
    let json = wants_lines_of_json(&headers);
    let reader = service.logs(request).await?;
    let ending = if json { "ndjson" } else { "log" };
    let name = format!("attachment; filename=\"{}.{ending}\"", reader.job());
    // The answer has begun: an error can only break it off.
    let chunks = reader.into_stream().inspect_err(ServiceError::log);
    let body = if json {
        Body::from_stream(chunks.map(|chunk| chunk.and_then(line_of_json)))
    } else {
        let mut text = LogText::default();
        Body::from_stream(chunks.map_ok(move |chunk| text.add(&chunk, "")))
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let kind = if json { NDJSON } else { "text/plain; charset=utf-8" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    let name = HeaderValue::try_from(name)
        .map_err(|error| ServiceError::internal("naming a file", error))?;
    headers.insert(CONTENT_DISPOSITION, name);
    Ok(response)
}

fn line_of_json(chunk: v1::LogChunk) -> Result<Vec<u8>, ServiceError> {
    let mut line = serde_json::to_vec(&LogLine::from(chunk))
        .map_err(|error| ServiceError::internal("writing output", error))?;
    line.push(b'\n');
    Ok(line)
}

/// Whether the first kind of content that a client names, and that there is, is lines
/// of JSON.
fn wants_lines_of_json(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = named
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let known = |kind: &String| ["text/plain", "text/*", "*/*", NDJSON].contains(&kind.as_str());
    kinds.find(known).is_some_and(|kind| kind == NDJSON)
}

/// `2:0:1234`: attempt, rank and offset.
fn position(text: &str) -> Result<v1::LogPosition, ServiceError> {
    // Digits alone: an attempt has no sign, though Rust reads `+1` as a number.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let mut parts = text.split(':').filter(|_| plain);
    let position = (|| {
        let position = v1::LogPosition {
            attempt: parts.next()?.parse().ok()?,
            rank: parts.next()?.parse().ok()?,
            offset: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(position)
    })();
    position.ok_or_else(|| {
        ServiceError::invalid(
            "invalid_value",
            "resume",
            "write ATTEMPT:RANK:OFFSET, as in 2:0:1234",
        )
    })
}

/// Events after a number, then as they happen, as server-sent events. The id of
/// each is its number: clients that come back send it as `Last-Event-ID`.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "watchEvents", tag = "jobs",
    params(
        ("job" = Option<String>, Query, description = "Only this job"), ("after" = Option<u64>, Query, description = "Events after this number"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same, and stronger")),
    responses((status = 200, content_type = "text/event-stream", body = v1::Event), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    service: Session,
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
