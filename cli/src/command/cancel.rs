//! `spotwise cancel`.

use clap::Args;
use spotwise_api::client::{ClientError, ErrorKind};
use spotwise_api::v1::JobSummary;

use super::{Context, ask};
use crate::exit::{Exit, Failure};
use crate::format::dollars;
use crate::output::note;
use crate::text::one_line;

/// Cancel a job. What it has saved and what it cost stay.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// `j17`, `17`, a job's name (the newest of that name that is not over), an array's
    /// (all its elements), or an element's: `big[3]`
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
            let job = match client.get(&self.job).await {
                Ok(detail) => detail.job.unwrap_or_default(),
                Err(error) if is_array(&error) => JobSummary::default(),
                Err(error) => return Err(error.into()),
            };
            let what = if job.id.is_empty() {
                let whole = if self.group { "jobs submitted with" } else { "elements of" };
                format!("cancel all {whole} {}?", self.job)
            } else if self.group {
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
        if !answer.note.is_empty() {
            note(one_line(&answer.note));
        }
        if answer.jobs.is_empty() {
            output.line("nothing to cancel: already over")?;
        }
        Ok(())
    }
}

/// Whether a name is that of several jobs.
fn is_array(error: &ClientError) -> bool {
    matches!(error.kind(), ErrorKind::Invalid { code, .. } if code == "ambiguous_name")
}
