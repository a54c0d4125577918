//! `spotwise-load`: an open-loop load on a scheduler's gRPC interface.
//!
//! Calls are made at fixed times whatever becomes of the calls before them, and
//! their latency counts from the time at which they were due, so that a
//! scheduler that falls behind shows it. With `--work` it plays the workers of a
//! scheduler that was started with `--outside-workers`: registers each placed
//! attempt, says that it has started, sends heartbeats, and ends it.
//! `spotwise-load suite` and `spotwise-load short` make tables of
//! `docs/benchmarks.md`.

mod measure;
mod short;
mod submit;
mod suite;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use spotwise_api::client::{Bearer, Named, credentials};
use spotwise_api::trust::Trust;
use spotwise_api::v1;
use spotwise_api::v1::jobs_client::JobsClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

use measure::{Kind, Measure};

/// Load on a scheduler; the figures are printed as one line of JSON.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Where the scheduler answers
    #[arg(long, default_value = "http://127.0.0.1:7717")]
    server: String,
    /// Connections; calls are spread over them
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// How long the load lasts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Submissions a second; 0 for none
    #[arg(long, default_value_t = 0.0)]
    submit_rate: f64,
    /// Jobs of one submission: an array of so many elements
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Submissions in all; they end earlier than the load when reached
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    submissions: u64,
    /// Pages of 50 jobs asked for a second
    #[arg(long, default_value_t = 0.0)]
    list_rate: f64,
    /// Play the workers; --data-dir names the scheduler's data folder
    #[arg(long, requires = "data_dir")]
    work: bool,
    /// The scheduler's data folder, for the secret that signs workers' tokens
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// How long a played command runs; 0 ends it at once
    #[arg(long, default_value_t = 0)]
    hold_ms: u64,
    /// Between two heartbeats of a played worker
    #[arg(long, default_value_t = 10_000)]
    heartbeat_ms: u64,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("suite") => {
            let words = std::iter::once("suite".to_owned()).chain(arguments);
            return runtime.block_on(suite::run(&suite::Suite::parse_from(words)));
        }
        Some("short") => {
            let words = std::iter::once("short".to_owned()).chain(arguments);
            return runtime.block_on(short::run(&short::Short::parse_from(words)));
        }
        _ => {}
    }
    let options = Options::parse();
    let line = runtime.block_on(run(Arc::new(options)))?;
    #[allow(clippy::print_stdout, reason = "the answer of a program")]
    {
        println!("{line}");
    }
    Ok(())
}

async fn run(options: Arc<Options>) -> Result<serde_json::Value> {
    let measure = Arc::new(Measure::default());
    let channels = connect(&options).await?;
    let length = Duration::from_secs(options.seconds);
    let mut tasks = tokio::task::JoinSet::new();
    let begun = tokio::time::Instant::now();
    if options.submit_rate > 0.0 {
        let (channels, options, measure) = (channels.clone(), options.clone(), measure.clone());
        tasks.spawn(async move { submit::submit(&channels, &options, &measure, length).await });
    }
    if options.list_rate > 0.0 {
        let (channels, options, measure) = (channels.clone(), options.clone(), measure.clone());
        tasks.spawn(async move { list(&channels, &options, &measure, length).await });
    }
    if options.work {
        let (channels, options, measure) = (channels.clone(), options.clone(), measure.clone());
        tasks.spawn(async move { work::work(&channels, &options, &measure, length).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a task broke")??;
    }
    Ok(measure.report(begun.elapsed()))
}

async fn connect(options: &Options) -> Result<Vec<Named>> {
    let mut channels = Vec::new();
    for _ in 0..options.connections.max(1) {
        let endpoint = Endpoint::from_shared(options.server.clone())?.tcp_nodelay(true);
        let pinned = credentials::authority_for(&options.server)?;
        let is_secure = options.server.starts_with("https://");
        let endpoint = if is_secure { Trust::of(pinned).secure(endpoint)? } else { endpoint };
        let channel = endpoint.connect().await.context("no scheduler answers")?;
        let bearer = Bearer::new(credentials::token_for(&options.server)?.as_deref());
        channels.push(InterceptedService::new(channel, bearer));
    }
    Ok(channels)
}

/// First pages of the list of jobs, at a fixed rate.
async fn list(
    channels: &[Named],
    options: &Options,
    measure: &Arc<Measure>,
    length: Duration,
) -> Result<()> {
    measure::open_loop(options.list_rate, u64::MAX, length, |number, due| {
        let mut jobs = JobsClient::new(measure::pick(channels, number));
        let measure = measure.clone();
        async move {
            let request = v1::ListJobsRequest { page_size: 50, ..Default::default() };
            let answer = jobs.list(request).await;
            measure.note(Kind::List, due, answer.err().as_ref());
        }
    })
    .await;
    Ok(())
}
