//! `spotwise submit`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use spotwise_api::client::{Client, ClientError, ErrorKind};
use spotwise_api::v1::{JobSummary, QuoteRequest, SubmitRequest, SubmitResponse};

use super::{Context, ask, quote};
use crate::document::Document;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::format::{count, dollars};
use crate::output::Output;
use crate::text::one_line;
use crate::wait::{self, WaitArgs};

/// Show what jobs would cost, and submit them.
///
/// All files are checked before the first is submitted. With `--output json` each
/// submission is printed when it is accepted; where a later one is refused the document
/// says so under `error`, and the exit code is 8.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Submit {
    /// Job files, YAML or JSON; `-` for standard input. One submission each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Submit without asking
    #[arg(short, long)]
    yes: bool,
    /// Makes repeats of this very submission harmless; 1 to 128 visible ASCII characters
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Submit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        if self.idempotency_key.is_some() && self.files.len() > 1 {
            return Err(Failure::usage(
                "one idempotency key names one submission: submit the files one by one",
            ));
        }
        let documents =
            self.files.iter().map(|path| Document::read(path)).collect::<Result<Vec<_>, _>>()?;
        if !self.yes {
            ask::possible(output, "submit without asking")?;
        }
        let client = context.target.connect().await?;
        if !output.is_json() {
            show_quotes(&client, context, &documents).await?;
        }
        let jobs: usize = documents.iter().map(Document::jobs).sum();
        if !self.yes && !ask::yes(&format!("submit {}?", count(jobs, "job")))? {
            return Err(Failure::new(Exit::Failed, "nothing was submitted"));
        }
        let key = self.idempotency_key.unwrap_or_default();
        let mut answers = Answers::begin(*output)?;
        for document in documents {
            let request = SubmitRequest {
                document: document.text,
                format: document.format.to_owned(),
                idempotency_key: key.clone(),
            };
            match client.submit(request).await {
                Ok(answer) if output.is_json() => answers.add(answer)?,
                Ok(answer) => {
                    announce(context, &answer)?;
                    answers.add(answer)?;
                }
                Err(error) => return answers.broken_off(&document.name, error),
            }
        }
        finish(context, &client, answers, &self.wait).await
    }
}

async fn show_quotes(
    client: &Client,
    context: &Context,
    documents: &[Document],
) -> Result<(), Failure> {
    let now = client.info().await?.market_time.parse().ok();
    for document in documents {
        let request =
            QuoteRequest { document: document.text.clone(), format: document.format.to_owned() };
        let answer = client.quote(request).await;
        let answer = answer.map_err(|e| Failure::from(e).context(&document.name))?;
        if documents.len() > 1 {
            context.output.line(context.output.dim(&one_line(&document.name)))?;
        }
        quote::show(&context.output, &answer, now)?;
    }
    Ok(())
}

/// `submitted j17 train`, and for many only the first and the last.
pub(super) fn announce(context: &Context, answer: &SubmitResponse) -> Result<(), Failure> {
    let verb = if answer.replayed { "was submitted before as" } else { "submitted" };
    let name = |job: &JobSummary| format!("{} {}", job.id, one_line(&job.name));
    let jobs = match answer.jobs.as_slice() {
        few if few.len() <= 6 => few.iter().map(name).collect::<Vec<_>>().join(", "),
        [first, .., last] => {
            format!("{}: {} to {}", count(answer.jobs.len(), "job"), name(first), name(last))
        }
        _ => String::new(),
    };
    context.output.line(format!("{verb} {jobs}"))
}

/// The jobs that were accepted. As JSON they are one document, which is printed as it
/// grows: a script that is killed in between has seen every job that runs.
pub(super) struct Answers {
    output: Output,
    jobs: Vec<JobSummary>,
    count: usize,
}

impl Answers {
    pub(super) fn begin(output: Output) -> Result<Self, Failure> {
        if output.is_json() {
            output.part("{\n  \"submissions\": [")?;
        }
        Ok(Self { output, jobs: Vec::new(), count: 0 })
    }

    pub(super) fn add(&mut self, answer: SubmitResponse) -> Result<(), Failure> {
        if self.output.is_json() {
            self.output.part(if self.count == 0 { "\n" } else { ",\n" })?;
            self.output.part(&Output::inner_json(&answer, "    ")?)?;
        }
        self.count += 1;
        self.jobs.extend(answer.jobs);
        Ok(())
    }

    /// The document ends, and says why nothing more was submitted.
    fn broken_off(self, file: &str, error: ClientError) -> Result<(), Failure> {
        let (code, field) = match error.kind() {
            ErrorKind::Invalid { code, field } => (code.clone(), field.clone()),
            _ => (String::new(), String::new()),
        };
        let message = error.to_string();
        let said = json!({ "file": file, "code": code, "field": field, "message": message });
        let some = self.count > 0;
        self.end(&[("error", said)])?;
        let failure = Failure::from(error).context(file);
        Err(if some { failure.with_exit(Exit::Partial) } else { failure })
    }

    fn end(&self, last: &[(&str, Value)]) -> Result<(), Failure> {
        if !self.output.is_json() {
            return Ok(());
        }
        let mut text = "\n  ]".to_owned();
        for (name, value) in last {
            let value = Output::inner_json(value, "  ")?;
            text.push_str(&format!(",\n  \"{name}\": {}", value.trim_start()));
        }
        self.output.line(format_args!("{text}\n}}"))
    }
}

/// Waits if asked to, prints the end, and turns it into an exit code.
pub(super) async fn finish(
    context: &Context,
    client: &Client,
    mut answers: Answers,
    wait: &WaitArgs,
) -> Result<(), Failure> {
    let jobs = std::mem::take(&mut answers.jobs);
    let waited = wait.wait(client, &jobs).await;
    let output = &context.output;
    let ended = waited.as_ref().ok().and_then(Option::as_ref);
    let of = |over: bool| {
        let jobs = |all: &Vec<JobSummary>| -> Vec<JobSummary> {
            all.iter().filter(|job| job.ended.is_empty() != over).cloned().collect()
        };
        ended.map(jobs)
    };
    answers.end(&[("ended", json!(of(true))), ("blocked", json!(of(false)))])?;
    match waited? {
        Some(ended) => {
            show_ends(output, &ended)?;
            wait::outcome(&ended)
        }
        // Rejected on arrival: nothing to wait for.
        None if jobs.iter().any(|job| job.state == "rejected") => {
            let why = jobs.iter().find(|job| job.state == "rejected").map(|job| job.detail.clone());
            Err(Failure::new(Exit::Rejected, format!("rejected: {}", why.unwrap_or_default())))
        }
        None => Ok(()),
    }
}

/// A line a job: how it ended, or why it never will by itself.
pub(super) fn show_ends(output: &Output, jobs: &[JobSummary]) -> Result<(), Failure> {
    for job in jobs.iter().filter(|_| !output.is_json()) {
        let why = if job.blocked.is_empty() { &job.detail } else { &job.blocked };
        let spent = dollars(job.spent_micros);
        let line = format!("{} {}: {}, {spent}, {why}", job.id, job.name, job.state);
        output.line(one_line(line.trim_end_matches(", ")))?;
    }
    Ok(())
}
