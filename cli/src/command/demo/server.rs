//! The demo's own scheduler: a child process on a folder that stays.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spotwise_api::client::Client;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::super::serve::READY;
use super::Demo;
use crate::document::Document;
use crate::exit::{Exit, Failure};

/// The program that the files of examples/ call.
pub(super) const EXAMPLE: &str = "spotwise-example";

/// A scheduler of one's own is up in a fraction of this, even where the
/// machine is busy compiling.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Workers are told to stop, and their commands have ten seconds of grace.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The scheduler's process.
pub(super) struct Server {
    child: Child,
    data: PathBuf,
    log: PathBuf,
    /// A connection to it.
    pub(super) client: Client,
}

impl Server {
    /// Starts it and waits until it answers. It does not outlive this program.
    pub(super) async fn start(demo: &Demo) -> Result<Self, Failure> {
        let data = new_folder().map_err(|e| failed("cannot make a folder for the demo", &e))?;
        let log = data.join("serve.log");
        let file = std::fs::File::create(&log).map_err(|e| failed("cannot write the log", &e))?;
        let program = own_program()?;
        let mut child = Command::new(&program)
            .arg("serve")
            .args(serve_flags(demo, &data))
            // The system chooses a free port.
            .args(["--listen", "127.0.0.1:0"])
            .env("PATH", search_path(&program))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            // Ctrl-C is for us; the scheduler ends when we say so.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed("cannot start the scheduler", &e))?;
        let said = tokio::time::timeout(START_LIMIT, ready_line(&mut child)).await;
        let Some(address) = said.ok().flatten() else {
            let why = format!("the demo's scheduler does not start: {}", tail(&log));
            return Err(Failure::new(Exit::Failed, why));
        };
        let client = Client::connect(&address).await?;
        Ok(Self { child, data, log, client })
    }

    /// Whether it still runs.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::new(
                Exit::Failed,
                format!("the demo's scheduler ended ({status}): {}", tail(&self.log)),
            )),
            Err(error) => Err(failed("cannot see the demo's scheduler", &error)),
        }
    }

    /// Ends it gently; by force only if that takes too long.
    pub(super) async fn stop(&mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid {
            // It may have ended by itself meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// What a person can do with what is left.
    pub(super) fn next_steps(&self, demo: &Demo) -> Vec<String> {
        let flags: Vec<String> = serve_flags(demo, &self.data)
            .iter()
            .map(|flag| flag.to_string_lossy().into_owned())
            .collect();
        vec![
            format!("{}   everything the scheduler kept; delete it when you have seen enough", self.data.display()),
            format!("{}   its log", self.log.display()),
            format!("spotwise serve {}", flags.join(" ")),
            "... and then, in another terminal:".to_owned(),
            "spotwise ps --all, get JOB, explain JOB, logs JOB --all-attempts, cost --by Team,model".to_owned(),
        ]
    }
}

/// The address in the line that says that requests are answered; none where
/// the scheduler ended without it.
async fn ready_line(child: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line.strip_prefix(READY) {
            return Some(address.to_owned());
        }
    }
    None
}

/// The last lines of a log, on one.
fn tail(log: &Path) -> String {
    const LINES: usize = 3;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" / ");
    if tail.is_empty() { format!("see {}", log.display()) } else { tail }
}

/// When the demo's market begins: with one start, one seed is one market.
const START: &str = "2026-03-02T09:00:00Z";

/// The same flags make the same market again.
fn serve_flags(demo: &Demo, data: &Path) -> Vec<OsString> {
    let mut flags: Vec<OsString> = vec!["--data-dir".into(), data.into(), "--market".into()];
    match &demo.market {
        Some(file) => flags.push(file.into()),
        None => {
            let (seed, turbulence) = (demo.seed.to_string(), demo.turbulence.to_string());
            let market = [
                "synthetic",
                "--seed",
                &seed,
                "--turbulence",
                &turbulence,
                "--market-start",
                START,
            ];
            flags.extend(market.map(Into::into));
        }
    }
    let lead = format!("{}s", demo.notice_lead.as_secs());
    flags.extend(["--speed", &demo.speed.to_string(), "--notice-lead", &lead].map(Into::into));
    flags
}

/// Programs that a document's jobs call.
pub(super) fn programs(document: &Document) -> impl Iterator<Item = &str> {
    document.submission.jobs.iter().filter_map(|job| job.command.first().map(String::as_str))
}

/// Better said before than by six failed jobs.
pub(super) fn check_programs(documents: &[Document]) -> Result<(), Failure> {
    let path = search_path(&own_program()?);
    let wanted: BTreeSet<&str> = documents.iter().flat_map(programs).collect();
    for program in wanted.into_iter().filter(|program| !program.contains('/')) {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            let remedy = if program == EXAMPLE { ": build it with `make build`" } else { "" };
            return Err(Failure::usage(format!(
                "`{program}` is neither beside spotwise nor on PATH{remedy}"
            )));
        }
    }
    Ok(())
}

/// The folder of this program first: its companions are there.
fn search_path(program: &Path) -> OsString {
    let own = program.parent().map(Path::to_path_buf);
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(std::env::split_paths(&inherited));
    std::env::join_paths(folders).unwrap_or(inherited.clone())
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|e| failed("cannot find this program", &e))
}

/// A folder that nobody else can read or has made before us.
fn new_folder() -> std::io::Result<PathBuf> {
    let base = std::env::temp_dir();
    let mut number = 0_u32;
    loop {
        let folder = base.join(format!("spotwise-demo-{}-{number}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1_000 => {
                number += 1;
            }
            Err(error) => return Err(error),
            Ok(()) => return Ok(folder),
        }
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: {error}"))
}
