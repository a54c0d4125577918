//! What callers try that is not theirs: rows of the catalogue of bad inputs that are about
//! callers, headers and addresses. Each is refused as the catalogue asks, and changes nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use spotwise_tests::{Scheduler, spotwise, token_of};

/// One try: its row, what is sent, and the beginnings of answers that would do.
struct Try {
    row: &'static str,
    line: String,
    headers: Vec<String>,
    body: String,
    expected: &'static [&'static str],
}

fn attempt(
    row: &'static str,
    line: impl Into<String>,
    headers: &[&str],
    expected: &'static [&'static str],
) -> Try {
    let headers = headers.iter().map(ToString::to_string).collect();
    Try { row, line: line.into(), headers, body: String::new(), expected }
}

impl Try {
    fn with(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }
}

const UNKNOWN: &[&str] = &["401"];
const FORBIDDEN: &[&str] = &["403"];
const MISSING: &[&str] = &["404"];
const INVALID: &[&str] = &["400"];

const LIST: &str = "GET /api/v1/jobs";
const YAML: &str = "content-type: application/yaml";
const JOB: &str = "name: a\ncommand: [x]\ntags: {Team: vision}\n";

/// A request as it is on the wire; the status and all that follows.
fn raw(scheduler: &Scheduler, host: &str, request: &Try) -> String {
    let address = scheduler.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let mut text = format!("{} HTTP/1.1\r\nconnection: close\r\n", request.line);
    if !request.headers.iter().any(|header| header.starts_with("host:")) {
        text += &format!("host: {host}\r\n");
    }
    for header in &request.headers {
        text += &format!("{header}\r\n");
    }
    text += &format!("content-length: {}\r\n\r\n{}", request.body.len(), request.body);
    // Who is refused early may be hung up on while he still speaks.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.trim_start_matches("HTTP/1.1 ").to_owned()
}

/// A token with a role, for a team.
fn token(scheduler: &Scheduler, name: &str, role: &str, team: &str) -> String {
    let arguments = ["tokens", "create", name, "--role", role, "--team", team];
    let mut command = spotwise();
    command.args(arguments).args(["--server", &scheduler.url]);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn tries(admin: &str, submitter: &str, viewer: &str, revoked: &str) -> Vec<Try> {
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    let (admin, submitter, viewer) = (&bearer(admin), &bearer(submitter), &bearer(viewer));
    // {"alg":"none"} . {"sub":"admin"} .
    let unsigned = &bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.");
    let json = "content-type: application/json";
    let mut tries = vec![
        attempt("40 no token", LIST, &[], UNKNOWN),
        attempt("40 empty", LIST, &["authorization: Bearer"], UNKNOWN),
        attempt("40 nothing", LIST, &["authorization: Bearer nothing"], UNKNOWN),
        attempt("40 64 kB", LIST, &[&bearer(&"x".repeat(65_536))], &["401", "431"]),
        attempt("40 two", LIST, &[admin, admin], UNKNOWN),
        attempt("40 other scheme", LIST, &["authorization: Basic YWRtaW46YWRtaW4="], UNKNOWN),
        attempt("41 alg none", LIST, &[unsigned], UNKNOWN),
        attempt("42 revoked", LIST, &[&bearer(revoked)], UNKNOWN),
        attempt("42 wrong role", "POST /api/v1/jobs", &[viewer, YAML], FORBIDDEN).with(JOB),
        attempt("43 makes an admin", "POST /api/v1/tokens", &[submitter, json], FORBIDDEN)
            .with("{\"subject\": \"me\", \"roles\": [\"admin\"]}"),
        attempt("44 foreign id", "GET /api/v1/jobs/j1", &[viewer], MISSING),
        attempt("44 absent id", "GET /api/v1/jobs/j9", &[viewer], MISSING),
        attempt("44 foreign output", "GET /api/v1/jobs/j1/logs", &[viewer], MISSING),
        attempt("44 cursor", "GET /api/v1/jobs?page_token=zz", &[viewer], INVALID),
        attempt("45 size", "GET /api/v1/jobs?page_size=-1", &[viewer], INVALID),
        attempt("45 sort", "GET /api/v1/jobs?sort=id;drop", &[viewer], INVALID),
        attempt("47 deletes an entry", "DELETE /api/v1/audit/1", &[admin], &["404", "405"]),
        attempt(
            "48 long key",
            "POST /api/v1/jobs",
            &[admin, YAML, &format!("idempotency-key: {}", "k".repeat(1 << 20))],
            &["400", "431", ""],
        )
        .with(JOB),
        attempt(
            "48 not ASCII",
            "POST /api/v1/jobs",
            &[admin, YAML, "idempotency-key: schl\u{fc}ssel"],
            INVALID,
        )
        .with(JOB),
        attempt(
            "49 plain text",
            "POST /api/v1/tokens",
            &[admin, "content-type: text/plain"],
            &["415"],
        )
        .with("{\"subject\": \"me\", \"roles\": [\"admin\"]}"),
        attempt(
            "49 other origin",
            "POST /api/v1/jobs",
            &[admin, YAML, "origin: https://evil.example"],
            FORBIDDEN,
        )
        .with(JOB),
        attempt("49 null origin", "POST /api/v1/jobs", &[admin, YAML, "origin: null"], FORBIDDEN)
            .with(JOB),
        attempt(
            "50 preflight",
            "OPTIONS /api/v1/jobs",
            &["origin: https://evil.example", "access-control-request-method: POST"],
            &["401", "403", "405"],
        ),
        attempt("51 host", LIST, &[admin, "host: evil.example"], INVALID),
        attempt("51 absolute", "GET http://evil.example/api/v1/jobs", &[admin], INVALID),
        attempt("51 two slashes", "GET //api/v1/jobs", &[admin], &["400", "404"]),
        attempt("51 dots", "GET /api/v1/%2e%2e/v1/jobs", &[admin], &["400", "404"]),
        attempt(
            "52 gzip",
            "POST /api/v1/jobs",
            &[admin, YAML, "content-encoding: gzip"],
            &["415", "400"],
        )
        .with(JOB),
        attempt("64 fake notice", "POST /api/v1/machines/i1/notice", &[submitter], &["404", "405"]),
        attempt(
            "79 end before start",
            "GET /api/v1/costs?since=2026-02-01&until=2026-01-01",
            &[admin],
            INVALID,
        ),
        attempt("79 zone", "GET /api/v1/costs?timezone=Mars/Olympus", &[admin], INVALID),
    ];
    for secret in ["token", "access_token", "authorization"] {
        let line = format!("{LIST}?{secret}={}", admin.rsplit(' ').next().unwrap_or_default());
        tries.push(attempt("42 in the address", line, &[], UNKNOWN));
    }
    tries
}

#[test]
fn what_is_not_theirs_is_refused_and_nothing_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scheduler = Scheduler::start(folder.path(), &["--outside-workers"]).expect("it starts");
    let mine = scheduler.submit("name: own\ncommand: [x]\ntags: {Team: speech}\n", "k");
    assert_eq!(mine.expect("accepted"), ["j1"]);
    let admin = token_of(&scheduler.url).expect("an admin token");
    let submitter = token(&scheduler, "sue", "submitter", "vision");
    let viewer = token(&scheduler, "vic", "viewer", "vision");
    let revoked = token(&scheduler, "rob", "admin", "vision");
    let id = revoked.split('_').nth(1).expect("an id").to_owned();
    let call = scheduler.call("DELETE", &format!("/tokens/{id}"), None);
    assert_eq!(call.expect("it answers").status, 200);

    let host = scheduler.url.trim_start_matches("http://").to_owned();
    let tries = tries(&admin, &submitter, &viewer, &revoked);
    let mut wrong = Vec::new();
    for each in &tries {
        let answer = raw(&scheduler, &host, each);
        if !each.expected.iter().any(|status| answer.starts_with(status)) {
            let begun: String = answer.chars().take(200).collect();
            wrong.push(format!("{}: want {:?}, got {begun}", each.row, each.expected));
        }
        for leak in ["access-control-allow-origin", "src/", "panicked", "SELECT ", &admin] {
            if answer.contains(leak) {
                wrong.push(format!("{}: its answer holds {leak}", each.row));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tries.len(), wrong.join("\n"));
    let (foreign, absent) = ("44 foreign id", "44 absent id");
    let body = |row| {
        let each = tries.iter().find(|each| each.row == row).expect("a row");
        raw(&scheduler, &host, each).replace("j9", "j1")
    };
    let date = |answer: String| {
        let lines = answer.lines().filter(|line| !line.to_lowercase().starts_with("date:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(date(body(foreign)), date(body(absent)), "they cannot be told apart");
    assert_eq!(scheduler.states().expect("it answers").len(), 1, "a refused call left a job");
    scheduler.end().expect("it has not panicked");
    println!("{} of {} tries refused as they should be", tries.len(), tries.len());
}

/// The same key of another caller is another key.
#[test]
fn a_key_of_another_caller_is_another_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &["--outside-workers"]).expect("it starts");
    let host = scheduler.url.trim_start_matches("http://").to_owned();
    let mut ids = Vec::new();
    for (name, team) in [("sue", "vision"), ("sam", "speech")] {
        let bearer =
            format!("authorization: Bearer {}", token(&scheduler, name, "submitter", team));
        let job = format!("name: a\ncommand: [x]\ntags: {{Team: {team}}}\n");
        let headers = [bearer.as_str(), YAML, "idempotency-key: same"];
        let call = attempt("48", "POST /api/v1/jobs", &headers, &["201"]).with(&job);
        let answer = raw(&scheduler, &host, &call);
        assert!(answer.starts_with("201"), "{answer}");
        ids.push(
            answer.rsplit("\"id\":").next().map(|rest| rest.chars().take(6).collect::<String>()),
        );
    }
    assert_ne!(ids[0], ids[1]);
}
