//! The local pool with a stand-in for the worker: a shell script that takes
//! the lock, as the real one does, and starts something.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

/// `$work` is the folder, fd 9 the lock. What it starts does not hold the lock.
const WORKER: &str = r#"#!/bin/sh
while [ "$1" != --dir ]; do shift; done
cd "$2"; exec 9>worker.lock; flock -n 9 || exit 0
echo "{\"pid\":$$}" > worker.json.tmp && mv worker.json.tmp worker.json
echo "$SPOTWISE_WORKER_TOKEN $PWD" >> launches
: > started
sleep 600 9>&- & echo $! > command
env -i setsid sh -c 'echo $$ > escaped; exec sleep 600' 9>&- &
until [ -s escaped ]; do sleep 0.01; done
: > ready; wait
"#;

struct Bench {
    dir: TempDir,
    local: Local,
}

impl Bench {
    fn new(install: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("worker.sh");
        fs::write(&program, WORKER).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let local = Local::new(&ServeConfig::new(dir.path().join("data"), program), install);
        Self { dir, local }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/work/j1.1-0").join(name)
    }

    fn pid(&self, name: &str) -> i32 {
        fs::read_to_string(self.path(name)).unwrap().trim().parse().unwrap()
    }

    async fn launched(install: &str) -> Self {
        let bench = Self::new(install);
        bench.local.launch(&launch()).await.unwrap();
        until("the worker", || bench.path("ready").exists()).await;
        bench
    }
}

fn launch() -> WorkerOrder {
    WorkerOrder {
        attempt: id(),
        rank: 0,
        machine: None,
        token: "secret".to_owned(),
        server: "http://x".to_owned(),
        authority: None,
    }
}

fn id() -> AttemptId {
    "j1.1".parse().unwrap()
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits; only a failing test waits to the end.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn sigkill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
}

#[tokio::test]
async fn a_launch_is_idempotent_and_a_kill_leaves_nothing() {
    let bench = Bench::launched("install-kill").await;
    bench.local.launch(&launch()).await.unwrap();
    // A scheduler that has just come back knows of no children.
    let config =
        ServeConfig::new(bench.dir.path().join("data"), bench.local.program.path().to_owned());
    let restarted = Local::new(&config, "install-kill");
    restarted.launch(&launch()).await.unwrap();
    assert_eq!(fs::read_to_string(bench.path("launches")).unwrap().lines().count(), 1);
    let found = restarted.list().await;
    assert_eq!(found.len(), 1);
    assert!(found[0].alive && found[0].started && found[0].pid.is_some());

    let pids = [bench.pid("command"), bench.pid("escaped")];
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    restarted.kill(id()).await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "with what left its group and environment");
    until("the end of the worker", || !is_locked(&bench.path(""))).await;
    let error = restarted.launch(&launch()).await.unwrap_err();
    assert!(error.message.contains("lost") && !error.retryable && !error.unknown);
}

#[tokio::test]
async fn strays_of_a_killed_worker_are_gone_after_one_look() {
    let bench = Bench::launched("install-stray").await;
    let (worker, command) = (bench.local.list().await[0].pid.unwrap(), bench.pid("command"));
    assert_eq!(bench.local.reap_strays("install-stray", |_| true).await, 0, "it is looked after");
    assert_eq!(bench.local.reap_strays("install-stray", |_| false).await, 0, "its worker lives");
    sigkill(worker.cast_signed());
    until("the child's end is known", || lock(&bench.local.children)[&(id(), 0)].is_none()).await;
    assert!(!bench.local.list().await[0].alive);
    assert_eq!(bench.local.reap_strays("another", |_| false).await, 0, "not theirs");
    assert!(is_alive(command));
    assert_eq!(bench.local.reap_strays("install-stray", |_| true).await, 1, "started, left alone");
    until("the end of the command", || !is_alive(command)).await;
    sigkill(bench.pid("escaped"));
}

#[tokio::test]
async fn folders_are_cleared_only_when_the_attempt_is_over() {
    let bench = Bench::launched("install-clear").await;
    bench.local.kill(id()).await;
    sigkill_quietly(bench.path("escaped"));
    until("the child's end is known", || lock(&bench.local.children)[&(id(), 0)].is_none()).await;
    bench.local.reap_strays("install-clear", |_| true).await;
    assert!(bench.path("").exists());
    bench.local.reap_strays("install-clear", |_| false).await;
    assert!(!bench.path("").exists());
    assert!(bench.local.list().await.is_empty());
}

fn sigkill_quietly(file: PathBuf) {
    let pid = fs::read_to_string(file).unwrap().trim().parse().unwrap();
    // It is gone already where the kill took everything.
    let _ =
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = ServeConfig::new(dir.path().join("data"), dir.path().join("no-such-worker"));
    let error = Local::new(&config, "install-none").launch(&launch()).await.unwrap_err();
    assert!(!error.retryable && error.message.contains("no-such-worker"), "{error}");
    assert!(!format!("{:?}", launch()).contains("secret"));
}

/// What the real worker does there is tested with the worker.
#[tokio::test]
async fn a_folder_with_outputs_that_nobody_kept_goes_only_when_they_are_kept() {
    let bench = Bench::new("keeps");
    let folder = bench.path("");
    fs::create_dir_all(folder.join("output/locked")).unwrap();
    fs::write(folder.join("output/locked/x"), "x").unwrap();
    fs::set_permissions(folder.join("output/locked"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::write(folder.join("outputs.json"), "{}").unwrap();
    let program = bench.dir.path().join("worker.sh");
    fs::write(&program, "#!/bin/sh\necho \"$@\" > \"$4/called\"; exit 1\n").unwrap();
    bench.local.reap_strays("keeps", |_| false).await;
    until("the worker that keeps them", || folder.join("called").exists()).await;
    let called = fs::read_to_string(folder.join("called")).unwrap();
    assert_eq!(
        called.trim_end(),
        format!("worker --collect --dir {}", folder.display()).trim_end_matches('/')
    );
    assert!(folder.join("output/locked/x").exists(), "it could not keep them");
    fs::remove_file(folder.join("outputs.json")).unwrap();
    bench.local.reap_strays("keeps", |_| false).await;
    assert!(!folder.exists());
}
