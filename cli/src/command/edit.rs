//! `spotwise edit`.

use clap::Args;
use serde_json::json;
use spotwise_api::v1::{EditRequest, EditResponse};

use super::{Context, ask};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::format::{dollars, moment};
use crate::output::Output;
use crate::text::one_line;

/// Change the budget, deadline, priority or retries of a job that is not over.
///
/// A job that is held because its budget is used up goes on from its checkpoint once
/// the budget is raised. What the change does is shown first.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Edit {
    /// `j17`, `17`, or a job's name (the newest of that name)
    #[arg(value_name = "JOB")]
    job: String,
    /// Most that all attempts together may cost, in dollars, with what is spent: 2.00
    #[arg(long, value_name = "USD")]
    budget: Option<String>,
    /// By when: a time such as 2026-08-01T08:00:00Z, 8h from now, or +4h or -1h from
    /// the deadline it has
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    deadline: Option<String>,
    /// -100 to 100; higher is served first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// How often it may be tried again after failures of its own
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Change it without asking
    #[arg(short, long)]
    yes: bool,
    /// Show what it would do, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Makes repeats of this very change harmless; 1 to 128 visible ASCII characters
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Edit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let mut document = serde_json::Map::new();
        document.extend(self.budget.map(|usd| ("budget_usd".to_owned(), json!(usd))));
        document.extend(self.deadline.map(|when| ("deadline".to_owned(), json!(when))));
        document.extend(self.priority.map(|priority| ("priority".to_owned(), json!(priority))));
        let retries = self.retries.map(|errors| ("retries".to_owned(), json!({"errors": errors})));
        document.extend(retries);
        if document.is_empty() {
            let message = "name what to change: --budget, --deadline, --priority or --retries";
            return Err(Failure::usage(message));
        }
        if !self.yes && !self.dry_run {
            ask::possible(output, "change it without asking")?;
        }
        let client = context.target.connect().await?;
        let mut request = EditRequest {
            job: self.job,
            document: serde_json::Value::Object(document.clone()).to_string(),
            format: "json".to_owned(),
            idempotency_key: String::new(),
            dry_run: true,
        };
        if self.dry_run && output.is_json() {
            return output.json(&client.edit(request).await?);
        }
        if !output.is_json() {
            let would = client.edit(request.clone()).await?;
            show(output, &would)?;
            if self.dry_run {
                return Ok(());
            }
            if !self.yes {
                let job = would.job.unwrap_or_default();
                let sure = ask::yes(&one_line(&format!("change {} {}?", job.id, job.name)))?;
                if !sure {
                    return Err(Failure::new(Exit::Failed, "nothing was changed"));
                }
            }
        }
        request.idempotency_key = self.idempotency_key.unwrap_or_default();
        request.dry_run = false;
        let answer = client.edit(request).await?;
        if output.is_json() {
            return output.json(&answer);
        }
        let job = answer.job.unwrap_or_default();
        let done = match (answer.replayed, answer.changes.is_empty()) {
            (true, _) => "was changed before".to_owned(),
            (false, true) => "is as it was".to_owned(),
            (false, false) => format!("changed: {}", answer.changes.join("; ")),
        };
        output.line(one_line(&format!("{} {} {done}", job.id, job.name)))
    }
}

/// What it changes, and what comes of that.
fn show(output: &Output, would: &EditResponse) -> Result<(), Failure> {
    let job = would.job.clone().unwrap_or_default();
    let changes = match would.changes.as_slice() {
        [] => "nothing changes".to_owned(),
        changes => changes.join("; "),
    };
    let name = output.bold(&one_line(&job.name));
    output.line(format!("{} {name}  {}", job.id, one_line(&changes)))?;
    if !would.finish_p50.is_empty() {
        output.line(format!(
            "  {} spent; to go on: est. {} (p90 {}), finish {} (p90 {}), deadline {}",
            dollars(job.spent_micros),
            dollars(would.p50_micros),
            dollars(would.p90_micros),
            moment(&would.finish_p50),
            moment(&would.finish_p90),
            moment(&job.deadline)
        ))?;
    }
    for warning in &would.warnings {
        output.line(format!("  {} {}", output.warn("warning:"), one_line(warning)))?;
    }
    Ok(())
}
