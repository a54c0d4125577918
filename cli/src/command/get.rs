//! `spotwise get`.

use clap::Args;
use spotwise_api::v1::{AttemptSummary, JobDetail, JobSummary, QuoteReview};

use spotwise_model::memory::human as bytes;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::format::{count, dollars, moment, percent, saving, seconds, span};
use crate::output::{Grid, Output};
use crate::text::one_line;

/// Show one job with its attempts and its history.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// `j17`, `17`, a job's name (the newest of that name that is not over), or an
    /// element's: `big[3]`
    #[arg(value_name = "JOB")]
    job: String,
}

impl Get {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let detail = context.target.connect().await?.get(&self.job).await?;
        if output.is_json() {
            return output.json(&detail);
        }
        let Some(job) = &detail.job else {
            return Err(Failure::new(Exit::Failed, "the scheduler sent a job without its summary"));
        };
        output.line(format!("{} {}", output.bold(&job.id), output.bold(&one_line(&job.name))))?;
        output.table(&facts(job, &detail))?;
        if !detail.attempts.is_empty() {
            output.line("")?;
            output.line(output.bold("attempts"))?;
            output.table(&attempts(&detail.attempts))?;
        }
        history(output, &detail)
    }
}

fn facts(job: &JobSummary, detail: &JobDetail) -> Grid {
    let mut grid = Grid::plain(&[]);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            grid.row([format!("  {name}"), value]);
        }
    };
    fact("title", job.title.clone());
    fact("state", job.state.clone());
    fact("detail", job.detail.clone());
    fact("model", job.model.clone());
    fact("class", job.class.clone());
    let by = match job.submitted_by.as_str() {
        "" => String::new(),
        name => format!(" by {name}"),
    };
    fact("submitted", format!("{}{by}", moment(&job.submitted)));
    let outcome = match job.deadline_outcome.as_str() {
        "" => String::new(),
        outcome => format!(", {outcome}"),
    };
    fact("deadline", format!("{} ({}){outcome}", moment(&job.deadline), detail.deadline_source));
    if !job.ended.is_empty() {
        fact(
            "ended",
            format!("{}, after {}", moment(&job.ended), span(&job.submitted, &job.ended)),
        );
    }
    let steps = match (job.step, job.total_steps) {
        (0, 0) => String::new(),
        (step, 0) => format!(", step {step}"),
        (step, total) => format!(", step {step} of {total}"),
    };
    fact("progress", format!("{}{steps}", percent(job.progress)));
    let budget = match job.budget_micros {
        0 => String::new(),
        micros => format!(" of a budget of {}", dollars(micros)),
    };
    fact("spent", format!("{}{budget}", dollars(job.spent_micros)));
    if let Some(quote) = &detail.quote {
        fact("quoted", quoted(quote));
        fact("came to", came_to(quote));
    }
    fact(
        "tries",
        format!("{}, {} interrupted, {} failed", job.attempts, job.interruptions, job.errors),
    );
    fact("memory", detail.attempts.last().map(memory).unwrap_or_default());
    let of =
        [("resubmission of", &detail.resubmission_of), ("resubmitted as", &detail.resubmitted_as)];
    of.into_iter().for_each(|(name, job)| fact(name, job.clone()));
    let after = detail.dependencies.iter().map(|after| match after.on.as_str() {
        "" | "succeeded" => after.job.clone(),
        on => format!("{} ({on})", after.job),
    });
    fact("after", after.collect::<Vec<_>>().join(", "));
    let tags: Vec<String> = job.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    fact("tags", tags.join(", "));
    fact("outputs", detail.outputs.clone());
    grid
}

/// What the newest attempt has used of memory; empty where that was not measured.
fn memory(attempt: &AttemptSummary) -> String {
    let (peak, asked) = (attempt.peak_memory_bytes, attempt.asked_memory_bytes);
    if peak == 0 {
        return String::new();
    }
    let bound = if attempt.memory_limit_bytes == 0 { "measured, not limited" } else { "limited" };
    format!("peak {} of {} asked for ({bound})", bytes(peak), bytes(asked))
}

/// What the planner expected when it looked at the job first.
fn quoted(quote: &QuoteReview) -> String {
    format!(
        "{} expected (p50 {}, p90 {}), done by {} (p90 {}), {:.1} interruptions",
        dollars(quote.expected_micros),
        dollars(quote.p50_micros),
        dollars(quote.p90_micros),
        moment(&quote.finish_p50),
        moment(&quote.finish_p90),
        quote.expected_interruptions
    )
}

/// What came of it; empty while the job is not over.
fn came_to(quote: &QuoteReview) -> String {
    if quote.finished.is_empty() {
        return String::new();
    }
    let cost = match saving(quote.actual_micros, quote.expected_micros) {
        deviation if quote.r#final && !deviation.is_empty() => format!(" ({deviation})"),
        _ if quote.r#final => String::new(),
        _ => " so far".to_owned(),
    };
    let late = quote.finish_late_seconds;
    let when = match late {
        0 => "when expected".to_owned(),
        1.. => format!("{} later than expected", seconds(late)),
        _ => format!("{} earlier than expected", seconds(-late)),
    };
    let interruptions = count(quote.actual_interruptions as usize, "interruption");
    format!("{}{cost}, ended {when}, {interruptions}", dollars(quote.actual_micros))
}

fn attempts(attempts: &[AttemptSummary]) -> Grid {
    let mut grid = Grid::new(&[
        "ID",
        "CAPACITY",
        "TYPE",
        "ZONE",
        "STATE",
        "LAUNCHED",
        "RAN",
        ">FROM STEP",
        ">TO STEP",
        ">SPENT",
        "WHY THERE",
    ]);
    for attempt in attempts {
        let state = if attempt.outcome.is_empty() { &attempt.state } else { &attempt.outcome };
        grid.row([
            attempt.id.clone(),
            attempt.capacity_type.clone(),
            attempt.instance_type.clone(),
            attempt.zone.clone(),
            state.clone(),
            moment(&attempt.launched),
            span(&attempt.started, &attempt.ended),
            attempt.resumed_from_step.to_string(),
            attempt.step.to_string(),
            dollars(attempt.spent_micros),
            attempt.reason.clone(),
        ]);
    }
    grid
}

fn history(output: &Output, detail: &JobDetail) -> Result<(), Failure> {
    if detail.events.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(output.bold("history"))?;
    if detail.earlier_events > 0 {
        let earlier = count(detail.earlier_events as usize, "earlier event");
        output.line(output.dim(&format!("  {earlier} not shown")))?;
    }
    let mut grid = Grid::plain(&[]);
    for event in &detail.events {
        grid.row([
            format!("  {}", moment(&event.at)),
            event.attempt.clone(),
            event.kind.clone(),
            match event.by.as_str() {
                "" => event.message.clone(),
                name => format!("{} (by {name})", event.message),
            },
        ]);
    }
    output.table(&grid)
}
