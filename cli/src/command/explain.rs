//! `spotwise explain`.

use clap::Args;

use super::{Context, quote};
use crate::exit::Failure;
use crate::format::{moment, seconds};
use crate::text::one_line;

/// Say why a job waits, or why it is where it is and what else it could have
/// cost.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// `j17`, `17`, a job's name (the newest of that name that is not over), or an
    /// element's: `big[3]`
    #[arg(value_name = "JOB")]
    job: String,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let answer = context.target.connect().await?.explain(&self.job).await?;
        if output.is_json() {
            return output.json(&answer);
        }
        let job = answer.job.unwrap_or_default();
        let title = format!("{} {}: {}", job.id, job.name, answer.headline);
        output.line(output.bold(&one_line(&title)))?;
        if !answer.since.is_empty() {
            output.line(format!("  since {}", one_line(&moment(&answer.since))))?;
        }
        for detail in &answer.details {
            output.line(format!("  {}", one_line(detail)))?;
        }
        if job.ended.is_empty() {
            let slack = seconds(answer.slack_seconds.abs());
            output.line(if answer.slack_seconds >= 0 {
                format!("  on-demand meets the deadline if it starts within {slack}")
            } else {
                format!("  the last moment to meet the deadline on on-demand was {slack} ago")
            })?;
        }
        if answer.alternatives.is_empty() {
            return Ok(());
        }
        output.line("")?;
        output.table(&quote::alternatives(&answer.alternatives))
    }
}
