//! Service errors as RFC 9457 problems: the only place that maps them.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use spotwise_api::convert::{PROBLEM_TYPE_PREFIX, Problem};

use crate::service::{Kind, ServiceError};

/// A refused call, as a response.
#[derive(Debug)]
pub struct Refused(pub ServiceError);

impl<E: Into<ServiceError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.log();
        let problem = problem(&self.0);
        let status = http_status(self.0.kind());
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.0.kind() == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"spotwise\""));
        }
        if matches!(self.0.kind(), Kind::Overloaded | Kind::Unavailable) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The problem of a refused call.
pub fn problem(error: &ServiceError) -> Problem {
    let status = http_status(error.kind());
    Problem {
        kind: format!("{PROBLEM_TYPE_PREFIX}{}", error.code()),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail: error.message(),
        code: error.code().to_owned(),
        field: error.field().to_owned(),
    }
}

const fn http_status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Exists | Kind::Conflict => StatusCode::CONFLICT,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Kind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_and_where() {
        let error = ServiceError::invalid("unknown_field", "bugdet", "did you mean `budget`?");
        let json = serde_json::to_value(problem(&error)).unwrap();
        let expected = serde_json::json!({
            "type": "urn:spotwise:problem:unknown_field",
            "title": "Bad Request",
            "status": 400,
            "detail": "did you mean `budget`?",
            "code": "unknown_field",
            "field": "bugdet",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn answers_carry_the_type_of_problems() {
        let response = Refused(ServiceError::Overloaded).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn the_cause_of_a_defect_is_not_sent() {
        let problem = problem(&ServiceError::internal("reading the store", "SELECT secret"));
        assert_eq!(problem.status, 500);
        assert!(!problem.detail.contains("SELECT"));
    }
}
