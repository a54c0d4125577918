//! A scripted scheduler on loopback, and real workers against it.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spotwise_api::v1::workers_server::{Workers, WorkersServer};
use spotwise_api::v1::*;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

pub const TOKEN: &str = "token-of-a-test";

/// Long enough for a loaded machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the scheduler has heard, and how it answers.
#[derive(Default)]
pub struct Script {
    pub assignment: Assignment,
    pub notice: Option<Notice>,
    pub stop: Option<StopOrder>,
    pub money_lasts_ms: Option<u32>,
    pub superseded: bool,
    pub away: bool,
    pub heartbeats: u32,
    pub step: u64,
    pub registers: u32,
    pub reports: Vec<ReportRequest>,
    pub log: Vec<u8>,
    /// What workers are told that ask for more, in order; nothing after the last.
    pub next: VecDeque<TakeNextResponse>,
    pub asked_for_more: u32,
    /// Bytes of the output that nobody has any more.
    pub lost: u64,
    pub largest_chunk: usize,
}

#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Script>>);

impl Fake {
    pub fn with<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn answer<T>(
        &self,
        token: &str,
        change: impl FnOnce(&mut Script) -> T,
    ) -> Result<Response<T>, Status> {
        self.with(|script| {
            if script.away {
                return Err(Status::unavailable("away"));
            }
            if token != TOKEN {
                return Err(Status::unauthenticated("who?"));
            }
            if script.superseded {
                return Err(Status::failed_precondition("a newer attempt exists"));
            }
            Ok(Response::new(change(script)))
        })
    }
}

#[tonic::async_trait]
impl Workers for Fake {
    async fn register(&self, r: Request<RegisterRequest>) -> Result<Response<Assignment>, Status> {
        self.answer(&r.get_ref().token, |script| {
            script.registers += 1;
            script.assignment.clone()
        })
    }

    async fn heartbeat(
        &self,
        r: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        self.answer(&r.get_ref().token, |script| {
            script.heartbeats += 1;
            script.step = r.get_ref().progress.as_ref().map_or(0, |it| it.step);
            HeartbeatResponse {
                lease_ms: script.assignment.lease_ms,
                notice: script.notice.clone(),
                stop: script.stop.clone(),
                money_lasts_ms: script.money_lasts_ms,
            }
        })
    }

    async fn report(&self, r: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let report = r.into_inner();
        self.answer(&report.token.clone(), |script| {
            script.reports.push(report);
            ReportResponse {}
        })
    }

    async fn append_log(
        &self,
        r: Request<AppendLogRequest>,
    ) -> Result<Response<AppendLogResponse>, Status> {
        let append = r.into_inner();
        self.answer(&append.token.clone(), |script| {
            script.largest_chunk = script.largest_chunk.max(append.data.len());
            let end = script.log.len() as u64 + script.lost;
            if append.skip && append.offset > end {
                script.lost += append.offset - end;
            }
            let at = usize::try_from(append.offset - script.lost).unwrap();
            if at <= script.log.len() {
                script.log.truncate(at);
                script.log.extend(append.data);
            }
            AppendLogResponse { stored: script.log.len() as u64 + script.lost }
        })
    }

    async fn take_next(
        &self,
        r: Request<TakeNextRequest>,
    ) -> Result<Response<TakeNextResponse>, Status> {
        self.answer(&r.get_ref().token, |script| {
            script.asked_for_more += 1;
            script.next.pop_front().unwrap_or_default()
        })
    }

    async fn get_storage_keys(
        &self,
        _: Request<GetStorageKeysRequest>,
    ) -> Result<Response<StorageKeys>, Status> {
        Err(Status::not_found("there is no object store"))
    }
}

/// A scheduler's process, as it were: all of it can die at once.
pub struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl Server {
    /// Answers at `address`, such as that of one that has died.
    pub fn start(fake: &Fake, address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let workers = WorkersServer::new(fake.clone());
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let server = tonic::transport::Server::builder().add_service(workers);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { runtime: Some(runtime), address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its connections break off; answers where it was.
    pub fn die(&mut self) -> SocketAddr {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.die();
    }
}

/// Any free port of this machine.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A scheduler, and the folders of its job.
pub struct Bench {
    pub fake: Fake,
    pub dir: TempDir,
    pub server: Server,
    /// What the worker is told: addresses with commas between.
    pub url: String,
}

impl Bench {
    /// The job runs `script` in a shell.
    pub async fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let server = Server::start(&fake, anywhere());
        fake.with(|it| {
            it.assignment = Assignment {
                ready: true,
                job: "j17".to_owned(),
                name: "test".to_owned(),
                command: ["sh", "-c", script].map(str::to_owned).to_vec(),
                heartbeat_ms: 50,
                lease_ms: 30_000,
                grace_ms: 10_000,
                output_store: dir.path().join("outputs").display().to_string(),
                checkpoint: Some(CheckpointSettings {
                    enabled: true,
                    store: format!("file://{}", dir.path().join("store").display()),
                    interval_ms: 600_000,
                    keep: 2,
                    resumable: true,
                    ..CheckpointSettings::default()
                }),
                ..Assignment::default()
            };
        });
        Self { url: server.url(), fake, dir, server }
    }

    pub fn change(&self, change: impl FnOnce(&mut Assignment)) {
        self.fake.with(|script| change(&mut script.assignment));
    }

    pub fn folder(&self, attempt: &str) -> PathBuf {
        self.dir.path().join(format!("{attempt}-0"))
    }

    pub fn worker(&self, attempt: &str) -> Worker {
        self.worker_under(&[], attempt)
    }

    /// The same, started by another program, which ends with the worker's code.
    pub fn worker_under(&self, starter: &[&str], attempt: &str) -> Worker {
        let folder = self.folder(attempt);
        let worker = env!("CARGO_BIN_EXE_spotwise-worker");
        let all: Vec<_> = starter.iter().copied().chain([worker]).collect();
        let child = Command::new(all[0])
            .args(&all[1..])
            .args(["--server", &self.url, "--attempt", attempt, "--rank", "0", "--dir"])
            .arg(&folder)
            .env("SPOTWISE_WORKER_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Worker { child, folder }
    }

    /// Waits until the script says so.
    pub async fn until(&self, what: &str, mut look: impl FnMut(&mut Script) -> bool) {
        eventually(what, || self.fake.with(|script| look(script))).await;
    }

    /// Waits until the command has written this line.
    pub async fn until_logged(&self, line: &str) {
        self.until(line, |script| String::from_utf8_lossy(&script.log).contains(line)).await;
    }

    pub fn log(&self) -> String {
        self.fake.with(|script| String::from_utf8_lossy(&script.log).into_owned())
    }

    pub fn exits(&self) -> Vec<Exited> {
        self.fake.with(|script| script.reports.iter().filter_map(|it| it.exited.clone()).collect())
    }

    pub fn exit(&self) -> Exited {
        let [exit] = self.exits().try_into().expect("one exit");
        exit
    }

    pub fn checkpoints(&self) -> Vec<CheckpointCommitted> {
        self.fake.with(|it| it.reports.iter().filter_map(|it| it.checkpoint.clone()).collect())
    }

    pub fn started(&self) -> Vec<Started> {
        self.fake.with(|it| it.reports.iter().filter_map(|it| it.started.clone()).collect())
    }

    pub fn start_failed(&self) -> String {
        let reports = self.fake.with(|script| script.reports.clone());
        reports.into_iter().find_map(|it| it.start_failed).expect("a failed start").message
    }
}

/// A worker's process.
pub struct Worker {
    child: Child,
    pub folder: PathBuf,
}

impl Worker {
    pub async fn ended(&mut self) -> i32 {
        let mut code = None;
        eventually("the worker's end", || {
            code = self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1));
            code.is_some()
        })
        .await;
        code.unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// The most memory that it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.child.id())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A test that failed must not leave its worker behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process runs (a zombie does not).
pub fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
