//! The demo's final report.

use spotwise_api::v1::AttemptSummary;

use super::facts::{Facts, JobFacts};
use crate::command::cost;
use crate::exit::Failure;
use crate::format::{count, dollars, exact, saving};
use crate::output::{Grid, Output};
use crate::text::one_line;

/// Prints it.
pub(super) fn show(output: &Output, facts: &Facts) -> Result<(), Failure> {
    output.line("")?;
    output.line(output.bold("what each attempt did and cost (dollars, exact)"))?;
    output.table(&attempts(facts))?;
    for (title, report) in [("by model", &facts.by_model), ("by team", &facts.by_team)] {
        output.line("")?;
        output.line(output.bold(title))?;
        output.table(&cost::table(report, &report.total.clone().unwrap_or_default()))?;
    }
    output.line("")?;
    output.line(output.bold("in short"))?;
    for line in summary(facts) {
        output.line(format!("  {}", one_line(&line)))?;
    }
    Ok(())
}

/// A block a job: its attempts with their steps and their cost.
fn attempts(facts: &Facts) -> Grid {
    let costs = facts.cost_of_attempts();
    let mut grid = Grid::new(&[
        "JOB",
        "ATTEMPT",
        "WHERE",
        ">FROM STEP",
        ">TO STEP",
        "OUTCOME",
        ">COST",
        ">LOST WORK",
    ]);
    for JobFacts { job, attempts, resumed } in &facts.jobs {
        for (index, attempt) in attempts.iter().enumerate() {
            let row = costs.get(attempt.id.as_str());
            grid.row([
                if index == 0 { job.name.clone() } else { String::new() },
                attempt.id.clone(),
                format!("{} {} {}", attempt.capacity_type, attempt.instance_type, attempt.zone),
                from_step(attempt, resumed.contains(&attempt.id)),
                attempt.step.to_string(),
                if attempt.outcome.is_empty() { &attempt.state } else { &attempt.outcome }.clone(),
                exact(row.map_or(0, |row| row.total_micros)),
                exact(row.map_or(0, |row| row.lost_work_micros)),
            ]);
        }
    }
    let rest = |name: &str, total: i64, lost: i64| {
        let mut cells = vec![String::new(); 8];
        for (at, text) in [(0, name.to_owned()), (6, exact(total)), (7, exact(lost))] {
            if let Some(cell) = cells.get_mut(at) {
                *cell = text;
            }
        }
        cells
    };
    if let Some(idle) = costs.get("") {
        grid.row(rest("idle machines", idle.total_micros, idle.lost_work_micros));
    }
    let total = facts.total();
    grid.row(rest("sum", total.total_micros, total.lost_work_micros));
    grid
}

/// A command may save its state without saying at which step.
fn from_step(attempt: &AttemptSummary, resumed: bool) -> String {
    match attempt.resumed_from_step {
        0 if resumed => "saved".to_owned(),
        step => step.to_string(),
    }
}

fn summary(facts: &Facts) -> Vec<String> {
    let total = facts.total();
    let saved = total.on_demand_micros.saturating_sub(total.total_micros);
    let of = |outcome: &str| {
        facts.jobs.iter().filter(|facts| facts.job.deadline_outcome == outcome).count()
    };
    let succeeded = facts.jobs.iter().filter(|facts| facts.job.state == "succeeded").count();
    let fallbacks = facts.fallbacks();
    let mut lines = vec![
        format!(
            "{succeeded} of {} succeeded; deadlines: {} met, {} missed",
            count(facts.jobs.len(), "job"),
            of("met"),
            of("missed")
        ),
        format!(
            "paid {}; the same hours on demand {}; saved {} ({})",
            dollars(total.total_micros),
            dollars(total.on_demand_micros),
            dollars(saved),
            saving(total.total_micros, total.on_demand_micros)
        ),
        format!(
            "{} survived, {} from a checkpoint; lost work {}, all startups {}, given back {}",
            count(facts.interruptions_survived(), "interruption"),
            count(facts.resumes(), "resume"),
            dollars(total.lost_work_micros),
            dollars(total.startup_micros),
            dollars(-total.waiver_micros)
        ),
        format!("from spot to on-demand: {}", count(fallbacks.len(), "time")),
    ];
    for (job, attempt) in fallbacks {
        lines.push(format!("  {} {}: {}", attempt.id, job.name, attempt.reason));
    }
    if facts.by_attempt.unsettled_micros != 0 {
        lines.push(format!("not settled yet: {}", dollars(facts.by_attempt.unsettled_micros)));
    }
    if facts.inexact_sums().is_empty() {
        lines.push("sums: attempts = models = teams = total, to the micro-dollar".to_owned());
    }
    lines.extend(facts.by_attempt.notes.iter().cloned());
    lines
}
