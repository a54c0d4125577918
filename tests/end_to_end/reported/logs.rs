//! Output is bytes: it comes back as it was written.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;
use spotwise_tests::{Scheduler, spotwise, workers};

/// Only a failing test waits so long.
const LONG: Duration = Duration::from_secs(120);

fn start(folder: &Path) -> Scheduler {
    Scheduler::start(folder, &["--cpus", "4"]).expect("it starts")
}

/// A job that runs a script; what else its document says follows.
fn submit(scheduler: &Scheduler, script: &str, more: &str) -> String {
    let script = serde_json::to_string(script).expect("a text");
    let document =
        format!("name: talk\ncommand: [bash, -c, {script}]\nwork: {{duration: 10m}}\n{more}");
    scheduler.submit(&document, &format!("k{}", script.len())).expect("accepted").remove(0)
}

fn logs(scheduler: &Scheduler, arguments: &[&str]) -> Command {
    let mut command = spotwise();
    command.args(["--server", &scheduler.url, "logs"]).args(arguments).stdin(Stdio::null());
    command
}

fn read(scheduler: &Scheduler, arguments: &[&str]) -> Vec<u8> {
    let output = logs(scheduler, arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Follows in the background.
fn follow(scheduler: &Scheduler, arguments: &[&str]) -> Child {
    logs(scheduler, arguments).arg("-f").stdout(Stdio::piped()).spawn().expect("it runs")
}

/// What it has printed when it ends by itself.
fn ended(mut child: Child) -> Vec<u8> {
    let mut all = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut all).expect("output");
    assert!(child.wait().expect("it ends").success());
    all
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The lines of JSON of each attempt and rank as bytes, and whether any had bytes that
/// are not text.
fn from_json(lines: &[u8]) -> (Vec<u8>, bool) {
    let (mut bytes, mut binary) = (Vec::new(), false);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).expect("one JSON document a line");
        assert_eq!(
            line["offset"].as_u64(),
            Some(bytes.len() as u64),
            "no byte twice, none missing"
        );
        let text = line["text"].as_str().expect("text");
        match line["base64"].as_str() {
            None => {
                assert!(!text.contains('\u{fffd}'), "a character in pieces: {text:?}");
                bytes.extend(text.bytes());
            }
            Some(data) => {
                binary = true;
                bytes.extend(
                    base64::engine::general_purpose::STANDARD.decode(data).expect("base64"),
                );
            }
        }
        assert_eq!(line["next_offset"].as_u64(), Some(bytes.len() as u64));
    }
    (bytes, binary)
}

/// Status, content type and body.
fn get(url: &str, accept: &str) -> anyhow::Result<(u16, String, Vec<u8>)> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let client = spotwise_tests::http_client().timeout(LONG).build()?;
        let answer = client
            .get(url)
            .header("accept", accept)
            .bearer_auth(spotwise_tests::token_of(url).unwrap_or_default())
            .send()
            .await?;
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap_or(""));
        let (status, kind) = (answer.status().as_u16(), kind.unwrap_or("").to_owned());
        Ok((status, kind, answer.bytes().await?.to_vec()))
    })
}

#[test]
fn a_long_output_keeps_its_beginning_and_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let script = "seq 1 4000000; echo Traceback >&2; echo 'ValueError: last words' >&2; exit 3";
    let job = submit(&scheduler, script, "retries: {errors: 0}\n");
    let live = follow(&scheduler, &[&job]);
    scheduler.wait_for_all(LONG).expect("it ends");
    let whole = {
        let mut whole: String = (1..=4_000_000).map(|n| format!("{n}\n")).collect();
        whole.push_str("Traceback\nValueError: last words\n");
        whole
    };
    for (text, is_live) in [(read(&scheduler, &[&job]), false), (ended(live), true)] {
        let text = String::from_utf8(text).expect("digits");
        assert!(text.ends_with("Traceback\nValueError: last words\n"));
        assert!(text.starts_with(&whole[..8_000_000]));
        let (mut at, mut gaps) = (0, 0);
        for line in text.split_inclusive('\n') {
            let gap =
                line.strip_prefix("[spotwise: ").and_then(|rest| rest.split_once(" bytes of"));
            if let Some((bytes, _)) = gap {
                gaps += 1;
                at += bytes.parse::<usize>().expect("a number");
                continue;
            }
            // Who follows may have seen half of a line before the rest was lost: it is
            // ended before the line that says so.
            let half = line.strip_suffix('\n').filter(|_| is_live).unwrap_or(line);
            let same = if whole[at..].starts_with(line) { line } else { half };
            assert!(whole[at..].starts_with(same), "at {at}: {line:?}");
            at += same.len();
        }
        assert_eq!(at, whole.len(), "every byte is there, or is said to be missing");
        // Who follows a slow writer has seen all of it.
        assert!(gaps >= 1 || is_live, "{gaps} gaps in {} bytes", text.len());
        assert!(text.len() > 15_000_000, "{} bytes", text.len());
    }
    let last = read(&scheduler, &["--tail", "2", &job]);
    assert_eq!(last, b"Traceback\nValueError: last words\n");
}

#[test]
fn bytes_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    // Other scripts, in pieces within characters; what is no text; a line without an
    // end that is longer than any buffer; a progress bar; both streams in their order.
    let script = r"
        for i in 1 2 3; do printf '模型 größer \xf0\x9f'; sleep 0.1; printf '\x9a\x80\n'; done
        printf 'a\0b\xff\xfe\n'; head -c 300000 /dev/zero | tr '\0' x; printf '\n'
        for i in 1 2 3; do printf '\r%d %%' $i; sleep 0.1; done; printf '\n'
        for i in 1 2 3; do echo out $i; echo err $i >&2; done
        printf 'no end'";
    let mut whole = Vec::new();
    for _ in 0..3 {
        whole.extend("模型 größer 🚀\n".bytes());
    }
    whole.extend(b"a\0b\xff\xfe\n");
    whole.extend(vec![b'x'; 300_000]);
    whole.extend(b"\n\r1 %\r2 %\r3 %\n");
    whole.extend(b"out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nno end");
    let job = submit(&scheduler, script, "");
    let followed = follow(&scheduler, &[&job]);
    let json = follow(&scheduler, &["--output", "json", &job]);
    scheduler.wait_for_all(LONG).expect("it ends");
    assert!(ended(followed) == whole, "followed");
    let (bytes, binary) = from_json(&ended(json));
    assert!(bytes == whole && binary, "followed as JSON");
    assert!(read(&scheduler, &[&job]) == whole, "afterwards");
    assert!(from_json(&read(&scheduler, &["-o", "json", &job])).0 == whole);
    let kept = std::fs::read(folder.path().join(format!("logs/{job}.1-0.log"))).expect("a file");
    assert!(kept == whole, "on disk");
    for offset in [1, 8, 100, 300_030, whole.len() - 1] {
        let rest = read(&scheduler, &["--attempt", "1", "--offset", &offset.to_string(), &job]);
        assert!(rest == whole[offset..], "from byte {offset} on");
    }
}

#[test]
fn python_prints_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let script = "exec python3 -c 'import time; print(\"step 1\"); time.sleep(600)'";
    let live = submit(&scheduler, script, "");
    eventually("a line of a job that runs", || read(&scheduler, &[&live]) == b"step 1\n");
    scheduler.call("DELETE", &format!("/jobs/{live}"), None).expect("cancelled");
    let own = submit(&scheduler, "echo -n \"$PYTHONUNBUFFERED\"", "env: {PYTHONUNBUFFERED: '0'}\n");
    scheduler.wait_for_all(LONG).expect("they end");
    assert_eq!(read(&scheduler, &[&live]), b"step 1\n", "after the cancel too");
    assert_eq!(read(&scheduler, &[&own]), b"0", "the job says otherwise");
}

#[test]
fn followers_go_on_over_restarts_and_attempts() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scheduler = start(folder.path());
    let script = "for i in $(seq 1 60); do echo $SPOTWISE_ATTEMPT: $i; sleep 0.1; done; \
                  [ $SPOTWISE_ATTEMPT = 2 ] || exit 1";
    let job = submit(&scheduler, script, "retries: {errors: 1}\n");
    eventually("the first lines", || !read(&scheduler, &[&job]).is_empty());
    let text = follow(&scheduler, &[&job]);
    let json = follow(&scheduler, &["-o", "json", &job]);
    std::thread::sleep(Duration::from_millis(1_500));
    scheduler.end().expect("it ends in order");
    scheduler.restart().expect("it is back");
    std::thread::sleep(Duration::from_millis(1_500));
    scheduler.kill();
    std::thread::sleep(Duration::from_millis(500));
    scheduler.restart().expect("it is back again");
    scheduler.wait_for_all(LONG).expect("it ends");
    let lines = |attempt: u32| (1..=60).map(move |n| format!("{attempt}: {n}\n"));
    let expected: String = lines(1).chain(lines(2)).collect();
    assert_eq!(String::from_utf8(ended(text)).expect("text"), expected);
    let json = String::from_utf8(ended(json)).expect("text");
    let said = json.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let said: String = said.map(|line| line["text"].as_str().expect("text").to_owned()).collect();
    assert_eq!(said, expected);
    let all = read(&scheduler, &["--all-attempts", &job]);
    assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 120);
}

#[test]
fn ranks_are_not_spliced() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let script = "for i in $(seq 1 20); do printf \"rank $SPOTWISE_RANK be\"; sleep 0.05; \
                  printf \"gins $i\\n\"; done; head -c 150000 /dev/zero | tr '\\0' $SPOTWISE_RANK";
    let job = submit(&scheduler, script, "resources: {cpus: 1, nodes: 3}\n");
    let text = follow(&scheduler, &[&job]);
    let rest = format!("{}/api/v1/jobs/{job}/logs?follow=true", scheduler.url);
    let rest = std::thread::spawn(move || spotwise_tests::http("GET", &rest, None));
    scheduler.wait_for_all(LONG).expect("they end");
    let mut expected: Vec<String> = Vec::new();
    for rank in 0..3 {
        expected.extend((1..=20).map(|n| format!("rank {rank} begins {n}")));
        expected.push(rank.to_string().repeat(150_000));
    }
    expected.sort();
    let sorted = |text: &str| {
        let plain = |line: &str| line.split_once("] ").map_or(line, |(_, line)| line).to_owned();
        let mut lines: Vec<String> = text.lines().map(plain).collect();
        lines.sort();
        lines
    };
    let followed = String::from_utf8(ended(text)).expect("text");
    assert!(sorted(&followed) == expected, "followed by the command line");
    let rest = rest.join().expect("no panic").expect("an answer");
    assert!(sorted(&rest.text) == expected, "followed by REST");
    let one = read(&scheduler, &["--rank", "1", "-o", "json", &job]);
    let (bytes, _) = from_json(&one);
    assert!(bytes.ends_with(&[b'1'; 150_000]) && bytes.starts_with(b"rank 1 begins 1\n"));
}

#[test]
fn a_killed_worker_loses_nothing_of_what_was_captured() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scheduler = start(folder.path());
    let job = submit(&scheduler, "seq 1 100000; sleep 600", "retries: {errors: 0}\n");
    let captured = folder.path().join(format!("work/{job}.1-0/output.log"));
    let whole: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    // Nobody takes the output while the scheduler is away.
    eventually("the start", || captured.exists());
    scheduler.kill();
    eventually("all is captured", || {
        std::fs::metadata(&captured).is_ok_and(|file| file.len() == whole.len() as u64)
    });
    for (pid, _) in workers(folder.path()) {
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("it lived");
    }
    scheduler.restart().expect("it is back");
    let text = ended(follow(&scheduler, &["--attempt", "1", &job]));
    assert!(text == whole.as_bytes(), "{} of {} bytes", text.len(), whole.len());
    scheduler.call("DELETE", &format!("/jobs/{job}"), None).expect("cancelled");
}

#[test]
fn rest_says_where_each_part_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = start(folder.path());
    let job = submit(&scheduler, "printf 'one\\ntwo\\xff\\nthree'", "");
    scheduler.wait_for_all(LONG).expect("it ends");
    let get = |query: &str, accept: &str| {
        let url = format!("{}/api/v1/jobs/{job}/logs{query}", scheduler.url);
        get(&url, accept).expect("an answer")
    };
    let (status, kind, lines) = get("", "application/x-ndjson");
    assert_eq!((status, kind.as_str()), (200, "application/x-ndjson"));
    assert_eq!(from_json(&lines), (b"one\ntwo\xff\nthree".to_vec(), true));
    let (_, kind, bytes) = get("?attempt=1&rank=0&offset=6", "*/*");
    assert_eq!(
        (kind.as_str(), bytes.as_slice()),
        ("text/plain; charset=utf-8", &b"o\xff\nthree"[..])
    );
    assert_eq!(get("?resume=1:0:9", "text/plain").2, b"three");
    let (status, _, problem) = get("?offset=5", "*/*");
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&problem).contains("\"field\":\"offset\""));
}
