use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;
use crate::service::testing::Bench;

#[test]
fn every_route_is_documented_and_nothing_else() {
    let documented: BTreeSet<&str> =
        document()["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let served: BTreeSet<&str> = routes().into_iter().map(|(path, _)| path).collect();
    assert_eq!(documented, served);
}

#[tokio::test]
async fn every_method_is_documented_and_others_are_refused_with_those_that_are() {
    let bench = Bench::new().await;
    let router = router((*bench.service).clone());
    for (path, _) in routes() {
        let documented = document()["paths"][path].as_object().unwrap();
        for method in ["get", "post", "put", "patch", "delete", "options", "trace"] {
            let uri = path
                .replace("{job}", "j1")
                .replace("{machine}", "i1")
                .replace("{pool}", "local")
                .replace("{token}", "0123456789ab");
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(uri);
            // A parameter that no address knows: nothing is done, and nothing goes on.
            let request = Request::builder()
                .method(request.method_ref().unwrap())
                .uri(format!("{}?unknown=1", request.uri_ref().unwrap()))
                .body(Body::empty())
                .unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            let known = documented.contains_key(method);
            let name = format!("{method} {path}");
            assert_eq!(answer.status() != StatusCode::METHOD_NOT_ALLOWED, known, "{name}");
            if known {
                continue;
            }
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json", "{name}");
            let allowed = answer.headers()[ALLOW].to_str().unwrap().to_ascii_lowercase();
            let allowed: BTreeSet<&str> =
                allowed.split(',').map(str::trim).filter(|method| *method != "head").collect();
            assert_eq!(allowed, documented.keys().map(String::as_str).collect(), "{name}");
        }
    }
}
