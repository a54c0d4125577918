//! Job documents as bodies.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use spotwise_model::spec::MAX_DOCUMENT_BYTES;

use super::Refused;
use crate::service::{ServiceError, document_size};

/// The least time that a body has.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that says its length may come this slowly: 524 kbit/s.
const LEAST_BYTES_A_SECOND: u64 = 64 * 1024;

/// A job document as it came.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) text: String,
    /// `yaml` or `json`.
    pub(super) format: String,
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

/// A job document, or nothing at all.
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

/// Refuses a body that is too large before it has come.
async fn read(request: Request<Body>) -> Result<Vec<u8>, ServiceError> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length: Option<usize> = announced.and_then(|length| length.parse().ok());
    length.map_or(Ok(()), document_size)?;
    let seconds = length.map_or(0, |length| length as u64 / LEAST_BYTES_A_SECOND);
    let patience = PATIENCE.max(Duration::from_secs(seconds));
    let whole = axum::body::to_bytes(request.into_body(), MAX_DOCUMENT_BYTES + 1);
    match tokio::time::timeout(patience, whole).await {
        Err(_) => Err(ServiceError::TimedOut(patience.as_secs())),
        Ok(Ok(bytes)) => {
            document_size(bytes.len())?;
            Ok(bytes.into())
        }
        // Either it is beyond the limit, or it broke off and nobody reads this.
        Ok(Err(_)) => {
            document_size(usize::MAX)?;
            Ok(Vec::new())
        }
    }
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
