//! The OpenAPI 3.1 document, made from the handlers, the wire types and the JSON
//! Schema of job documents.

mod finish;
mod rules;

use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Value;
use spotwise_model::spec::{json_schema, json_schema_of_changes};
use utoipa::OpenApi;

use super::params::Params;
use super::{Refused, access, capacity, handlers, streams};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "spotwise",
        description = "Jobs on the cheapest GPUs that meet their deadline. Times are RFC 3339 text in market time; money is whole micro-dollars; states are lower-case words. Every call but /healthz and /readyz names its caller by a bearer token. The scheduler listens on this machine only, and refuses calls by another name and from pages of other sites. An unknown parameter is an error, and every error is a problem (RFC 9457).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
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
        capacity::pools,
        capacity::pool,
        capacity::machines,
        capacity::explain,
        capacity::drain,
        capacity::freeze,
        access::caller,
        access::create,
        access::list,
        access::revoke,
        access::audit,
        handlers::info,
        handlers::healthz,
        handlers::readyz,
        serve,
    ),
    tags(
        (name = "jobs", description = "Submit jobs, look at them, follow them, end them"),
        (name = "cost", description = "What was paid, and what it would have cost"),
        (name = "capacity", description = "Pools, and the machines that are paid for"),
        (name = "access", description = "Who may do what, and who has done what"),
        (name = "system", description = "The scheduler itself, and the market it sees")
    ),
    components(schemas(spotwise_api::convert::Problem, spotwise_api::convert::LogLine))
)]
struct Api;

/// The document.
///
/// # Panics
/// Never: what is written here is made of plain values.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
        finish::finish(&mut document, json_schema(), json_schema_of_changes());
        document
    })
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "system",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn serve(params: Params) -> Result<impl IntoResponse, Refused> {
    params.end()?;
    Ok(([(CONTENT_TYPE, "application/json")], document().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
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

    #[test]
    fn what_a_generator_needs_is_there() {
        let document = document();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let name = format!("{method} {path}");
                assert!(operation["operationId"].is_string(), "{name}");
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let said =
                        response["description"].as_str().is_some_and(|text| !text.is_empty());
                    assert!(said || response["$ref"].is_string(), "{name} {status}");
                }
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(parameter["schema"].is_object(), "{name} {parameter}");
                }
                if let Some(body) = operation.get("requestBody") {
                    for media in body["content"].as_object().unwrap().values() {
                        assert!(media["schema"].is_object(), "{name}");
                    }
                }
            }
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            if schema.get("properties").is_some() && !name.starts_with("Document") {
                assert!(schema["required"].is_array(), "{name}");
            }
        }
        let job = &document["components"]["schemas"]["JobSummary"]["properties"];
        assert_eq!(job["submitted"]["format"], "date-time");
        assert_eq!(job["spent_micros"]["format"], "int64");
    }
}
