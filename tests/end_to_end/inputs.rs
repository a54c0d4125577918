//! Hostile and mistaken documents, through every entrance: the file
//! (`spotwise validate`), gRPC and REST. One validator answers all of them, so
//! the code is the same, and nothing has changed afterwards.

use std::io::Write as _;

use spotwise_api::client::{Bearer, Named};
use spotwise_api::v1::SubmitRequest;
use spotwise_api::v1::jobs_client::JobsClient;
use spotwise_model::spec::MAX_DOCUMENT_BYTES;
use spotwise_tests::{Body, Scheduler, http, spotwise, token_of};

/// A document that must be refused.
struct Bad {
    /// The row of the catalogue of bad inputs.
    row: &'static str,
    document: Vec<u8>,
    json: bool,
    code: &'static str,
}

fn yaml(row: &'static str, code: &'static str, document: impl Into<Vec<u8>>) -> Bad {
    Bad { row, document: document.into(), json: false, code }
}

fn json(row: &'static str, code: &'static str, document: impl Into<Vec<u8>>) -> Bad {
    Bad { row, document: document.into(), json: true, code }
}

/// A valid job with one more line.
fn with(row: &'static str, code: &'static str, line: &str) -> Bad {
    yaml(row, code, format!("name: a\ncommand: [x]\n{line}\n"))
}

/// A valid job under another name.
fn named(row: &'static str, code: &'static str, name: &str) -> Bad {
    yaml(row, code, format!("name: {name}\ncommand: [x]\n"))
}

fn bad_documents() -> Vec<Bad> {
    let mut bad = documents_that_are_not();
    bad.extend(bad_figures());
    bad.extend(bad_texts());
    bad.extend(bad_requests());
    bad
}

fn documents_that_are_not() -> Vec<Bad> {
    let bomb = (1..8).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let again = vec![format!("*a{}", n - 1); 9].join(",");
        format!("{text}a{n}: &a{n} [{again}]\n")
    });
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        yaml("1 alias bomb", "yaml_alias_limit", bomb),
        yaml("2 brackets", "too_deep", "[".repeat(100_000)),
        yaml("3 one byte too many", "document_too_large", " ".repeat(MAX_DOCUMENT_BYTES + 1)),
        with("4 duplicate key", "duplicate_key", "budget_usd: 1\nbudget_usd: 9999"),
        with("5 unknown field", "unknown_field", "bugdet_usd: 2"),
        yaml("6 two documents", "multiple_documents", "name: a\ncommand: [x]\n---\nname: b\n"),
        with("7 tag", "tag_not_allowed", "title: !!python/object/apply:os.system [id]"),
        yaml("18 not UTF-8", "not_utf8", b"name: a\xff\n".to_vec()),
        json("57 deep JSON", "too_deep", deep),
        json("57 huge number", "invalid_json", r#"{"name":"a","command":["x"],"priority":1e999}"#),
        json("57 duplicate key", "duplicate_key", r#"{"name":"a","name":"b","command":["x"]}"#),
        json(
            "57 lone surrogate",
            "invalid_json",
            r#"{"name":"a","title":"\ud800","command":["x"]}"#,
        ),
        json("57 __proto__", "unknown_field", r#"{"name":"a","command":["x"],"__proto__":{}}"#),
    ]
}

fn bad_figures() -> Vec<Bad> {
    let mut bad: Vec<Bad> = [
        ".nan",
        ".inf",
        "-1",
        "-0",
        "1e308",
        "0x10",
        "\"12,50\"",
        "0.0000001",
        "9.3e12",
        "9300000000000",
    ]
    .iter()
    .map(|amount| with("8-10 budget", "invalid_money", &format!("budget_usd: {amount}")))
    .collect();
    for time in ["9999-01-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T10:00:00", "tomorrow"]
    {
        bad.push(with("11 deadline", "invalid_deadline", &format!("deadline: \"{time}\"")));
    }
    for span in ["1e9h", "-5m", "5", "PT"] {
        bad.push(with("12 duration", "invalid_duration", &format!("timeout: {span}")));
    }
    bad.extend([
        with("68 half a GPU", "fractional_gpu", "resources: {gpus: 0.5}"),
        with("68 many GPUs", "out_of_range", "resources: {gpus: \"V100:1000000\"}"),
        with("68 no CPU", "out_of_range", "resources: {cpus: 0}"),
        with("70 empty array", "out_of_range", "array: {size: 0}"),
        with("70 endless array", "out_of_range", "array: {size: 1000000000}"),
        with("71 priority", "out_of_range", "priority: 9223372036854775807"),
    ]);
    bad
}

fn bad_texts() -> Vec<Bad> {
    vec![
        named("13 no name", "invalid_name", "\"\""),
        named("13 spaces", "invalid_name", "\"   \""),
        named("13 long name", "invalid_name", &"a".repeat(64)),
        named("19 homoglyph", "invalid_name", "\u{430}cme"),
        with("19 homoglyph of a team", "invalid_tag", "tags: {Team: \u{430}cme}"),
        named("20 forged log line", "invalid_name", "\"x\\nINFO admin login ok\""),
        with("17 NUL", "invalid_title", "title: \"a\\0b\""),
        with("17 bidi", "invalid_title", "title: \"a\\u202Eb\""),
        with("21 ANSI", "invalid_title", "title: \"\\e[31mred\""),
    ]
}

fn bad_requests() -> Vec<Bad> {
    let mut bad = vec![
        yaml("22 command line", "command_not_a_list", "name: a\ncommand: train.py; curl x\n"),
        yaml("23 NUL in argv", "invalid_command", "name: a\ncommand: [\"a\\0b\"]\n"),
        with("24 A=B", "invalid_variable", "env: {\"A=B\": x}"),
        with("25 key in plain text", "secret_in_plain_text", "env: {K: AKIAIOSFODNN7EXAMPLE}"),
        with("69 self", "self_dependency", "after: [a]"),
        with("69 missing parent", "unknown_dependency", "after: [nobody]"),
        with("72 label", "invalid_tag", "tags: {\"kubernetes.io/x\": y}"),
    ];
    for name in ["LD_PRELOAD", "BASH_ENV", "SPOTWISE_TOKEN", "AWS_SECRET_ACCESS_KEY"] {
        bad.push(with("24 reserved", "reserved_variable", &format!("env: {{{name}: x}}")));
    }
    for image in ["../../x", ";id", "http://x/y"] {
        bad.push(with("27 image", "invalid_image", &format!("image: \"{image}\"")));
    }
    for path in [
        "../../etc/passwd",
        "..%2f",
        "%252e%252e",
        "..\\\\..",
        "/abs",
        "file:///x",
        "a/./b",
        "a//b",
    ] {
        let line = format!("checkpoint: {{dir: \"{path}\"}}");
        bad.push(with("29 checkpoint", "invalid_path", &line));
    }
    bad
}

#[test]
fn a_bad_document_is_refused_alike_on_every_entrance() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &[]).expect("it starts");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let endpoint = tonic::transport::Endpoint::from_shared(scheduler.url.clone());
    let channel = runtime.block_on(endpoint.expect("an address").connect()).expect("it answers");
    let bearer = Bearer::new(token_of(&scheduler.url).as_deref());
    let mut grpc = JobsClient::with_interceptor(channel, bearer).max_encoding_message_size(4 << 20);
    let mut wrong = Vec::new();
    let documents = bad_documents();
    for bad in &documents {
        let answers = [
            ("file", by_file(bad)),
            ("REST", by_rest(&scheduler, bad)),
            ("gRPC", runtime.block_on(by_grpc(&mut grpc, bad))),
        ];
        for (entrance, answer) in answers {
            if !answer.contains(bad.code) {
                let shown = String::from_utf8_lossy(&bad.document[..bad.document.len().min(120)]);
                wrong.push(format!(
                    "{} by {entrance}: want {}, got {answer}\n  {shown}",
                    bad.row, bad.code
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), documents.len() * 3, wrong.join("\n"));
    assert!(scheduler.states().expect("it answers").is_empty(), "a refused document left a job");
    println!("{} bad documents, each refused alike on 3 entrances, 0 jobs made", documents.len());
}

fn by_file(bad: &Bad) -> String {
    let end = if bad.json { ".json" } else { ".yaml" };
    let mut file = tempfile::Builder::new().suffix(end).tempfile().expect("a file");
    file.write_all(&bad.document).expect("written");
    let output = spotwise().arg("validate").arg(file.path()).output().expect("it runs");
    if output.status.code() != Some(2) {
        return format!("exit {:?}", output.status.code());
    }
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn by_rest(scheduler: &Scheduler, bad: &Bad) -> String {
    let kind = if bad.json { "application/json" } else { "application/yaml" };
    let body = Body { kind, key: None, bytes: &bad.document };
    let answer = scheduler.call("POST", "/jobs", Some(body)).expect("an answer");
    let problem = answer.kind.starts_with("application/problem+json");
    if problem && (400..500).contains(&answer.status) {
        answer.text
    } else {
        format!("{} {}: {}", answer.status, answer.kind, answer.text)
    }
}

async fn by_grpc(client: &mut JobsClient<Named>, bad: &Bad) -> String {
    // protobuf text is UTF-8: bytes that are not cannot even be sent there.
    let Ok(document) = String::from_utf8(bad.document.clone()) else { return bad.code.to_owned() };
    let format = if bad.json { "json" } else { "yaml" }.to_owned();
    let request = SubmitRequest { document, format, idempotency_key: String::new() };
    match client.submit(request).await {
        Ok(_) => "accepted".to_owned(),
        Err(status) => match status.code() {
            tonic::Code::InvalidArgument
            | tonic::Code::ResourceExhausted
            | tonic::Code::NotFound => status.message().to_owned(),
            other => format!("{other:?} {}", status.message()),
        },
    }
}

/// A deadline in the past needs a clock, and a cycle needs the whole document:
/// both are refused by the scheduler, on both of its entrances.
#[test]
fn what_only_the_scheduler_can_know_is_refused_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &[]).expect("it starts");
    let past = "name: a\ncommand: [x]\ndeadline: \"1990-01-01T00:00:00Z\"\n";
    let circle =
        "jobs:\n- {name: a, command: [x], after: [b]}\n- {name: b, command: [x], after: [a]}\n";
    let orphan = "name: a\ncommand: [x]\nafter: [j999]\n";
    for (document, status, code) in [
        (past, 400, "deadline"),
        (circle, 400, "dependency_cycle"),
        (orphan, 400, "unknown_dependency"),
    ] {
        let body = Body { kind: "application/yaml", key: None, bytes: document.as_bytes() };
        let answer = scheduler.call("POST", "/jobs", Some(body)).expect("an answer");
        assert!(answer.text.contains(code), "{document}: {} {}", answer.status, answer.text);
        assert!((400..=status + 4).contains(&answer.status), "{}", answer.status);
    }
    assert!(scheduler.states().expect("it answers").is_empty());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &[]).expect("it starts");
    let good = "name: a\ncommand: [\"true\"]\n";
    let post = |kind: &str, key: Option<&str>, bytes: &[u8]| {
        scheduler.call("POST", "/jobs", Some(Body { kind, key, bytes })).expect("an answer").status
    };
    let get = |path: &str| scheduler.call("GET", path, None).expect("an answer").status;
    // 45: lists.
    for query in
        ["page_size=-1", "page_size=1000000000", "page_token=garbage", "sort=id;drop", "state=odd"]
    {
        assert_eq!(get(&format!("/jobs?{query}")), 400, "{query}");
    }
    // 46: literal matches.
    for name in ["'%20OR%201=1--", "%25", "_", "%5C"] {
        let answer = scheduler.call("GET", &format!("/jobs?name={name}"), None).expect("an answer");
        assert!(
            answer.status == 400 || answer.json().expect("JSON")["jobs"] == serde_json::json!([])
        );
    }
    // 48: idempotency keys.
    assert_eq!(post("application/yaml", Some(&"k".repeat(129)), good.as_bytes()), 400);
    assert_eq!(post("application/yaml", Some("k"), good.as_bytes()) / 100, 2);
    assert_eq!(post("application/yaml", Some("k"), b"name: b\ncommand: [x]\n"), 409);
    // 49, 52, 53: bodies.
    assert_eq!(post("text/plain", None, good.as_bytes()), 415);
    assert_eq!(post("application/yaml", None, &vec![b'a'; 2 << 20]), 413);
    // 51: paths and hosts.
    for path in ["/nothing", "//jobs", "/%2e%2e/jobs", "/jobs/j0", "/jobs/j999999"] {
        assert!([400, 404].contains(&get(path)), "{path} gave {}", get(path));
    }
    let evil = format!("{}/api/v1/jobs", scheduler.url.replace("127.0.0.1", "localhost.evil.test"));
    assert!(http("GET", &evil, None).is_err(), "that name must not resolve");
    assert_eq!(scheduler.states().expect("it answers").len(), 1, "one good document was sent");
}
