//! `spotwise demo`: a scheduler of its own, a market that runs faster than
//! life, real jobs, and the bill at the end.

mod facts;
mod live;
mod report;
mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use spotwise_api::client::Client;
use spotwise_api::v1::{ListJobsRequest, SubmitRequest};
use tokio::signal::unix::{SignalKind, signal};

use self::facts::Facts;
use self::live::Live;
use self::server::Server;
use super::Context;
use crate::document::Document;
use crate::exit::{Exit, Failure};
use crate::format::count;
use crate::format::duration;
use crate::output::Output;

/// Watch a small fleet of real jobs live through interruptions, in minutes.
///
/// Starts a scheduler of its own in a new folder, with a market that runs 240
/// times faster than life, and submits the job files of examples/. The jobs
/// are real processes; prices, capacity and interruptions come from the
/// market. At the end: what each attempt did and cost, and what was saved.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder with the job files to submit
    #[arg(long, value_name = "DIR")]
    examples: Option<PathBuf>,
    /// A recorded market instead of the synthetic one (.csv or .json)
    #[arg(long, value_name = "FILE")]
    market: Option<PathBuf>,
    /// The same seed gives the same synthetic market
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
    /// How many times shorter the synthetic market's spells are than recorded ones
    #[arg(long, value_name = "X", default_value_t = 3.0)]
    turbulence: f64,
    /// Market seconds per second
    #[arg(long, value_name = "N", default_value_t = 240)]
    speed: u32,
    /// How long before it is taken back a machine is told so (wall time)
    #[arg(long, value_name = "DURATION", default_value = "6s", value_parser = duration)]
    notice_lead: Duration,
    /// End after so long (wall time), done or not
    #[arg(long, value_name = "DURATION", default_value = "170s", value_parser = duration)]
    timeout: Duration,
}

/// A market that takes nearly every machine back half an hour in, while all jobs
/// run, on fast machines and on slow ones.
const SEED: u64 = 11;

/// The last charges are written a planning round after the last job has ended.
const SETTLING: Duration = Duration::from_secs(15);

/// Why the show is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    TimedOut,
    Interrupted,
}

impl Demo {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        if output.is_json() {
            return Err(Failure::usage(
                "the demo is for people: leave out --output json (its data stays, for the other commands)",
            ));
        }
        let (documents, skipped) = self.documents()?;
        server::check_programs(&documents)?;
        let mut server = Server::start(&self).await?;
        let shown = self.show(output, &mut server, documents, &skipped).await;
        if shown.is_err() {
            // Whatever went wrong, nothing we started may go on without us.
            let _ = wind_down(&server.client).await;
        }
        server.stop().await;
        output.line("")?;
        output.line(output.bold("where to look next"))?;
        for line in server.next_steps(&self) {
            output.line(format!("  {line}"))?;
        }
        shown
    }

    async fn show(
        &self,
        output: &Output,
        server: &mut Server,
        documents: Vec<Document>,
        skipped: &[String],
    ) -> Result<(), Failure> {
        let client = server.client.clone();
        output.line(super::ps::status_line(&client.info().await?))?;
        if !skipped.is_empty() {
            let skipped = format!("left out, it needs other programs: {}", skipped.join(", "));
            output.line(output.dim(&skipped))?;
        }
        let jobs = submit(&client, documents).await?;
        output.line(format!("submitted {}", count(jobs.len(), "job")))?;
        let mut live = Live::new(output, &client, jobs.len()).await?;
        let end = tokio::select! {
            end = self.watch(server, &mut live, &client) => end?,
            () = interrupted() => End::Interrupted,
        };
        if end != End::Done {
            wind_down(&client).await?;
        }
        let facts = settled(&client, &jobs).await?;
        conclude(output, &facts, end)
    }

    async fn watch(
        &self,
        server: &mut Server,
        live: &mut Live,
        client: &Client,
    ) -> Result<End, Failure> {
        let started = Instant::now();
        loop {
            server.check()?;
            if live.tick(client).await? {
                return Ok(End::Done);
            }
            if started.elapsed() >= self.timeout {
                return Ok(End::TimedOut);
            }
        }
    }

    /// The job files, and the names of those left out: without `--examples`,
    /// whatever is not made for a machine with nothing but spotwise on it.
    fn documents(&self) -> Result<(Vec<Document>, Vec<String>), Failure> {
        let folder = self.examples.clone().unwrap_or_else(|| PathBuf::from("examples"));
        let mut documents = Vec::new();
        let mut skipped = Vec::new();
        for path in job_files(&folder)? {
            let document = Document::read(&path)?;
            let own = server::programs(&document).all(|program| program == server::EXAMPLE);
            if self.examples.is_some() || own {
                documents.push(document);
            } else {
                skipped.push(document.name);
            }
        }
        if documents.is_empty() {
            return Err(Failure::usage(format!("no job files in {}", folder.display())));
        }
        Ok((documents, skipped))
    }
}

/// YAML and JSON files of a folder, in the order of their names.
fn job_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let fail = |error: std::io::Error| {
        Failure::usage(format!(
            "{}: {error}; run this from the top of the repository, or name a folder with --examples",
            folder.display()
        ))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

async fn submit(client: &Client, documents: Vec<Document>) -> Result<Vec<String>, Failure> {
    let mut jobs = Vec::new();
    for document in documents {
        let request = SubmitRequest {
            document: document.text,
            format: document.format.to_owned(),
            idempotency_key: String::new(),
        };
        let answer = client.submit(request).await;
        let answer = answer.map_err(|e| Failure::from(e).context(&document.name))?;
        jobs.extend(answer.jobs.into_iter().map(|job| job.id));
    }
    Ok(jobs)
}

/// Cancels what is not over: a worker must not outlive the show.
async fn wind_down(client: &Client) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let states = ["held", "waiting", "active"].map(str::to_owned).to_vec();
        let request = ListJobsRequest { states, ..ListJobsRequest::default() };
        let (open, _) = client.list_all(request, usize::MAX).await?;
        if open.is_empty() || started.elapsed() >= SETTLING {
            return Ok(());
        }
        for job in open {
            // It may have ended since; the next look says so.
            let _ = client.cancel(&job.id, false).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Ctrl-C, or SIGTERM.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// What there is to say, once everything is in the ledger or waiting longer
/// makes no sense.
async fn settled(client: &Client, jobs: &[String]) -> Result<Facts, Failure> {
    let started = Instant::now();
    loop {
        let facts = Facts::gather(client, jobs).await?;
        if facts.is_settled() || started.elapsed() >= SETTLING {
            return Ok(facts);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Prints the report; the exit code says whether all is as it should be.
fn conclude(output: &Output, facts: &Facts, end: End) -> Result<(), Failure> {
    report::show(output, facts)?;
    // Jobs that we cancelled ourselves are no surprise; sums must be exact anyway.
    let problems = if end == End::Done { facts.problems() } else { facts.inexact_sums() };
    for problem in &problems {
        output.line(format!("{} {}", output.warn("problem:"), crate::text::one_line(problem)))?;
    }
    if !problems.is_empty() {
        return Err(Failure::said(Exit::Failed));
    }
    match end {
        End::Done => Ok(()),
        End::TimedOut => {
            Err(Failure::new(Exit::Timeout, "not all jobs were done in time; they were cancelled"))
        }
        End::Interrupted => {
            Err(Failure::new(Exit::Failed, "interrupted; what was not done was cancelled"))
        }
    }
}
