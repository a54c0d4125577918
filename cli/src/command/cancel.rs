//! `spotwise cancel`.

use clap::Args;

use super::{Context, ask};
use crate::exit::{Exit, Failure};
use crate::format::dollars;
use crate::text::one_line;

/// Cancel a job. What it has saved and what it cost stay.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// `j17`, `17`, or a job's name (the newest of that name)
    #[arg(value_name = "JOB")]
    job: String,
    /// All jobs of the same submission
    #[arg(long)]
    group: bool,
    /// Cancel without asking
    #[arg(short, long)]
    yes: bool,
}

impl Cancel {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        if !self.yes {
            ask::possible(output, "cancel without asking")?;
        }
        let client = context.target.connect().await?;
        if !self.yes {
            let job = client.get(&self.job).await?.job.unwrap_or_default();
            let what = if self.group {
                format!("cancel all jobs submitted with {} {}?", job.id, job.name)
            } else {
                let spent = dollars(job.spent_micros);
                format!("cancel {} {} ({}, {spent} spent)?", job.id, job.name, job.state)
            };
            if !ask::yes(&one_line(&what))? {
                return Err(Failure::new(Exit::Failed, "nothing was cancelled"));
            }
        }
        let answer = client.cancel(&self.job, self.group).await?;
        if output.is_json() {
            return output.json(&answer);
        }
        for job in &answer.jobs {
            output.line(one_line(&format!("{} {}: will end as cancelled", job.id, job.name)))?;
        }
        if answer.jobs.is_empty() {
            output.line("nothing to cancel: already over")?;
        }
        Ok(())
    }
}
