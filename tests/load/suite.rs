//! The loads of `docs/benchmarks.md`, on SQLite and on a throwaway PostgreSQL,
//! each with a fresh scheduler. Prints one Markdown row a load.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::Value;
use spotwise_test_postgres::Database;

use crate::Options;

/// Which loads, and with which program.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Suite {
    /// The program under load
    #[arg(long, default_value = "target/dist/spotwise")]
    spotwise: PathBuf,
    /// `sqlite`, `postgresql`, or both
    #[arg(long, value_delimiter = ',', default_value = "sqlite,postgresql")]
    stores: Vec<String>,
    /// Only loads whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// After a start the loop fits a forecast to each kind of machine, some hundredths
/// of a second each; later ones come hours apart.
const FIRST_FITS: Duration = Duration::from_secs(5);

/// A scheduler under load, in a folder of its own. Ended when dropped.
struct Site {
    url: String,
    folder: tempfile::TempDir,
    program: PathBuf,
    database: Option<Database>,
    child: Child,
}

impl Site {
    async fn start(program: &Path, store: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let database = match store {
            "sqlite" => None,
            "postgresql" => Some(spotwise_test_postgres::shared().database()),
            other => bail!("no store is called {other}"),
        };
        let port = spotwise_tests::free_port()?;
        let child = spawn(program, folder.path(), database.as_ref(), port)?;
        let url = format!("http://127.0.0.1:{port}");
        let site = Self { url, folder, program: program.to_owned(), database, child };
        site.ready().await?;
        tokio::time::sleep(FIRST_FITS).await;
        Ok(site)
    }

    async fn ready(&self) -> Result<()> {
        let url = format!("{}/readyz", self.url);
        for _ in 0..6_000 {
            if spotwise_tests::http_client()
                .build()?
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the scheduler does not answer")
    }

    /// `kill -9`, and from there to ready again.
    async fn restart(&mut self) -> Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        let begun = Instant::now();
        let port = port.context("a port")?;
        self.child = spawn(&self.program, self.folder.path(), self.database.as_ref(), port)?;
        self.ready().await?;
        Ok(begun.elapsed())
    }

    /// Memory of the scheduler, in MiB.
    fn memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    async fn load(&self, arguments: &str) -> Result<Value> {
        let folder = self.folder.path().display().to_string();
        let words = ["load", "--server", &self.url, "--data-dir", &folder];
        let words = words.into_iter().chain(arguments.split(' ').filter(|word| !word.is_empty()));
        crate::run(Arc::new(Options::try_parse_from(words)?)).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, folder: &Path, database: Option<&Database>, port: u16) -> Result<Child> {
    let mut command = Command::new(program);
    command
        .args(["serve", "--outside-workers", "--cpus", "1000000", "--memory", "1000000GB"])
        .args(["--data-dir", &folder.display().to_string()])
        .args(["--listen", &format!("127.0.0.1:{port}"), "--market", "synthetic"])
        .env("SPOTWISE_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(database) = database {
        command.args(["--database", &database.url()]);
    }
    command.spawn().context("the program does not start")
}

/// Runs the loads one after the other.
pub(crate) async fn run(suite: &Suite) -> Result<()> {
    say("| load | store | result |\n|---|---|---|");
    for store in &suite.stores {
        for (name, load) in LOADS {
            if !name.contains(&suite.only) {
                continue;
            }
            let mut site = Site::start(&suite.spotwise, store).await?;
            let result = match load {
                Load::Calls(arguments) => words(&site.load(arguments).await?),
                Load::Queue { batches, size } => queue(&mut site, *batches, *size).await?,
            };
            say(&format!("| {name} | {store} | {result} |"));
        }
    }
    Ok(())
}

enum Load {
    /// Arguments of one run.
    Calls(&'static str),
    /// So many submissions of so many jobs; then pages, memory and a restart.
    Queue { batches: u64, size: u32 },
}

const LOADS: &[(&str, Load)] = &[
    ("submissions, 500/s", Load::Calls("--submit-rate 500 --seconds 10")),
    ("submissions, 4,000/s", Load::Calls("--submit-rate 4000 --seconds 10")),
    ("submissions of 1,000 jobs, 25/s", Load::Calls("--submit-rate 25 --batch 1000 --seconds 10")),
    (
        "placements: 20 arrays of 1,000 jobs, played by workers that end at once",
        Load::Calls("--submit-rate 20 --batch 1000 --submissions 20 --work --seconds 30"),
    ),
    (
        "5,000 workers, a heartbeat each 10 s, beside 200 submissions/s",
        Load::Calls("--submit-rate 200 --work --hold-ms 600000 --heartbeat-ms 10000 --seconds 45"),
    ),
    ("queue of 1,000", Load::Queue { batches: 1, size: 1_000 }),
    ("queue of 10,000", Load::Queue { batches: 10, size: 1_000 }),
    ("queue of 100,000", Load::Queue { batches: 100, size: 1_000 }),
];

async fn queue(site: &mut Site, batches: u64, size: u32) -> Result<String> {
    let fill = format!(
        "--submit-rate 25 --batch {size} --submissions {batches} --seconds 600 --connections 2"
    );
    let filled = site.load(&fill).await?;
    // The planner looks at all of them meanwhile.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pages = site.load("--list-rate 20 --seconds 5").await?;
    let memory = site.memory_mib();
    let restart = site.restart().await?;
    Ok(format!(
        "{}; then {}; {memory} MiB; ready {:.2} s after kill -9",
        words(&filled),
        words(&pages),
        restart.as_secs_f64()
    ))
}

/// The figures of a run in one line.
fn words(report: &Value) -> String {
    let mut parts = Vec::new();
    for kind in ["submit", "place", "start", "heartbeat", "end", "list"] {
        let of = &report[kind];
        if of.is_null() {
            continue;
        }
        let refused: u64 = of["refused"]
            .as_object()
            .map_or(0, |refused| refused.values().filter_map(Value::as_u64).sum());
        let mut part = format!("{kind}: {} done, {}/s", of["done"], of["per_second"]);
        // A placement is something that happens, not a call that is answered.
        if kind != "place" {
            part += &format!(
                ", p50 {:.1} ms, p99 {:.1} ms",
                of["p50_ms"].as_f64().unwrap_or_default(),
                of["p99_ms"].as_f64().unwrap_or_default()
            );
        }
        if refused > 0 {
            part += &format!(", {refused} refused");
        }
        parts.push(part);
    }
    parts.join("; ")
}

#[allow(clippy::print_stdout, reason = "the answer of a program")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
