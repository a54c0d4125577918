//! Shared by the end-to-end tests: the real binaries, a scheduler in a folder of its own,
//! and a plain REST client.

mod client;
pub mod namespaces;
pub mod object_store;
pub mod proxy;

pub use client::{free_port, http_client};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The longest a scheduler may take to answer after its start.
const START: Duration = Duration::from_secs(30);

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in the workspace").to_path_buf()
}

/// The folder with the programs under test, built once per test process: cargo does not
/// build other packages' programs for a test by itself.
pub fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        // What cargo says to this test of its own package would make build scripts
        // that look at it run again, and half of the dependencies with them.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        let status = build
            // The whole workspace: with the same features as this test's own build
            // nothing is compiled twice.
            .args(["build", "--locked", "--quiet", "--workspace", "--bins"])
            .current_dir(workspace())
            .status()
            .expect("cargo is there: it runs this test");
        assert!(status.success(), "the programs do not build");
        let test = std::env::current_exe().expect("a test has a path");
        let folder = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
        folder.to_path_buf()
    })
}

/// The `spotwise` program, with `spotwise-example` on its PATH.
pub fn spotwise() -> Command {
    prepared(&programs().join("spotwise"))
}

/// The same for any build of it.
fn prepared(program: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let folder = programs();
    let mut command = Command::new(program);
    command
        .env("PATH", format!("{}:{path}", folder.display()))
        .env_remove("SPOTWISE_SERVER")
        .env_remove("SPOTWISE_DATABASE_URL")
        .env_remove("SPOTWISE_STORAGE")
        .env_remove("SPOTWISE_PROFILE")
        .env_remove("SPOTWISE_TOKEN")
        .env_remove("SPOTWISE_AUTHORITY")
        .env("XDG_CONFIG_HOME", config_folder())
        .env("NO_COLOR", "1");
    command
}

/// Where the programs of this test process keep what is the user's.
pub fn config_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("spotwise-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the configuration");
        folder
    })
}

/// The admin token of a scheduler of this test process, once it leads.
pub fn token_of(url: &str) -> Option<String> {
    let port = url.strip_prefix("http://")?.split('/').next()?.rsplit(':').next()?;
    let file = config_folder().join(format!("spotwise/tokens/local-{port}"));
    Some(std::fs::read_to_string(file).ok()?.trim().to_owned())
}

/// Text of a program's standard output.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A scheduler in a folder of its own. Killed when dropped.
pub struct Scheduler {
    /// Its address.
    pub url: String,
    folder: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    program: Option<PathBuf>,
    port: u16,
    child: Option<Child>,
}

impl Scheduler {
    /// Starts one and waits until it answers.
    pub fn start(folder: &Path, arguments: &[&str]) -> Result<Self> {
        let mut scheduler = Self::on_port(free_port()?, folder, arguments);
        scheduler.restart()?;
        Ok(scheduler)
    }

    /// Starts one that may have to stand by.
    pub fn start_beside(folder: &Path, arguments: &[&str]) -> Result<Self> {
        let mut scheduler = Self::on_port(free_port()?, folder, arguments);
        scheduler.spawn()?;
        scheduler.wait_for("/healthz", START)?;
        Ok(scheduler)
    }

    /// One that will listen on this port; not yet started.
    pub fn on_port(port: u16, folder: &Path, arguments: &[&str]) -> Self {
        Self {
            url: format!("http://127.0.0.1:{port}"),
            folder: folder.to_path_buf(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: BTreeMap::new(),
            program: None,
            port,
            child: None,
        }
    }

    /// Sets an environment variable from its next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Uses another build of it from its next start on; `None` for the one under test.
    pub fn set_program(&mut self, program: Option<PathBuf>) {
        self.program = program;
    }

    /// Its data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Restarts it, on the same folder and port.
    pub fn restart(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_for("/readyz", START)
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self) -> Result<()> {
        self.kill();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut command = self.program.as_deref().map_or_else(spotwise, prepared);
        let child = command
            .envs(&self.environment)
            .arg("serve")
            .args(["--data-dir", &self.folder.display().to_string()])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the scheduler does not start")?;
        self.child = Some(child);
        Ok(())
    }

    /// Whether it answers 200 on this path.
    pub fn answers(&self, path: &str) -> bool {
        http("GET", &format!("{}{path}", self.url), None).is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until it answers 200 on this path.
    pub fn wait_for(&mut self, path: &str, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if self.answers(path) {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                bail!("the scheduler ended with {status}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the scheduler does not answer 200 on {path}: {}", self.log())
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("serve-{}.log", self.port))
    }

    /// Its process, while it is running.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// SIGSTOP, SIGCONT or another signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let pid = self.pid().context("it does not run")?;
        Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)?)
    }

    /// SIGTERM; waits until it has ended by itself.
    pub fn end(&mut self) -> Result<()> {
        self.signal(nix::sys::signal::Signal::SIGTERM)?;
        let mut child = self.child.take().context("it runs")?;
        let status = child.wait()?;
        ensure!(status.success(), "it ended with {status}: {}", self.log());
        Ok(())
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A request to its REST interface.
    pub fn call(&self, method: &str, path: &str, body: Option<Body<'_>>) -> Result<Answer> {
        http(method, &format!("{}/api/v1{path}", self.url), body)
    }

    /// Submits a YAML document and returns the ids of its jobs.
    pub fn submit(&self, document: &str, key: &str) -> Result<Vec<String>> {
        let body = Body { kind: "application/yaml", key: Some(key), bytes: document.as_bytes() };
        let answer = self.call("POST", "/jobs", Some(body))?;
        ensure!(answer.status < 300, "{}: {}", answer.status, answer.text);
        let jobs = answer.json()?;
        let ids = jobs["jobs"].as_array().context("a list of jobs")?;
        Ok(ids.iter().filter_map(|job| job["id"].as_str().map(str::to_owned)).collect())
    }

    /// One job as JSON.
    pub fn job(&self, id: &str) -> Result<Value> {
        let answer = self.call("GET", &format!("/jobs/{id}"), None)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text);
        answer.json()
    }

    /// The states of all jobs, by id.
    pub fn states(&self) -> Result<BTreeMap<String, String>> {
        let mut states = BTreeMap::new();
        let mut token = String::new();
        loop {
            let page =
                self.call("GET", &format!("/jobs?page_size=500&page_token={token}"), None)?;
            ensure!(page.status == 200, "{}: {}", page.status, page.text);
            let page = page.json()?;
            for job in page["jobs"].as_array().context("a list of jobs")? {
                let field = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
                states.insert(field("id"), field("state"));
            }
            token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return Ok(states);
            }
        }
    }

    /// Waits until every job has ended.
    pub fn wait_for_all(&self, limit: Duration) -> Result<BTreeMap<String, String>> {
        let begun = Instant::now();
        loop {
            // A 503 asks to come again: the database may have ended our connections.
            let states = match self.states() {
                Ok(states) => states,
                Err(error) if begun.elapsed() < limit && error.to_string().starts_with("503") => {
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let open = |state: &String| ["waiting", "active", "held"].contains(&state.as_str());
            if !states.values().any(open) {
                return Ok(states);
            }
            ensure!(
                begun.elapsed() < limit,
                "still open after {limit:?}: {:?}\n{}",
                states.iter().filter(|(_, state)| open(state)).collect::<Vec<_>>(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.kill();
        end_workers(&self.folder);
    }
}

/// Ends the workers that a killed scheduler left in its folder.
fn end_workers(folder: &Path) {
    for (pid, _) in workers(folder) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM);
    }
}

/// The live workers of a data folder: pid and the attempt's folder name.
pub fn workers(folder: &Path) -> Vec<(i32, String)> {
    let Ok(entries) = std::fs::read_dir(folder.join("work")) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let note = std::fs::read_to_string(entry.path().join("worker.json")).unwrap_or_default();
        let pid = serde_json::from_str::<Value>(&note).ok().and_then(|note| note["pid"].as_i64());
        let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) else { continue };
        // A number may have been given to another process meanwhile.
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains("worker") {
            found.push((pid, entry.file_name().to_string_lossy().into_owned()));
        }
    }
    found.sort();
    found
}

/// A request's body.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    /// Its content type.
    pub kind: &'a str,
    /// An idempotency key.
    pub key: Option<&'a str>,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// A response.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its content type.
    pub kind: String,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("not JSON: {}", self.text))
    }
}

/// One HTTP request, for tests that are not asynchronous.
pub fn http(method: &str, url: &str, body: Option<Body<'_>>) -> Result<Answer> {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("threads"));
    let client = CLIENT.get_or_init(|| {
        http_client()
            .timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(0)
            .build()
            .expect("plain HTTP")
    });
    let mut request = client.request(method.parse()?, url);
    if let Some(token) = token_of(url) {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.header("content-type", body.kind).body(body.bytes.to_vec());
        if let Some(key) = body.key {
            request = request.header("idempotency-key", key);
        }
    }
    runtime.block_on(async {
        let answer = request.send().await?;
        let header = answer.headers().get("content-type");
        let kind = header.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Answer { status: answer.status().as_u16(), kind, text: answer.text().await? })
    })
}
