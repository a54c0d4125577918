//! Job documents as request bodies.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use spotwise_model::spec::MAX_DOCUMENT_BYTES;

use super::Refused;
use crate::service::{ServiceError, document_size};

/// The least time allowed for a body.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A body with a declared length may arrive this slowly: 524 kbit/s.
const LEAST_BYTES_A_SECOND: u64 = 64 * 1024;

/// How much of a body refused as too large is still read.
const MAX_DRAINED_BYTES: usize = 8 * MAX_DOCUMENT_BYTES;

/// For this long at most.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A job document as received.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) text: String,
    /// `yaml` or `json`.
    pub(super) format: String,
}

impl Document {
    /// What is asked for, where that is a message of the API and no document of a person.
    pub(super) fn message<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        serde_json::from_str(&self.text).map_err(|error| {
            ServiceError::invalid("invalid_document", "", format!("not such a request: {error}"))
        })
    }
}

impl<S: Sync> FromRequest<S> for Document {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let format = format(request.headers())?.to_owned();
        let text = String::from_utf8(read(request).await?).map_err(|_| {
            ServiceError::invalid("not_utf8", "document", "not UTF-8; save it as UTF-8")
        })?;
        Ok(Self { text, format })
    }
}

/// A job document, or nothing.
#[derive(Debug)]
pub(super) struct MaybeDocument(pub(super) Document);

impl<S: Sync> FromRequest<S> for MaybeDocument {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        if request.headers().contains_key(CONTENT_TYPE) {
            return Document::from_request(request, state).await.map(Self);
        }
        if !read(request).await?.is_empty() {
            return Err(ServiceError::UnsupportedType(REMEDY.to_owned()).into());
        }
        Ok(Self(Document { text: String::new(), format: "yaml".to_owned() }))
    }
}

const REMEDY: &str = "send application/yaml or application/json in UTF-8";

/// Refuses a body that is too large before it has arrived.
async fn read(request: Request<Body>) -> Result<Vec<u8>, ServiceError> {
    let (head, body) = request.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length: Option<usize> = announced.and_then(|length| length.parse().ok());
    // Who waits for leave to send has not sent anything.
    let sends = !head.headers.contains_key(EXPECT);
    let mut body = body.into_data_stream();
    if let Err(refused) = length.map_or(Ok(()), document_size) {
        if sends && length.is_some_and(|length| length <= MAX_DRAINED_BYTES) {
            drain(&mut body).await;
        }
        return Err(refused);
    }
    let seconds = length.map_or(0, |length| length as u64 / LEAST_BYTES_A_SECOND);
    let timeout = BODY_READ_TIMEOUT.max(Duration::from_secs(seconds));
    match tokio::time::timeout(timeout, collect(&mut body)).await {
        Err(_) => Err(ServiceError::TimedOut(timeout.as_secs())),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(refused)) => {
            drain(&mut body).await;
            Err(refused)
        }
    }
}

async fn collect(body: &mut BodyDataStream) -> Result<Vec<u8>, ServiceError> {
    let mut whole = Vec::new();
    while let Some(part) = body.next().await {
        // It broke off: nobody reads the answer.
        let Ok(part) = part else { return Ok(Vec::new()) };
        document_size(whole.len().saturating_add(part.len()))?;
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// Reads the rest and discards it: a client that is still sending when the connection
/// closes sees a broken pipe instead of the answer.
async fn drain(body: &mut BodyDataStream) {
    let mut drained = 0;
    let rest = async {
        while let Some(Ok(part)) = body.next().await {
            drained += part.len();
            if drained > MAX_DRAINED_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
}

fn format(headers: &HeaderMap) -> Result<&'static str, ServiceError> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(ServiceError::UnsupportedType("send the document uncompressed".to_owned()));
    }
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (kind, parameters) = given.split_once(';').unwrap_or((given, "charset=utf-8"));
    let utf8 = ["charset=utf-8", "charset=\"utf-8\""]
        .iter()
        .any(|charset| parameters.trim().eq_ignore_ascii_case(charset));
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/yaml" if utf8 => Ok("yaml"),
        "application/json" if utf8 => Ok("json"),
        _ => Err(ServiceError::UnsupportedType(REMEDY.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::service::Kind;

    async fn document(kind: &str, body: Vec<u8>) -> Result<Document, ServiceError> {
        let request = Request::builder().header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap();
        Document::from_request(request, &()).await.map_err(|refused| refused.0)
    }

    #[tokio::test]
    async fn the_content_type_says_how_to_read_it() {
        assert_eq!(document("application/yaml", b"a: 1".to_vec()).await.unwrap().format, "yaml");
        let json = document("Application/JSON; charset=UTF-8", b"{}".to_vec()).await.unwrap();
        assert_eq!((json.format.as_str(), json.text.as_str()), ("json", "{}"));
        for kind in [
            "text/plain",
            "",
            "application/json; charset=utf-16",
            "application/x-www-form-urlencoded",
        ] {
            let error = document(kind, b"{}".to_vec()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::UnsupportedType, "{kind}");
        }
    }

    #[tokio::test]
    async fn documents_end_at_their_limit() {
        assert!(document("application/yaml", vec![b'a'; MAX_DOCUMENT_BYTES]).await.is_ok());
        for size in [MAX_DOCUMENT_BYTES + 1, MAX_DOCUMENT_BYTES + 2, 4 * MAX_DOCUMENT_BYTES] {
            let error = document("application/yaml", vec![b'a'; size]).await.unwrap_err();
            assert_eq!(error.kind(), Kind::TooLarge, "{size}");
        }
        let announced = Request::builder()
            .header(CONTENT_TYPE, "application/yaml")
            .header(CONTENT_LENGTH, "2147483648")
            .body(Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()))
            .unwrap();
        let refused = Document::from_request(announced, &()).await.unwrap_err();
        assert_eq!(refused.0.kind(), Kind::TooLarge, "without waiting for it");
    }

    /// A body of 1 KiB parts, whether it says its length or not, and how many parts of it
    /// were read.
    async fn parts_read(parts: usize, announce: bool) -> usize {
        let read = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&read);
        let body = futures::stream::iter(0..parts).map(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(vec![b'a'; 1024])
        });
        let mut request = Request::builder().header(CONTENT_TYPE, "application/yaml");
        if announce {
            request = request.header(CONTENT_LENGTH, parts * 1024);
        }
        let request = request.body(Body::from_stream(body)).unwrap();
        let refused = Document::from_request(request, &()).await.unwrap_err();
        assert_eq!(refused.0.kind(), Kind::TooLarge);
        read.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_client_that_sends_too_much_can_read_why_it_is_refused() {
        let twice = 2 * MAX_DOCUMENT_BYTES / 1024;
        assert_eq!(parts_read(twice, true).await, twice, "to its end");
        assert_eq!(parts_read(twice, false).await, twice, "to its end");
        let far = 100 * MAX_DOCUMENT_BYTES / 1024;
        assert_eq!(parts_read(far, true).await, 0, "known before");
        assert!(parts_read(far, false).await < far / 10, "not without end");
    }

    #[tokio::test]
    async fn compressed_and_broken_text_is_refused() {
        let error = document("application/yaml", vec![0xff, 0xfe]).await.unwrap_err();
        assert_eq!(error.code(), "not_utf8");
        let zipped = Request::builder()
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "gzip")
            .body(Body::empty())
            .unwrap();
        let refused = Document::from_request(zipped, &()).await.unwrap_err();
        assert_eq!(refused.0.kind(), Kind::UnsupportedType);
    }
}
