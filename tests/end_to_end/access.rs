//! Callers with names: the command line of a team, of an admin, and of nobody.

use serde_json::Value;
use spotwise_tests::{Body, Scheduler, http, spotwise, token_of};

const ARGUMENTS: [&str; 4] = ["--market", "synthetic", "--speed", "60"];

/// Standard output, standard error and exit code of a command line with a token, or with the
/// admin's that the first start has left.
fn run(
    scheduler: &Scheduler,
    token: Option<&str>,
    arguments: &[&str],
) -> (String, String, Option<i32>) {
    let mut command = spotwise();
    if let Some(token) = token {
        command.env("SPOTWISE_TOKEN", token);
    }
    let output = command.args(arguments).args(["--server", &scheduler.url]).output();
    let output = output.expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn job(scheduler: &Scheduler, team: &str) -> String {
    let document = format!(
        "name: train\ntags: {{Team: {team}}}\ncommand: [\"true\"]\nresources: {{cpus: 0.1, memory: 32MB}}\n"
    );
    let path = scheduler.folder().join(format!("{team}.yaml"));
    std::fs::write(&path, document).expect("written");
    path.display().to_string()
}

#[test]
fn a_team_has_a_token_and_sees_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let (who, _, _) = run(&scheduler, None, &["whoami"]);
    assert_eq!(who, "admin (person): admin of all teams\n");

    let arguments = ["tokens", "create", "ada", "--role", "submitter", "--team", "vision"];
    let (token, said, code) = run(&scheduler, None, &arguments);
    let token = token.trim();
    assert_eq!(code, Some(0), "{said}");
    assert!(token.starts_with("swt_") && said.contains("submitter of vision"), "{token} {said}");

    let (vision, speech) = (job(&scheduler, "vision"), job(&scheduler, "speech"));
    let (_, said, code) = run(&scheduler, Some(token), &["submit", &vision, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let (_, said, code) = run(&scheduler, Some(token), &["submit", &speech, "--yes"]);
    assert_ne!(code, Some(0));
    assert!(said.contains("tags.Team: must be a team of yours: vision"), "{said}");
    let (_, said, code) = run(&scheduler, None, &["submit", &speech, "--yes"]);
    assert_eq!(code, Some(0), "{said}");

    let (listed, _, _) = run(&scheduler, Some(token), &["ps", "--all", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((&listed[0]["id"], &listed[0]["submitted_by"]), (&"j1".into(), &"ada".into()));
    for name in ["j2", "2"] {
        let (_, said, code) = run(&scheduler, Some(token), &["get", name]);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("there is no job j2"), "{said}");
    }
    // Of one name the newest is meant that is one's own.
    let (shown, _, _) = run(&scheduler, Some(token), &["get", "train", "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["job"]["id"], "j1");
    let (_, said, code) = run(&scheduler, Some(token), &["tokens"]);
    assert!(code == Some(5) && said.contains("takes the role admin"), "{code:?} {said}");

    // What was done outlives the scheduler, and so does the token.
    scheduler.kill();
    scheduler.restart().expect("it starts again");
    let (who, _, _) = run(&scheduler, Some(token), &["whoami"]);
    assert_eq!(who, "ada (person): submitter of vision\n");
    let id = token.split('_').nth(1).expect("an id").to_owned();
    let (_, said, code) = run(&scheduler, None, &["tokens", "revoke", &id]);
    assert_eq!(code, Some(0), "{said}");
    let (_, said, code) = run(&scheduler, Some(token), &["whoami"]);
    assert!(code == Some(5) && said.contains("unknown, expired or revoked"), "{code:?} {said}");

    let (log, said, _) = run(&scheduler, None, &["audit", "list", "-o", "json"]);
    let log: Value = serde_json::from_str(&log).unwrap_or_else(|_| panic!("{log}{said}"));
    let did: Vec<(&str, &str)> = log["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|it| (it["by"].as_str().expect("who"), it["action"].as_str().expect("what")))
        .collect();
    let expected = [
        ("admin", "tokens.create"),
        ("pools file", "pools.set"),
        ("admin", "tokens.create"),
        ("ada", "jobs.submit"),
        ("admin", "jobs.submit"),
        ("admin", "tokens.revoke"),
        ("", "login.failed"),
    ];
    let mut missing: Vec<_> = expected.to_vec();
    for done in &did {
        if let Some(at) = missing.iter().position(|it| it == done) {
            missing.remove(at);
        }
    }
    assert!(missing.is_empty(), "{missing:?} of {did:?}");
    assert!(!log.to_string().contains(token), "no secret is in it");
    let (ok, said, code) = run(&scheduler, None, &["audit", "verify"]);
    assert!(code == Some(0) && ok.starts_with("ok: "), "{ok}{said}");
    let hash = ok.trim().rsplit(' ').next().expect("a hash").to_owned();
    let (_, said, code) = run(&scheduler, None, &["audit", "verify", "--contains", &hash]);
    assert_eq!(code, Some(0), "{said}");
    let other = "0".repeat(64);
    let (_, _, code) = run(&scheduler, None, &["audit", "verify", "--contains", &other]);
    assert_eq!(code, Some(1));
}

/// What bears a secret is not where others look: the database, the logs, the answers.
#[test]
fn no_token_is_written_where_it_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let (made, _, _) = run(&scheduler, None, &["tokens", "create", "bot", "--role", "viewer"]);
    let admin = token_of(&scheduler.url).expect("the admin's");
    run(&scheduler, Some(made.trim()), &["whoami"]);
    run(&scheduler, Some("swt_wrong"), &["whoami"]);
    let tokens = run(&scheduler, None, &["tokens", "-o", "json"]).0;
    let audit = run(&scheduler, None, &["audit", "list", "-o", "json"]).0;
    let refused = http(
        "POST",
        &format!("{}/api/v1/tokens", scheduler.url),
        Some(Body {
            kind: "application/json",
            key: None,
            bytes: br#"{"subject": "x", "roles": ["king"]}"#,
        }),
    )
    .expect("an answer");
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("roles[0]"), "{}", refused.text);
    let secrets = [made.trim(), admin.as_str()]
        .map(|token| token.rsplit('_').next().expect("a secret").to_owned());
    let mut looked = 0;
    for entry in walk(folder.path()) {
        if entry.file_name().is_some_and(|name| name == "admin.token") {
            continue;
        }
        let bytes = std::fs::read(&entry).unwrap_or_default();
        looked += 1;
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {}", entry.display());
        }
    }
    assert!(looked >= 3, "database, its log, and what was printed");
    for text in [&tokens, &audit, &refused.text] {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

/// Who answers for the money stops it, at once; what waits says by whose order.
#[test]
fn a_freeze_stops_all_buying_until_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let arguments = ["tokens", "create", "fay", "--role", "approver"];
    let (fay, said, _) = run(&scheduler, None, &arguments);
    let fay = fay.trim().to_owned();
    assert!(fay.starts_with("swt_"), "{said}");
    let arguments = ["freeze", "--reason", "the budget of June"];
    let (frozen, said, code) = run(&scheduler, Some(&fay), &arguments);
    assert_eq!(code, Some(0), "{said}");
    assert!(frozen.contains("by order of fay: the budget of June"), "{frozen}");

    let (_, said, code) = run(&scheduler, None, &["submit", &job(&scheduler, "vision"), "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    scheduler.kill();
    scheduler.restart().expect("it starts again");
    let waits = || run(&scheduler, None, &["explain", "j1"]).0;
    let begun = std::time::Instant::now();
    while !waits().contains("fay froze all buying") {
        assert!(begun.elapsed().as_secs() < 30, "{}", waits());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(waits().contains("the budget of June"), "{}", waits());

    let (goes_on, said, _) = run(&scheduler, Some(&fay), &["unfreeze"]);
    assert_eq!(goes_on, "buying goes on\n", "{said}");
    let (_, said, code) = run(&scheduler, None, &["wait", "j1", "--timeout", "60s"]);
    assert_eq!(code, Some(0), "{said}");
    let (audit, _, _) = run(&scheduler, None, &["audit", "list"]);
    assert!(audit.contains("buying.freeze") && audit.contains("buying.unfreeze"), "{audit}");
}
