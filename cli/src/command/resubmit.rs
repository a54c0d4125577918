//! `spotwise resubmit`.

use clap::Args;
use spotwise_api::v1::ResubmitRequest;

use super::{Context, submit};
use crate::exit::{EXIT_CODES, Failure};
use crate::wait::WaitArgs;

/// Submit the document of an ended job again, as a new job.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Resubmit {
    /// `j17`, `17`, a job's name (the newest of that name that is not over), or an
    /// element's: `big[3]`
    #[arg(value_name = "JOB")]
    job: String,
    /// Makes repeats of this very submission harmless; 1 to 128 visible ASCII characters
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Resubmit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.target.connect().await?;
        let idempotency_key = self.idempotency_key.unwrap_or_default();
        let answer = client.resubmit(ResubmitRequest { job: self.job, idempotency_key }).await?;
        if !context.output.is_json() {
            submit::announce(context, &answer)?;
        }
        submit::finish(context, &client, vec![answer], &self.wait).await
    }
}
