//! `spotwise quote`, and the quote that `submit` shows.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use spotwise_api::v1::{Alternative, JobQuote, QuoteRequest, QuoteResponse};

use super::Context;
use crate::document::Document;
use crate::exit::Failure;
use crate::format::{count, dollars, moment, moment_near, percent, saving};
use crate::output::{Grid, Output};
use crate::text::one_line;

/// Show what a job file would cost, and submit nothing.
#[derive(Debug, Args)]
pub(crate) struct Quote {
    /// A job file, YAML or JSON; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Quote {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let document = Document::read(&self.file)?;
        let client = context.target.connect().await?;
        let request = QuoteRequest { document: document.text, format: document.format.to_owned() };
        let answer = client.quote(request).await?;
        if output.is_json() {
            return output.json(&answer);
        }
        let now: Option<Timestamp> = client.info().await?.market_time.parse().ok();
        show(output, &answer, now)?;
        for job in answer.jobs.iter().filter(|job| !job.alternatives.is_empty()) {
            output.line("")?;
            output.line(output.bold(&format!("what {} could run on", one_line(&job.name))))?;
            output.table(&alternatives(&job.alternatives))?;
        }
        Ok(())
    }
}

/// A few lines a job, and a sum where there are several.
pub(super) fn show(
    output: &Output,
    answer: &QuoteResponse,
    now: Option<Timestamp>,
) -> Result<(), Failure> {
    for job in &answer.jobs {
        output.line(format!(
            "{}  {}",
            output.bold(&one_line(&job.name)),
            one_line(&headline(job, now))
        ))?;
        output.line(format!("  {}", one_line(&second_line(job, now))))?;
        let to_tell = job.offer.is_empty() || job.offer.starts_with("reserved ");
        if to_tell && !job.reason.is_empty() {
            output.line(output.dim(&format!("  {}", one_line(&job.reason))))?;
        }
        for warning in &job.warnings {
            output.line(format!("  {} {}", output.warn("warning:"), one_line(warning)))?;
        }
    }
    let jobs: u32 = answer.jobs.iter().map(|job| job.elements.max(1)).sum();
    if jobs > 1 {
        let done = match answer.finish_p50.as_str() {
            "" => String::new(),
            finish => format!(
                ", finish {} (p90 {})",
                moment_near(finish, now),
                moment_near(&answer.finish_p90, now)
            ),
        };
        output.line(format!(
            "all {jobs} jobs: est. {} (p90 {}){done}, vs on-demand {}",
            dollars(answer.p50_micros),
            dollars(answer.p90_micros),
            against(answer.p50_micros, answer.on_demand_micros)
        ))?;
    }
    Ok(())
}

/// Offers side by side; the chosen one is marked.
pub(super) fn alternatives(alternatives: &[Alternative]) -> Grid {
    let mut grid =
        Grid::new(&["", "CAPACITY", "TYPE", "ZONE", "POOL", ">EXPECTED", "FINISH", "WHY NOT"]);
    for one in alternatives {
        let chosen = one.why_not.is_empty();
        grid.row([
            if chosen { "*" } else { "" }.to_owned(),
            one.capacity_type.clone(),
            one.instance_type.clone(),
            one.zone.clone(),
            one.pool.clone(),
            dollars(one.expected_micros),
            moment(&one.finish),
            if chosen { "chosen" } else { &one.why_not }.to_owned(),
        ]);
    }
    grid
}

/// `est. $48.00 (p90 $63.00), starts now on spot p3.2xlarge in us-east-1c, ...`
fn headline(job: &JobQuote, now: Option<Timestamp>) -> String {
    let each = if job.elements > 1 {
        format!("{} of: ", count(job.elements as usize, "element"))
    } else {
        String::new()
    };
    if job.finish_p50.is_empty() {
        return format!("{each}no offer holds it now");
    }
    let start = match (job.offer.as_str(), job.start.as_str()) {
        ("", start) if !start.is_empty() && !job.after.is_empty() => {
            format!("starts {} after {}", moment_near(start, now), job.after.join(", "))
        }
        ("", "") => "waits for capacity".to_owned(),
        ("", latest) => {
            format!("waits for a better price, until {} at the latest", moment_near(latest, now))
        }
        (offer, _) => format!("starts now on {offer}"),
    };
    let moved = match job.transfer.as_str() {
        "" => String::new(),
        moved => format!("; {moved}"),
    };
    format!(
        "{each}est. {} (p90 {}{moved}), {start}, finish {} (p90 {}), spot {}, vs on-demand {}",
        dollars(job.p50_micros),
        dollars(job.p90_micros),
        moment_near(&job.finish_p50, now),
        moment_near(&job.finish_p90, now),
        percent(job.spot_share),
        against(job.p50_micros, job.on_demand_micros)
    )
}

fn second_line(job: &JobQuote, now: Option<Timestamp>) -> String {
    // Below a cent there is nothing to tell.
    let more = match job.two_more_hours_micros {
        ..10_000 => String::new(),
        micros => format!(", two more hours of it would save {}", dollars(micros)),
    };
    format!(
        "deadline {} ({}){more}, {:.1} interruptions expected",
        moment_near(&job.deadline, now),
        if job.deadline_source.is_empty() { "given" } else { &job.deadline_source },
        job.expected_interruptions
    )
}

fn against(paid: i64, on_demand: i64) -> String {
    match saving(paid, on_demand).as_str() {
        "" => dollars(on_demand),
        saving => format!("{} ({saving})", dollars(on_demand)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_reads_as_one_sentence() {
        let mut job = JobQuote {
            name: "train".into(),
            elements: 1,
            p50_micros: 48_000_000,
            p90_micros: 63_000_000,
            on_demand_micros: 152_000_000,
            start: "2023-02-15T00:00:00Z".into(),
            finish_p50: "2023-02-15T03:10:00Z".into(),
            finish_p90: "2023-02-16T01:00:00Z".into(),
            spot_share: 0.85,
            offer: "spot p3.2xlarge in us-east-1c".into(),
            ..JobQuote::default()
        };
        let now = "2023-02-15T00:00:00Z".parse().ok();
        assert_eq!(
            headline(&job, now),
            "est. $48.00 (p90 $63.00), starts now on spot p3.2xlarge in us-east-1c, finish 03:10Z \
             (p90 2023-02-16 01:00Z), spot 85 %, vs on-demand $152.00 (-68 %)"
        );
        job.offer = String::new();
        job.elements = 3;
        assert!(headline(&job, now).starts_with("3 elements of: est. $48.00"));
        assert!(headline(&job, now).contains(", waits for a better price, until 00:00Z"));
        job.start = String::new();
        assert!(headline(&job, now).contains(", waits for capacity, "));
        job.finish_p50 = String::new();
        assert_eq!(headline(&job, now), "3 elements of: no offer holds it now");
    }
}
