use spotwise_api::client::{Client, ErrorKind};
use spotwise_api::v1;
use spotwise_model::spec::MAX_DOCUMENT_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::service::testing::Bench;
use spotwise_control::core::Asker;

/// A server on a free port, with its clients.
pub(super) struct TestServer {
    bench: Bench,
    pub(super) address: SocketAddr,
    /// Of an admin.
    token: String,
    serving_state: watch::Sender<ServingState>,
    serving: tokio::task::JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    async fn new() -> Self {
        Self::with(Limits::of_process()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        Self::behind(Door::new(None, Vec::new(), Vec::new()).unwrap(), limits).await
    }

    pub(super) async fn behind(door: Door, limits: Limits) -> Self {
        let bench = Bench::new().await;
        let listener = bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let address = local_address(&listener).unwrap();
        let admin = Asker::of_this_machine("admin", "test").caller;
        let (gate, mut tokens) = bench.gate(&[admin]);
        let token = tokens.remove(0);
        let services = Services::of((*bench.service).clone(), Arc::new(gate)).await.unwrap();
        let (serving_state, shown) = watch::channel(ServingState::Open(services));
        let serving = serve(listener, shown, limits, door, bench.shutdown.clone());
        Self { bench, address, token, serving_state, serving: tokio::spawn(serving) }
    }

    /// Sends a request as is; returns everything that comes back.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A refused body may end in a reset, after the answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    pub(super) async fn call(&self, line: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-length: {length}\r\n{headers}\r\n{body}",
            self.address, self.token
        );
        self.raw(&request).await
    }

    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// The header of who calls.
    pub(super) fn named(&self) -> String {
        format!("authorization: {}\r\n", self.bearer())
    }

    async fn client(&self) -> Result<Client, spotwise_api::client::ClientError> {
        Client::connect_as(&self.address.to_string(), Some(&self.token)).await
    }

    pub(super) async fn status(&self, line: &str, headers: &str, body: &str) -> u16 {
        let answer = self.call(line, headers, body).await;
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }
}

pub(super) const YAML: &str = "content-type: application/yaml\r\n";
pub(super) const JOB: &str = "name: train\ncommand: [python, train.py]\n";

#[tokio::test]
async fn other_machines_cannot_reach_it() {
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:0", "[::ffff:10.0.0.1]:0"] {
        let error = bind(address.parse().unwrap(), false).await.unwrap_err();
        assert!(matches!(error, ServerError::NotLoopback(_)), "{address}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    let listener = bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
    let taken = bind(local_address(&listener).unwrap(), false).await.unwrap_err();
    assert!(matches!(taken, ServerError::Bind { .. }));
}

#[tokio::test]
async fn one_port_speaks_grpc_and_rest() {
    let server = TestServer::new().await;
    let client = server.client().await.unwrap();
    let document = JOB.to_owned();
    let request = v1::SubmitRequest { document, format: "yaml".to_owned(), ..Default::default() };
    assert_eq!(client.submit(request).await.unwrap().jobs[0].id, "j1");
    let keyed = format!("{YAML}idempotency-key: k\r\n");
    let made = server.call("POST /api/v1/jobs", &keyed, JOB).await;
    assert!(
        made.starts_with("HTTP/1.1 201") && made.contains("location: /api/v1/jobs/j2"),
        "{made}"
    );
    assert_eq!(server.status("POST /api/v1/jobs", &keyed, JOB).await, 200, "replayed");
    let listed = server.call("GET /api/v1/jobs?state=waiting", "", "").await;
    assert!(listed.contains("\"id\":\"j1\"") && listed.contains("\"id\":\"j2\""), "{listed}");
    assert!(listed.contains("x-content-type-options: nosniff"), "{listed}");
    assert!(listed.contains("content-security-policy: default-src 'none'"), "{listed}");
    let gone = client.get("j77").await.unwrap_err();
    assert_eq!(gone.kind(), &ErrorKind::NotFound);
    let bad = v1::SubmitRequest {
        document: "nmae: x".to_owned(),
        format: "yaml".to_owned(),
        ..Default::default()
    };
    let bad = client.submit(bad).await.unwrap_err();
    assert!(
        matches!(bad.kind(), ErrorKind::Invalid { code, .. } if code == "unknown_field"),
        "{bad:?}"
    );
}

#[tokio::test]
async fn bad_calls_get_their_status() {
    let server = TestServer::new().await;
    let json = "content-type: application/json\r\n";
    let large = "x".repeat(MAX_DOCUMENT_BYTES + 1);
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let checks = [
        ("GET /nowhere", "", "", 404),
        ("GET //api/v1/jobs", "", "", 404),
        ("PUT /api/v1/jobs", "", "", 405),
        ("GET /api/v1/jobs?team=*", "", "", 400),
        ("GET /api/v1/jobs?page_size=-1", "", "", 400),
        ("GET /api/v1/jobs?page_size=1000000000", "", "", 400),
        ("GET /api/v1/jobs?page_token=garbage", "", "", 400),
        ("GET /api/v1/jobs?state=running", "", "", 400),
        ("GET /api/v1/jobs/%2e%2e", "", "", 400),
        ("GET /api/v1/jobs/%ff", "", "", 400),
        ("GET /api/v1/jobs/j9", "", "", 404),
        ("GET /api/v1/costs?since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z", "", "", 400),
        ("POST /api/v1/jobs", "content-type: text/plain\r\n", JOB, 415),
        (
            "POST /api/v1/jobs",
            "content-type: application/yaml\r\ncontent-encoding: gzip\r\n",
            JOB,
            415,
        ),
        ("POST /api/v1/jobs", YAML, &large, 413),
        ("POST /api/v1/jobs", json, &deep, 400),
        ("POST /api/v1/jobs", json, r#"{"name": "a", "name": "b", "command": ["x"]}"#, 400),
        ("POST /api/v1/jobs", json, r#"{"name": "\ud800", "command": ["x"]}"#, 400),
        ("POST /api/v1/jobs", json, r#"{"__proto__": {}, "name": "a", "command": ["x"]}"#, 400),
        (
            "POST /api/v1/jobs",
            "content-type: application/yaml\r\norigin: http://evil.example\r\n",
            JOB,
            403,
        ),
        (
            "POST /api/v1/jobs",
            "content-type: application/yaml\r\nidempotency-key: a b\r\n",
            JOB,
            400,
        ),
        ("GET /healthz", "", "", 200),
        ("GET /readyz", "", "", 200),
    ];
    for (line, headers, body, expected) in checks {
        assert_eq!(server.status(line, headers, body).await, expected, "{line} {headers}");
    }
    let listed = server.call("GET /api/v1/jobs", "", "").await;
    assert!(listed.contains("\"jobs\":[]"), "nothing was made: {listed}");
    let foreign = server
        .raw("GET /api/v1/jobs HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
        .await;
    assert!(
        foreign.starts_with("HTTP/1.1 400") && foreign.contains("host_not_allowed"),
        "{foreign}"
    );
    let preflight =
        server.call("OPTIONS /api/v1/jobs", "origin: http://evil.example\r\n", "").await;
    assert!(!preflight.to_lowercase().contains("access-control-allow"), "{preflight}");
}

#[tokio::test]
async fn large_messages_are_refused() {
    let server = TestServer::new().await;
    let client = server.client().await.unwrap();
    for size in [MAX_DOCUMENT_BYTES + 1, 4 * MAX_DOCUMENT_BYTES] {
        let document = "x".repeat(size);
        let request = v1::QuoteRequest { document, format: "yaml".to_owned() };
        let uri = format!("http://{}", server.address);
        let channel =
            tonic::transport::Endpoint::from_shared(uri).unwrap().connect().await.unwrap();
        let bearer = spotwise_api::client::Bearer::new(Some(&server.token));
        let mut raw = v1::jobs_client::JobsClient::with_interceptor(channel, bearer);
        let status = raw.quote(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{size}: {status:?}");
    }
    assert!(client.info().await.is_ok(), "others are not harmed");
}

#[tokio::test]
async fn events_and_output_are_streamed() {
    let server = TestServer::new().await;
    let client = server.client().await.unwrap();
    let request = v1::SubmitRequest {
        document: JOB.to_owned(),
        format: "yaml".to_owned(),
        ..Default::default()
    };
    client.submit(request).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let ask = format!(
        "GET /api/v1/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
        server.address, server.token
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut told = String::new();
    while !told.contains("\"kind\":\"submitted\"") {
        let mut some = [0; 4_096];
        let read = stream.read(&mut some).await.unwrap();
        assert!(read > 0, "{told}");
        told.push_str(std::str::from_utf8(&some[..read]).unwrap());
    }
    assert!(told.contains("text/event-stream") && told.contains("id: 1"), "{told}");
    let logs = server.call("GET /api/v1/jobs/j1/logs", "", "").await;
    assert!(logs.contains("content-disposition: attachment; filename=\"j1.log\""), "{logs}");
    // An open stream does not keep the server from stopping.
    server.bench.shutdown.cancel();
    server.serving.await.unwrap().unwrap();
}

#[test]
fn grpc_is_known_by_its_content_type() {
    let kind =
        |kind: &str| is_grpc(&Request::builder().header(CONTENT_TYPE, kind).body(()).unwrap());
    assert!(kind("application/grpc") && kind("application/grpc+proto"));
    assert!(!kind("application/json") && !kind(""));
}

#[tokio::test]
async fn a_standby_lives_is_not_ready_and_says_who_leads() {
    let server = TestServer::new().await;
    assert_eq!(server.status("GET /readyz", "", "").await, 200);
    let leader = "http://10.0.0.7:7717".to_owned();
    server.serving_state.send_replace(ServingState::Standby { leader });
    assert_eq!(server.status("GET /healthz", "", "").await, 200);
    assert_eq!(server.status("GET /readyz", "", "").await, 503);
    let refused = server.call("POST /api/v1/jobs", YAML, JOB).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("\"code\":\"standby\"") && refused.contains("10.0.0.7"), "{refused}");
    let client = server.client().await.unwrap();
    assert!(matches!(client.info().await.unwrap_err().kind(), ErrorKind::Unavailable));
}
