//! Short tasks, and a scheduler without any: `spotwise-load short` makes the table of
//! `docs/benchmarks.md`. Every task is a real process with a worker beside it, every
//! step is durable; beside it, in the same run, the same tasks by `xargs`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use spotwise_api::client::{Bearer, Named, credentials};
use spotwise_api::v1;
use spotwise_api::v1::jobs_client::JobsClient;
use spotwise_api::v1::system_client::SystemClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// Which numbers of tasks, and with which program.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Short {
    /// The program to measure
    #[arg(long, default_value = "target/dist/spotwise")]
    spotwise: PathBuf,
    /// Numbers of tasks, one after the other
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    tasks: Vec<u32>,
    /// Places of one task
    #[arg(long, default_value_t = 20)]
    slots: u32,
    /// Submissions one by one beside 100 jobs that wait
    #[arg(long, default_value_t = 200)]
    submissions: u32,
    /// How long the scheduler is watched without a job, in seconds
    #[arg(long, default_value_t = 60)]
    idle: u64,
}

/// Elements of one array at most.
const MOST_ELEMENTS: u32 = 10_000;
/// Jobs that wait beside the submissions.
const WAITING: u32 = 100;
/// Clock ticks a second in `/proc`.
const TICKS: f64 = 100.0;

/// Prints one Markdown row a measurement.
pub(crate) async fn run(short: &Short) -> Result<()> {
    super::suite::say("| what | spotwise | `xargs -P` | ratio |\n|---|---|---|---|");
    let site = Site::start(short).await?;
    let (cpu, memory) = site.idle(Duration::from_secs(short.idle)).await?;
    let row =
        format!("| {} s without a job | {cpu:.2} % of a core, {memory} MiB | | |", short.idle);
    super::suite::say(&row);
    drop(site);
    for tasks in &short.tasks {
        let beside = xargs(*tasks, short.slots)?;
        let mut site = Site::start(short).await?;
        let took = site.array(*tasks).await?;
        let counts = site.counts().await?;
        let (took, beside) = (took.as_secs_f64(), beside.as_secs_f64());
        super::suite::say(&format!(
            "| {tasks} `true` on {} slots | {took:.1} s ({:.0}/s; {} plans, {} placed between them) \
             | {beside:.2} s | {:.0} |",
            short.slots,
            f64::from(*tasks) / took,
            counts.plans,
            counts.filled,
            took / beside
        ));
    }
    let mut site = Site::start(short).await?;
    let mut millis = site.submissions(short).await?;
    millis.sort_by(f64::total_cmp);
    let at =
        |part: usize| millis.get((millis.len() * part / 100).min(millis.len().saturating_sub(1)));
    super::suite::say(&format!(
        "| submitted to running beside {WAITING} that wait, {} one by one | p50 {:.0} ms, p99 {:.0} ms, \
         max {:.0} ms | | |",
        millis.len(),
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
        millis.last().copied().unwrap_or_default()
    ));
    Ok(())
}

/// The same tasks without anything beside them.
fn xargs(tasks: u32, slots: u32) -> Result<Duration> {
    let begun = Instant::now();
    let line = format!("seq {tasks} | xargs -P {slots} -n 1 true");
    let status = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).status()?;
    // `true` gets an argument each, and ignores it.
    ensure!(status.success(), "xargs ended with {status}");
    Ok(begun.elapsed())
}

/// A scheduler with the pool of this machine. Ended when dropped.
struct Site {
    jobs: JobsClient<Named>,
    system: SystemClient<Named>,
    _folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    async fn start(short: &Short) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = spotwise_tests::free_port()?;
        let child = spawn(&short.spotwise, folder.path(), port, short.slots)?;
        let server = format!("http://127.0.0.1:{port}");
        let endpoint = Channel::from_shared(server.clone())?;
        for _ in 0..3_000 {
            if let Ok(channel) = endpoint.connect().await {
                let bearer = Bearer::new(credentials::token_for(&server)?.as_deref());
                let channel = InterceptedService::new(channel, bearer);
                let mut system = SystemClient::new(channel.clone());
                if system.info(v1::InfoRequest {}).await.is_ok() {
                    let jobs = JobsClient::new(channel);
                    return Ok(Self { jobs, system, _folder: folder, child });
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the scheduler does not answer")
    }

    async fn counts(&mut self) -> Result<v1::InfoResponse> {
        Ok(self.system.info(v1::InfoRequest {}).await?.into_inner())
    }

    /// Per cent of a core, and MiB at the end, while nobody asks for anything.
    async fn idle(&self, span: Duration) -> Result<(f64, u64)> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = self.ticks()?;
        tokio::time::sleep(span).await;
        let used = (self.ticks()? - before) / TICKS;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line.and_then(|l| l.trim().split(' ').next()?.parse().ok()).unwrap_or(0);
        Ok((100.0 * used / span.as_secs_f64(), kib / 1024))
    }

    /// User and system time so far.
    fn ticks(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, rest) = stat.rsplit_once(')').context("a line of /proc")?;
        let field =
            |at: usize| rest.split_whitespace().nth(at).and_then(|it| it.parse::<f64>().ok());
        field(11).zip(field(12)).map(|(user, system)| user + system).context("times in /proc")
    }

    /// From the call to the end of the last element.
    async fn array(&mut self, tasks: u32) -> Result<Duration> {
        let begun = Instant::now();
        let mut left = tasks;
        while left > 0 {
            let size = left.min(MOST_ELEMENTS);
            let array = if size > 1 { format!("array: {{size: {size}}}\n") } else { String::new() };
            self.submit(&format!("{}{array}", short_task("t"))).await?;
            left -= size;
        }
        loop {
            let info = self.counts().await?;
            if info.jobs_waiting + info.jobs_active + info.jobs_held == 0 {
                return Ok(begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Milliseconds from each call to the event of its start.
    async fn submissions(&mut self, short: &Short) -> Result<Vec<f64>> {
        let most = short.slots.saturating_sub(2).max(1);
        self.submit(&document("blocker", most, "8h", "sleep, 8h")).await?;
        let waits = document("waits", most, "1m", "sleep, 1m");
        self.submit(&format!("{waits}array: {{size: {WAITING}}}\n")).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let info = self.counts().await?;
        ensure!(info.jobs_waiting == WAITING, "{} wait", info.jobs_waiting);
        let mut events = self.jobs.watch(v1::WatchRequest::default()).await?.into_inner();
        let mut millis = Vec::new();
        for number in 0..short.submissions {
            let begun = Instant::now();
            let made = self.submit(&short_task(&format!("s{number}"))).await?;
            let job = made.jobs.first().map(|job| job.id.clone()).context("one job")?;
            loop {
                let event = events.message().await?.context("the events go on")?;
                if event.job == job && event.kind == "started" {
                    break;
                }
            }
            millis.push(begun.elapsed().as_secs_f64() * 1_000.0);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(millis)
    }

    async fn submit(&mut self, document: &str) -> Result<v1::SubmitResponse> {
        let request = v1::SubmitRequest {
            document: document.to_owned(),
            format: "yaml".to_owned(),
            idempotency_key: String::new(),
        };
        Ok(self.jobs.submit(request).await?.into_inner())
    }
}

fn document(name: &str, cpus: u32, duration: &str, command: &str) -> String {
    format!(
        "name: {name}\nclass: inference\ndeadline: 24h\nwork: {{duration: {duration}}}\n\
         resources: {{cpus: {cpus}, memory: 16MB}}\ncommand: [{command}]\n"
    )
}

fn short_task(name: &str) -> String {
    document(name, 1, "1s", "'true'")
}

fn spawn(program: &Path, folder: &Path, port: u16, slots: u32) -> Result<Child> {
    let mut command = Command::new(program);
    command
        .args(["serve", "--market", "synthetic", "--memory", "64GB"])
        .args(["--cpus", &slots.to_string()])
        .args(["--data-dir", &folder.display().to_string()])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .env("SPOTWISE_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.spawn().context("the program does not start")
}
