//! Requests that `object_store` does not make: signed by hand, answered in XML.

use http::{HeaderValue, Method, Request};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector};
use quick_xml::de::from_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::bucket::{S3Settings, ring_for_tls};

/// An answer is a page of a thousand names at most.
const MOST_CHARACTERS: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignedError {
    /// It was refused.
    #[error("{status}: {code}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The service's own code.
        code: String,
        /// Its words.
        message: String,
    },
    /// It is not there, or not what it should be.
    #[error("{0}")]
    Away(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorText {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// STS wraps its errors, S3 does not.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorDocument {
    error: Option<ErrorText>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Sends one signed request, once.
#[derive(Debug)]
pub(crate) struct Signed {
    client: HttpClient,
    region: String,
    service: &'static str,
}

impl Signed {
    pub(crate) fn new(settings: &S3Settings, service: &'static str) -> object_store::Result<Self> {
        ring_for_tls();
        let client = ReqwestConnector::default().connect(&settings.client_options())?;
        Ok(Self { client, region: settings.region.clone(), service })
    }

    /// GET, or POST where there is a form.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        url: &Url,
        form: Option<String>,
        keys: &AwsCredential,
    ) -> Result<T, SignedError> {
        let away = |error: &dyn std::fmt::Display| SignedError::Away(error.to_string());
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let has_form = form.is_some();
        let body = form.map_or_else(HttpRequestBody::empty, HttpRequestBody::from);
        let request = Request::builder().method(method).uri(url.as_str());
        let mut request = request.body(body).map_err(|error| away(&error))?;
        if has_form {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        }
        let authorizer = AwsAuthorizer::new(keys, self.service, &self.region);
        authorizer.try_authorize(&mut request, None).map_err(|error| away(&error))?;
        let answer = self.client.execute(request).await.map_err(|error| away(&error))?;
        let status = answer.status();
        let bytes = answer.into_body().bytes().await.map_err(|error| away(&error))?;
        let text = String::from_utf8_lossy(&bytes);
        if text.len() > MOST_CHARACTERS {
            return Err(SignedError::Away(format!("an answer of {} characters", text.len())));
        }
        if !status.is_success() {
            return Err(refused(status.as_u16(), &text));
        }
        from_str(&text).map_err(|error| away(&error))
    }
}

fn refused(status: u16, text: &str) -> SignedError {
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(300).collect();
    match from_str::<ErrorDocument>(text) {
        Ok(ErrorDocument { error: Some(ErrorText { code, message }), .. })
        | Ok(ErrorDocument { error: None, code, message }) => {
            SignedError::Refused { status, code: short(&code), message: short(&message) }
        }
        Err(_) => SignedError::Refused { status, code: String::new(), message: short(text) },
    }
}
