//! Checkpoints in an object store: jobs go on from them, nobody reaches what is not theirs,
//! and a store that fails costs no checkpoint that was there.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spotwise_api::v1::workers_client::WorkersClient;
use spotwise_api::v1::{GetStorageKeysRequest, StorageKeys};
use spotwise_control::WorkerId;
use spotwise_scheduler::token::WorkerTokens;
use spotwise_tests::object_store::ObjectStore;
use spotwise_tests::proxy::{Network, Proxy, Target};
use spotwise_tests::{Scheduler, spotwise, text, workers};
use tonic::Code;

use super::outages::until;

const LIMIT: Duration = Duration::from_secs(120);

/// A market minute a second; on-demand is always free, so nothing waits long.
pub(super) const MARKET: [&str; 6] =
    ["--market", "synthetic", "--speed", "60", "--notice-lead", "8s"];

/// `None` where the store is not installed; says so.
pub(super) fn store() -> Option<ObjectStore> {
    let store = ObjectStore::start().expect("it starts");
    if store.is_none() {
        println!("skipped: the object store is missing, make tools installs it");
    }
    store
}

/// A scheduler whose workers reach the store at `url`.
pub(super) fn scheduler(store: &ObjectStore, folder: &Path, url: &str, more: &[&str]) -> Scheduler {
    let storage = ["--storage", "s3://models/team/a", "--storage-role", &store.role];
    let arguments = [&storage[..], &MARKET, more].concat();
    let port = spotwise_tests::free_port().expect("a port");
    let mut scheduler = Scheduler::on_port(port, folder, &arguments);
    for (name, value) in store.variables_at(url) {
        scheduler.set_variable(&name, &value);
    }
    scheduler.restart().expect("it starts");
    scheduler
}

/// Every checkpoint that is there has what it was finished with.
pub(super) fn is_tidy(store: &ObjectStore) {
    let objects = store.objects().expect("listed");
    let manifests: Vec<_> = objects.keys().filter(|key| key.ends_with("manifest.json")).collect();
    assert!(!manifests.is_empty(), "{objects:?}");
    for manifest in manifests {
        let own = manifest.trim_end_matches("manifest.json");
        assert!(objects.keys().any(|key| key.starts_with(own) && key.ends_with(".shard")));
    }
}

/// Nobody but the test takes its machine away.
fn document(name: &str, script: &str) -> String {
    let script = script.replace('\'', "''").replace('\n', " ");
    format!(
        "name: {name}\ninterruptible: false\ndeadline: 20h\nwork: {{duration: 2h}}\n\
         checkpoint: {{interval: 30s, grace: 1s}}\n\
         resources: {{cpus: 0.1, memory: 64MB}}\ncommand: [sh, -c, '{script}']\n"
    )
}

/// Weights that never change, of several parts, and a step beside them; told to end by the
/// step. Says where it begins.
const SAVER: &str = "cd $SPOTWISE_CHECKPOINT_DIR; n=$(cat n 2>/dev/null || echo 0);
    echo from $n with $(cat weights 2>/dev/null | wc -c);
    [ -f weights ] || { head -c 20000000 /dev/urandom > .tmp-w; mv .tmp-w weights; };
    while [ $n -lt STEPS ]; do n=$((n+1)); echo $n > .tmp-n; mv .tmp-n n;
    sleep 0.1; done; cksum < weights";

fn logs(scheduler: &Scheduler, job: &str) -> String {
    let output = spotwise()
        .args(["logs", job, "--all-attempts", "--server", &scheduler.url])
        .output()
        .expect("it runs");
    text(&output)
}

fn checkpoints(scheduler: &Scheduler, job: &str) -> usize {
    let events = scheduler.job(job).expect("there")["events"].to_string();
    events.matches("\"checkpointed\"").count()
}

/// What a process was started with.
fn environment(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', "\n")
}

/// Its worker is killed twice: it goes on where it was; what does not change is stored once,
/// and no key of the store is where the command could find it.
#[test]
fn a_job_goes_on_from_what_it_has_in_a_bucket() {
    let Some(store) = store() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = scheduler(&store, folder.path(), &store.url, &[]);
    let script = format!("env; {}", SAVER.replace("STEPS", "120"));
    let id = scheduler.submit(&document("saver", &script), "one").expect("accepted").remove(0);
    // What a worker that was killed in the middle of sending leaves behind.
    let torn = format!("team/a/checkpoints/{id}/{id}.1-000099/00000.shard");
    store.ask(&["begin", &torn]).expect("begun");
    for killed in 1..=2_usize {
        let before = checkpoints(&scheduler, &id);
        until("it has saved", || checkpoints(&scheduler, &id) > before + 1);
        let found = workers(folder.path());
        let (pid, _) = found.first().unwrap_or_else(|| panic!("kill {killed}: nobody runs"));
        let variables = environment(*pid);
        assert!(variables.contains("SPOTWISE_WORKER_TOKEN"), "it was read: {variables}");
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET", "AWS_SESSION", "operators-"] {
            assert!(!variables.contains(name), "{name} is in a worker's environment");
        }
        kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("it lives");
    }
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&id], "succeeded", "{}", scheduler.log());

    let log = logs(&scheduler, &id);
    let resumed = log.lines().filter(|line| line.ends_with(" with 20000000")).count();
    assert_eq!(resumed, 2, "{log}");
    assert!(!log.contains("AWS_") && !log.contains("operators-"), "{log}");
    let objects = store.objects().expect("listed");
    let weights: Vec<_> = objects.iter().filter(|(_, size)| **size == 20_000_000).collect();
    assert_eq!(weights.len(), 1, "sent once, by the first attempt: {objects:?}");
    assert!(weights[0].0.starts_with(&format!("team/a/checkpoints/{id}/{id}.1-")), "{weights:?}");
    let kept = objects.keys().filter(|key| key.ends_with("manifest.json")).count();
    // Two, and what the scheduler has not heard of yet.
    assert!((2..=3).contains(&kept), "{objects:?}");
    assert_eq!(store.ask(&["unfinished"]).expect("listed"), "", "what was torn is dropped");
    let folders = std::fs::read_dir(folder.path().join("checkpoints")).expect("there").count();
    assert_eq!(folders, 0, "nothing is in the folder");
}

fn keys(
    scheduler: &Scheduler,
    attempt: &str,
    token: &str,
    job: &str,
) -> Result<StorageKeys, tonic::Status> {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let mut client = WorkersClient::connect(scheduler.url.clone()).await.expect("it answers");
        let (attempt, token, job) = (attempt.to_owned(), token.to_owned(), job.to_owned());
        let request = GetStorageKeysRequest { attempt, rank: 0, token, job };
        client.get_storage_keys(request).await.map(tonic::Response::into_inner)
    })
}

/// The store itself refuses what the keys of one job's worker are used for elsewhere, and
/// the scheduler gives none to whom they are not due.
#[test]
fn keys_open_the_files_of_one_job_while_it_runs() {
    let Some(store) = store() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = scheduler(&store, folder.path(), &store.url, &[]);
    let long = document("long", &SAVER.replace("STEPS", "100000"));
    let id = scheduler.submit(&long, "one").expect("accepted").remove(0);
    until("it has saved", || checkpoints(&scheduler, &id) > 0);
    let (pid, _) = workers(folder.path()).remove(0);
    let variables = environment(pid);
    let start = variables.lines().find_map(|line| line.strip_prefix("SPOTWISE_WORKER_TOKEN="));
    let attempt = format!("{id}.1");
    let by_start = keys(&scheduler, &attempt, start.expect("it has one"), &id);
    assert_eq!(by_start.map_err(|status| status.code()), Err(Code::Unauthenticated), "used up");
    let tokens = WorkerTokens::open(&folder.path().join("worker-secret")).expect("the secret");
    let worker = WorkerId { attempt: attempt.parse().expect("an attempt"), rank: 0 };
    let token = tokens.credential(worker, jiff::Timestamp::now());

    let own = keys(&scheduler, &attempt, &token, &id).expect("its own");
    assert!((1..=3_600_000).contains(&own.lasts_ms), "{} ms", own.lasts_ms);
    let with = [
        ("AWS_ACCESS_KEY_ID", own.key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", own.secret_key.as_str()),
        ("AWS_SESSION_TOKEN", own.session_token.as_str()),
    ];
    let may = |key: &str| store.ask_with(&with, &["try", key]).expect("answered");
    let inside = may(&format!("team/a/checkpoints/{id}/x"));
    assert_eq!(
        inside,
        "put allowed\nget allowed\ndelete allowed\nlist allowed\nall AccessDenied\n"
    );
    for key in [format!("team/a/checkpoints/{id}9/x"), "team/b/x".to_owned(), "x/y".to_owned()] {
        let outside = may(&key);
        assert_eq!(outside.matches("AccessDenied").count(), 5, "{key}: {outside}");
    }

    let refused = |attempt: &str, token: &str, job: &str| {
        keys(&scheduler, attempt, token, job).map(|_| ()).map_err(|status| status.code())
    };
    assert_eq!(refused(&attempt, &token, "j99"), Err(Code::PermissionDenied));
    assert_eq!(refused(&attempt, "another", &id), Err(Code::Unauthenticated));
    assert_eq!(refused(&format!("{id}.2"), &token, &id), Err(Code::Unauthenticated));
    let cancelled = scheduler.call("POST", &format!("/jobs/{id}/cancel"), None).expect("answered");
    assert!(cancelled.status < 300, "{}", cancelled.text);
    scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(refused(&attempt, &token, &id), Err(Code::FailedPrecondition), "it is over");
}

/// The store hangs, answers nothing, and is cut off: what was saved stays, what could not be
/// saved is saved when it is back, and the job runs on meanwhile.
#[test]
fn a_store_that_is_away_costs_no_checkpoint() {
    let Some(store) = store() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let address = store.url.trim_start_matches("http://").parse().expect("an address");
    let proxy = Proxy::start(Target::Tcp(address)).expect("it listens");
    let url = format!("http://{}", proxy.address());
    let scheduler = scheduler(&store, folder.path(), &url, &[]);
    let script = SAVER.replace("STEPS", "250");
    let id = scheduler.submit(&document("saver", &script), "one").expect("accepted").remove(0);
    for network in [Network::Stalled, Network::NoAnswers, Network::Cut] {
        let before = checkpoints(&scheduler, &id);
        until("it has saved", || checkpoints(&scheduler, &id) > before);
        let lost = proxy.swallowed();
        proxy.set(network);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(network == Network::Cut || proxy.swallowed() > lost, "{network:?} met nothing");
        proxy.set(Network::Whole);
    }
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&id], "succeeded", "{}", scheduler.log());
    let log = logs(&scheduler, &id);
    assert_eq!(log.matches("from 0 with").count(), 1, "it ran on: {log}");
    let objects = store.objects().expect("listed");
    let last = objects.keys().rfind(|key| key.ends_with("manifest.json"));
    assert!(last.is_some_and(|key| key.contains(&format!("{id}.1-"))), "{objects:?}");
    let weights = objects.values().filter(|size| **size == 20_000_000).count();
    assert_eq!(weights, 1, "{objects:?}");
}

#[test]
fn what_cannot_be_a_storage_ends_the_start_with_its_remedy() {
    let Some(store) = store() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let role = store.role.as_str();
    for (arguments, remedy) in [
        (&["--storage", "gs://models"][..], "write a folder, or s3://BUCKET/PREFIX"),
        (&["--storage", "s3://models"], "--storage-share-keys"),
        (&["--storage", "s3://models", "--storage-role", "worker"], "write its ARN"),
        (&["--storage-role", role], "add --storage s3://BUCKET/PREFIX"),
        (&["--storage", "s3://not-there", "--storage-role", role], "NoSuchBucket"),
        (
            &["--storage", "s3://models", "--storage-role", "arn:aws:iam::000000000000:role/none"],
            "--storage-role",
        ),
    ] {
        let output = spotwise()
            .arg("serve")
            .args(["--data-dir", &folder.path().display().to_string(), "--listen", "127.0.0.1:0"])
            .args(arguments)
            .envs(store.variables())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(remedy), "{arguments:?}: {said}");
    }
}
