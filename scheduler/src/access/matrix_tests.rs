//! Who may call what: every method of both interfaces, every role, on jobs of the caller's
//! own team and of another's. The methods come from the router and the descriptors, so that a
//! new one is in this table or the test fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use spotwise_api::v1;
use spotwise_control::core::Asker;
use spotwise_model::access::{Action, Denied, Resource, Role, Scope, authorize};
use tower::ServiceExt as _;

use super::*;
use crate::service::testing::Bench;

/// What a method takes: an action, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// No token.
    Nothing,
    /// A right to the jobs of one's team; the method names a job.
    OnJob(Action),
    /// A right, without naming anything.
    Own(Action),
    /// A right to what all share.
    Shared(Action),
}

use Takes::{Nothing, OnJob, Own, Shared};

/// Every method, as `VERB path` and as `Service/Method`.
fn table() -> BTreeMap<&'static str, Takes> {
    [
        ("post /api/v1/jobs", Own(Action::SubmitJobs)),
        ("get /api/v1/jobs", Own(Action::ViewJobs)),
        ("get /api/v1/jobs/{job}", OnJob(Action::ViewJobs)),
        ("patch /api/v1/jobs/{job}", OnJob(Action::EditJobs)),
        ("delete /api/v1/jobs/{job}", OnJob(Action::CancelJobs)),
        ("post /api/v1/jobs/{job}/cancel", OnJob(Action::CancelJobs)),
        ("post /api/v1/jobs/{job}/resubmit", OnJob(Action::SubmitJobs)),
        ("get /api/v1/jobs/{job}/explain", OnJob(Action::ViewJobs)),
        ("get /api/v1/jobs/{job}/logs", OnJob(Action::ViewJobs)),
        ("post /api/v1/quotes", Own(Action::ViewJobs)),
        ("get /api/v1/events", Own(Action::ViewJobs)),
        ("get /api/v1/costs", Own(Action::ViewCosts)),
        ("get /api/v1/offers", Own(Action::ViewCapacity)),
        ("get /api/v1/pools", Own(Action::ViewCapacity)),
        ("get /api/v1/pools/{pool}", Own(Action::ViewCapacity)),
        ("get /api/v1/machines", Own(Action::ViewCapacity)),
        ("get /api/v1/machines/{machine}/explain", Shared(Action::ViewCapacity)),
        ("post /api/v1/machines/{machine}/drain", Shared(Action::DrainMachines)),
        ("get /api/v1/caller", Own(Action::Know)),
        ("post /api/v1/tokens", Own(Action::ManageTokens)),
        ("get /api/v1/tokens", Own(Action::ManageTokens)),
        ("delete /api/v1/tokens/{token}", Own(Action::ManageTokens)),
        ("get /api/v1/audit", Shared(Action::ReadAudit)),
        ("put /api/v1/freeze", Shared(Action::FreezeBuying)),
        ("get /api/v1/info", Own(Action::Know)),
        ("get /openapi.json", Own(Action::Know)),
        ("get /healthz", Nothing),
        ("get /readyz", Nothing),
        ("Jobs/Submit", Own(Action::SubmitJobs)),
        ("Jobs/Quote", Own(Action::ViewJobs)),
        ("Jobs/Get", OnJob(Action::ViewJobs)),
        ("Jobs/List", Own(Action::ViewJobs)),
        ("Jobs/Watch", Own(Action::ViewJobs)),
        ("Jobs/Logs", OnJob(Action::ViewJobs)),
        ("Jobs/Cancel", OnJob(Action::CancelJobs)),
        ("Jobs/Edit", OnJob(Action::EditJobs)),
        ("Jobs/Resubmit", OnJob(Action::SubmitJobs)),
        ("Jobs/Explain", OnJob(Action::ViewJobs)),
        ("Cost/Query", Own(Action::ViewCosts)),
        ("Capacity/ListPools", Own(Action::ViewCapacity)),
        ("Capacity/GetPool", Own(Action::ViewCapacity)),
        ("Capacity/ListMachines", Own(Action::ViewCapacity)),
        ("Capacity/ExplainMachine", Shared(Action::ViewCapacity)),
        ("Capacity/DrainMachine", Shared(Action::DrainMachines)),
        ("Capacity/SetFreeze", Shared(Action::FreezeBuying)),
        ("System/Info", Own(Action::Know)),
        ("System/ListOffers", Own(Action::ViewCapacity)),
        ("Access/WhoAmI", Own(Action::Know)),
        ("Access/CreateToken", Own(Action::ManageTokens)),
        ("Access/ListTokens", Own(Action::ManageTokens)),
        ("Access/RevokeToken", Own(Action::ManageTokens)),
        ("Access/ListAudit", Shared(Action::ReadAudit)),
        ("Workers/Register", Nothing),
        ("Workers/Renew", Nothing),
        ("Workers/GetStorageKeys", Nothing),
        ("Workers/Heartbeat", Nothing),
        ("Workers/Report", Nothing),
        ("Workers/AppendLog", Nothing),
        ("Workers/TakeNext", Nothing),
    ]
    .into_iter()
    .collect()
}

/// Every method there is.
fn methods() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, operations) in crate::http::document()["paths"].as_object().unwrap() {
        for verb in operations.as_object().unwrap().keys() {
            found.insert(format!("{verb} {path}"));
        }
    }
    let descriptors = FileDescriptorSet::decode(v1::DESCRIPTORS).unwrap();
    for file in descriptors.file.iter().filter(|file| file.package() == "spotwise.v1") {
        for service in &file.service {
            for method in &service.method {
                found.insert(format!("{}/{}", service.name(), method.name()));
            }
        }
    }
    found
}

/// What came of a call: what it would be in REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Unauthenticated,
    Forbidden,
    Missing,
    /// Let in, whatever came of it then.
    In,
}

fn request(method: &str, job: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::builder();
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some((service, name)) = method.split_once('/').filter(|(it, _)| !it.contains(' ')) {
        let message = grpc_message(name, job);
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        return request
            .method(Method::POST)
            .uri(format!("/spotwise.v1.{service}/{name}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::from(frame))
            .unwrap();
    }
    let (verb, path) = method.split_once(' ').unwrap();
    let path = path
        .replace("{job}", job)
        .replace("{machine}", "i77")
        .replace("{pool}", "local")
        .replace("{token}", "0123456789ab");
    let body = match (verb, path.as_str()) {
        ("patch", _) => "priority: 3".to_owned(),
        ("post", "/api/v1/jobs" | "/api/v1/quotes") => DOCUMENT.to_owned(),
        ("post", "/api/v1/tokens") => "{}".to_owned(),
        ("put", "/api/v1/freeze") => "{\"frozen\": false}".to_owned(),
        _ => String::new(),
    };
    let is_json = matches!(path.as_str(), "/api/v1/tokens" | "/api/v1/freeze");
    let kind = if is_json { "application/json" } else { "application/yaml" };
    request
        .method(verb.to_uppercase().as_str())
        .uri(path)
        .header("content-type", kind)
        .body(Body::from(body))
        .unwrap()
}

const DOCUMENT: &str = "name: new\ncommand: [x]\ntags: {Team: own}\n";

fn grpc_message(name: &str, job: &str) -> Vec<u8> {
    let job = job.to_owned();
    let (document, format) = (DOCUMENT.to_owned(), "yaml".to_owned());
    match name {
        "Submit" => v1::SubmitRequest { document, format, ..Default::default() }.encode_to_vec(),
        "Quote" => v1::QuoteRequest { document, format }.encode_to_vec(),
        "Get" => v1::GetJobRequest { job }.encode_to_vec(),
        "Logs" => v1::LogsRequest { job, ..Default::default() }.encode_to_vec(),
        "Cancel" => v1::CancelRequest { job, group: false }.encode_to_vec(),
        "Edit" => v1::EditRequest {
            job,
            document: "priority: 3".to_owned(),
            format,
            ..Default::default()
        }
        .encode_to_vec(),
        "Resubmit" => v1::ResubmitRequest { job, ..Default::default() }.encode_to_vec(),
        "Explain" => v1::ExplainRequest { job }.encode_to_vec(),
        "GetPool" => v1::GetPoolRequest { pool: "local".to_owned() }.encode_to_vec(),
        "ExplainMachine" => v1::ExplainMachineRequest { machine: "i77".to_owned() }.encode_to_vec(),
        "DrainMachine" => v1::DrainMachineRequest { machine: "i77".to_owned() }.encode_to_vec(),
        _ => Vec::new(),
    }
}

/// The two interfaces behind the door, as the server has them.
struct Doors {
    gate: Gate,
    http: Router,
    grpc: Router,
}

impl Doors {
    async fn call(&self, method: &str, job: &str, token: Option<&str>) -> Came {
        let mut request = request(method, job, token);
        if !Gate::is_open(request.uri().path()) {
            match self.gate.admit(&request) {
                Ok(asker) => drop(request.extensions_mut().insert(asker)),
                Err(ServiceError::Unauthenticated(_)) => return Came::Unauthenticated,
                Err(other) => panic!("{other}"),
            }
        }
        let grpc = request.uri().path().starts_with("/spotwise.v1.");
        let router = if grpc { &self.grpc } else { &self.http };
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.headers().get("grpc-status").map(|code| code.to_str().unwrap());
        match (status, answer.status().as_u16()) {
            (Some("16"), _) | (_, 401) => Came::Unauthenticated,
            (Some("7"), _) | (_, 403) => Came::Forbidden,
            (Some("5"), _) | (_, 404) => Came::Missing,
            _ => Came::In,
        }
    }
}

/// The same but for its last digit.
fn altered(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

fn caller(role: Role, scope: Scope) -> Caller {
    let roles = [role].into_iter().collect();
    Caller { subject: role.name().to_owned(), kind: CallerKind::Person, roles, scope }
}

#[tokio::test]
async fn every_method_takes_a_right_and_no_more() {
    let (methods, table) = (methods(), table());
    let listed: BTreeSet<String> = table.keys().map(ToString::to_string).collect();
    assert_eq!(methods, listed, "every method has a row, and every row a method");

    let mut callers = Vec::new();
    for role in Role::ALL {
        callers.extend([Scope::of(["own"]), Scope::default()].map(|scope| caller(role, scope)));
    }
    let mut checked = 0;
    for (method, takes) in &table {
        // Each method finds its jobs as they were.
        let bench = Bench::new().await;
        for team in ["own", "other"] {
            let document = format!("name: {team}\ncommand: [x]\ntags: {{Team: {team}}}\n");
            let request =
                v1::SubmitRequest { document, format: "yaml".to_owned(), ..Default::default() };
            bench.service.submit(request).await.unwrap();
        }
        let (gate, tokens) = bench.gate(&callers);
        let http = crate::http::router((*bench.service).clone());
        let grpc = crate::rpc::routes(&bench.service).await.unwrap();
        let doors = Doors { gate, http, grpc };
        let is_open = *takes == Nothing;
        for token in [None, Some("nothing"), Some(&*altered(&tokens[0]))] {
            let came = doors.call(method, "j1", token).await;
            // Workers prove who they are in the message; an empty one proves nothing.
            let expected = if is_open && !method.starts_with("Workers/") {
                Came::In
            } else {
                Came::Unauthenticated
            };
            assert_eq!(came, expected, "{method} with {token:?}");
            checked += 1;
        }
        if is_open {
            continue;
        }
        for (caller, token) in callers.iter().zip(&tokens) {
            for (job, team) in [("j2", "other"), ("j1", "own")] {
                let came = doors.call(method, job, Some(token)).await;
                let name =
                    format!("{method} as {} of {:?} on {team}", caller.subject, caller.scope);
                let (action, resource) = match takes {
                    OnJob(action) => (*action, Resource::OfTeam(Some(team))),
                    Own(action) => (*action, Resource::Own),
                    Shared(action) => (*action, Resource::Shared),
                    Nothing => unreachable!(),
                };
                checked += 1;
                match authorize(caller, action, resource) {
                    Ok(()) => assert!(
                        came == Came::In || (came == Came::Missing && !matches!(takes, OnJob(_))),
                        "{name}: {came:?}"
                    ),
                    // Without the role nobody is told whether there is such a job.
                    Err(Denied::Foreign) => assert!(
                        matches!(came, Came::Missing)
                            || (came == Came::Forbidden
                                && authorize(caller, action, Resource::Own).is_err()),
                        "{name}: {came:?}"
                    ),
                    Err(_) => assert_eq!(came, Came::Forbidden, "{name}"),
                }
            }
        }
    }
    let expected = table.len() * 3 + table.values().filter(|it| **it != Nothing).count() * 20;
    assert_eq!(checked, expected);
}

#[tokio::test]
async fn a_token_is_good_until_it_is_not() {
    let bench = Bench::new().await;
    let (gate, tokens) = bench.gate(&[caller(Role::Viewer, Scope::default())]);
    let asks = |headers: &[(&str, String)]| {
        let mut request = Request::builder().uri("/api/v1/jobs");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        gate.admit(&request.body(()).unwrap())
    };
    let bearer = format!("Bearer {}", tokens[0]);
    let known: Arc<Asker> = asks(&[("authorization", bearer.clone())]).unwrap();
    assert_eq!(known.caller.subject, "viewer");
    assert_eq!(known.request.len(), 16, "{}", known.request);
    let own = asks(&[("authorization", bearer.clone()), ("x-request-id", "r-7".to_owned())]);
    assert_eq!(own.unwrap().request, "r-7");
    assert!(asks(&[("authorization", format!("bearer {}", tokens[0]))]).is_ok());
    for bad in ["", "Bearer", "Bearer ", "Basic eDp5", tokens[0].as_str(), "Bearer swt_x_y"] {
        assert!(asks(&[("authorization", bad.to_owned())]).is_err(), "{bad}");
    }
    assert!(asks(&[("authorization", bearer.clone()), ("authorization", bearer.clone())]).is_err());
    // Revoked, or too old.
    let change = |change: fn(&mut Token)| {
        let handle = bench.handle();
        let mut tokens = (**handle.tokens().borrow()).clone();
        tokens.values_mut().for_each(change);
        handle.publish_tokens(&Arc::new(tokens));
    };
    change(|token| token.expires = Some(token.created));
    assert!(asks(&[("authorization", bearer.clone())]).is_err());
    change(|token| token.expires = None);
    assert!(asks(&[("authorization", bearer.clone())]).is_ok());
    change(|token| token.revoked = Some(token.created));
    assert!(asks(&[("authorization", bearer)]).is_err());
}
