//! `spotwise resubmit`.

use std::path::PathBuf;

use clap::Args;
use spotwise_api::v1::ResubmitRequest;

use super::{Context, submit};
use crate::document::Document;
use crate::exit::{EXIT_CODES, Failure};
use crate::wait::WaitArgs;

/// Bring a job that ended back, as a new job.
///
/// It has the shared folder of its submission, and goes on from its newest checkpoint
/// unless it had succeeded. With --failed, whatever of it has not succeeded comes back
/// with all that is behind it; what has succeeded stays as it is and counts.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Resubmit {
    /// `j17`, `17`, a job's name (the newest of that name; all elements of an array), or
    /// an element: `infer[3]`
    #[arg(value_name = "JOB")]
    job: String,
    /// Only what has not succeeded, and what is behind it
    #[arg(long)]
    failed: bool,
    /// All jobs of the same submission
    #[arg(long)]
    group: bool,
    /// From the start, not from the newest checkpoint
    #[arg(long)]
    fresh: bool,
    /// A mended job file: its jobs run instead of those of the same names
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Makes repeats of this very submission harmless; 1 to 128 visible ASCII characters
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Resubmit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mended = self.file.as_deref().map(Document::read).transpose()?;
        let client = context.target.connect().await?;
        let idempotency_key = self.idempotency_key.unwrap_or_default();
        let (document, format) = mended.map_or_else(Default::default, |it| (it.text, it.format));
        let request = ResubmitRequest {
            job: self.job,
            idempotency_key,
            failed: self.failed,
            fresh: self.fresh,
            group: self.group,
            document,
            format: format.to_owned(),
        };
        let answer = client.resubmit(request).await?;
        if !context.output.is_json() {
            submit::announce(context, &answer)?;
        }
        let mut answers = submit::Answers::begin(context.output)?;
        answers.add(answer)?;
        submit::finish(context, &client, answers, &self.wait).await
    }
}
