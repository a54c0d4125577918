//! The REST interface: the same messages as gRPC in JSON, under `/api/v1`. Each handler
//! converts, acts, and converts back.

mod access;
mod body;
mod capacity;
mod guard;
mod handlers;
mod openapi;
mod params;
mod problem;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::{MethodRouter, delete, get, post, put};
use tower_http::set_header::SetResponseHeaderLayer;

use spotwise_control::core::Asker;

pub use guard::{LocalAddress, Site, check_origin};
pub use openapi::document;
pub use problem::{Refused, problem};

use crate::access::NOBODY;
use crate::service::{Service, ServiceError, Session};

/// Sent with every response. Nothing here is a page: a browser that shows a response anyway
/// may not run, load, frame or keep any of it.
const HEADERS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// All routes, with their headers and the responses for what does not exist.
pub fn router(service: Service) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    let nowhere =
        || async { Refused(ServiceError::NotFound("there is no such address".to_owned())) };
    let mut router = router
        .fallback(nowhere)
        .method_not_allowed_fallback(|| async { Refused(ServiceError::NoSuchMethod) })
        .with_state(service);
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    router
}

/// The caller was named at the door.
impl FromRequestParts<Service> for Session {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Refused> {
        let asker = parts.extensions.get::<Arc<Asker>>().cloned();
        let nobody = || ServiceError::Unauthenticated(NOBODY.to_owned());
        Ok(service.session(asker.ok_or_else(nobody)?))
    }
}

fn routes() -> Vec<(&'static str, MethodRouter<Service>)> {
    vec![
        ("/api/v1/jobs", post(handlers::submit).get(handlers::list)),
        ("/api/v1/jobs/{job}", get(handlers::get).patch(handlers::edit).delete(handlers::delete)),
        ("/api/v1/jobs/{job}/cancel", post(handlers::cancel)),
        ("/api/v1/jobs/{job}/resubmit", post(handlers::resubmit)),
        ("/api/v1/jobs/{job}/explain", get(handlers::explain)),
        ("/api/v1/jobs/{job}/logs", get(streams::logs)),
        ("/api/v1/quotes", post(handlers::quote)),
        ("/api/v1/events", get(streams::events)),
        ("/api/v1/costs", get(handlers::costs)),
        ("/api/v1/offers", get(handlers::offers)),
        ("/api/v1/pools", get(capacity::pools)),
        ("/api/v1/pools/{pool}", get(capacity::pool)),
        ("/api/v1/machines", get(capacity::machines)),
        ("/api/v1/machines/{machine}/explain", get(capacity::explain)),
        ("/api/v1/machines/{machine}/drain", post(capacity::drain)),
        ("/api/v1/freeze", put(capacity::freeze)),
        ("/api/v1/caller", get(access::caller)),
        ("/api/v1/tokens", post(access::create).get(access::list)),
        ("/api/v1/tokens/{token}", delete(access::revoke)),
        ("/api/v1/audit", get(access::audit)),
        ("/api/v1/info", get(handlers::info)),
        ("/healthz", get(handlers::healthz)),
        ("/readyz", get(handlers::readyz)),
        ("/openapi.json", get(openapi::serve)),
    ]
}

#[cfg(test)]
mod tests;
