//! The OpenAPI 3.1 document, made from the handlers and the wire types.

use axum::Json;
use utoipa::OpenApi;

use super::{handlers, streams};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "spotwise",
        description = "Jobs on the cheapest GPUs that meet their deadline. Times are RFC 3339 text in market time; money is whole micro-dollars; states are lower-case words."
    ),
    paths(
        handlers::submit,
        handlers::list,
        handlers::get,
        handlers::edit,
        handlers::delete,
        handlers::cancel,
        handlers::resubmit,
        handlers::explain,
        streams::logs,
        handlers::quote,
        streams::events,
        handlers::costs,
        handlers::offers,
        handlers::info,
        handlers::healthz,
        handlers::readyz,
        serve,
    ),
    components(schemas(spotwise_api::convert::Problem))
)]
struct Api;

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "system", responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#/components/schemas/").skip(1);
        let names: std::collections::BTreeSet<&str> =
            references.map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(names.contains("JobSummary") && names.contains("Problem"), "{names:?}");
        for name in names {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
