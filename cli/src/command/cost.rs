//! `spotwise cost`.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use spotwise_api::v1::{CostQuery, CostReport, CostRow};
use spotwise_model::time;

use super::whose::Whose;
use super::{Context, key_value};
use crate::exit::{Exit, Failure};
use crate::format::{count, dollars, exact, moment, percent, saving};
use crate::money;
use crate::output::{Grid, Output, note};
use crate::text::one_line;

/// Show what was consumed, and what it would have cost on demand.
///
/// Every charge is spread over the time in which it was consumed, by the second.
/// Running machines count up to now (ACCRUED, beside what is SETTLED). The total of a
/// period that is over stays, but for what the provider gives back later (LATE); a
/// period is closed when all that was consumed in it is settled. All amounts are exact
/// to the micro-dollar; the last line is the sum of the others, and it is checked.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// A row for each value of these: hour, day, month, job, attempt, kind, pool,
    /// zone, instance_type, capacity_type, commitment, model, class, submitted_by, or any tag
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',', default_value = "model")]
    by: Vec<String>,
    /// What was consumed from then on: a day (2026-03-07), a time (2026-03-07T14:00 or
    /// with a zone, RFC 3339), or a duration back from now (30d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// What was consumed before then, in the same forms; a day means its begin
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Whose hours, days and months, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// Only charges with this; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    filter: Vec<(String, String)>,
    #[command(flatten)]
    whose: Whose,
}

impl Cost {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let client = context.target.connect().await?;
        let now = if self.since.is_some() || self.until.is_some() {
            client.info().await?.market_time.parse().ok()
        } else {
            None
        };
        let query = CostQuery {
            group_by: self.by,
            since: bound(self.since.as_deref(), now),
            until: bound(self.until.as_deref(), now),
            filters: self.filter.into_iter().chain(self.whose.labels(&client).await?).collect(),
            timezone: self.timezone,
        };
        let report = client.cost(query).await?;
        let audit = money::audit(&report);
        for warning in &report.warnings {
            note(format!("warning: {}", one_line(warning)));
        }
        if output.is_json() {
            output.json(&report)?;
        } else {
            show(output, &report)?;
        }
        audit.map_err(|error| {
            Failure::new(Exit::Failed, format!("this report does not add up: {error}"))
        })
    }
}

/// A day or a time, which the scheduler reads; or so long before the market's now.
fn bound(text: Option<&str>, now: Option<Timestamp>) -> String {
    let text = text.unwrap_or_default();
    match (time::parse_duration(text), now) {
        (Ok(span), Some(now)) => {
            let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
            time::add(now, -span).to_string()
        }
        _ => text.to_owned(),
    }
}

fn show(output: &Output, report: &CostReport) -> Result<(), Failure> {
    let total = report.total.clone().unwrap_or_default();
    if report.rows.is_empty() {
        output.line("no charges")?;
    } else {
        output.table(&table(report, &total))?;
    }
    if !report.commitments.is_empty() {
        output.line("")?;
        output.table(&commitments(report))?;
    }
    for line in notes(report, &total) {
        output.line(one_line(&line))?;
    }
    Ok(())
}

/// One column for each part that is not zero everywhere.
pub(super) fn table(report: &CostReport, total: &CostRow) -> Grid {
    let parts = |row: &CostRow| money::states(row).into_iter().chain(money::parts(row));
    let is_used = |name: &str, i: usize| {
        let some = report.rows.iter().any(|row| parts(row).nth(i).is_some_and(|p| p.1 != 0));
        // What is settled is the total where nothing else is.
        some && (name != "SETTLED" || total.settled_micros != total.total_micros)
    };
    let used: Vec<bool> = parts(total).enumerate().map(|(i, (name, _))| is_used(name, i)).collect();
    let periods = report.group_by.iter().any(|by| matches!(by.as_str(), "hour" | "day" | "month"));
    let mut columns: Vec<String> = report.group_by.iter().map(|d| d.to_uppercase()).collect();
    columns.push(">TOTAL".to_owned());
    let names = parts(total).zip(&used).filter(|(_, used)| **used);
    columns.extend(names.map(|((name, _), _)| format!(">{name}")));
    columns.extend([">ON DEMAND", ">SAVED", ">VS OD"].map(str::to_owned));
    let quoted = report.rows.iter().any(|row| row.quoted_micros != 0);
    columns.extend(quoted.then(|| ">QUOTED".to_owned()));
    columns.extend(periods.then(|| "PERIOD".to_owned()));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut grid = Grid::new(&columns);
    let mut add = |keys: Vec<String>, row: &CostRow| {
        let mut cells = keys;
        cells.push(exact(row.total_micros));
        let parts = parts(row).zip(&used).filter(|(_, used)| **used);
        cells.extend(parts.map(|((_, micros), _)| exact(micros)));
        cells.push(exact(row.on_demand_micros));
        cells.push(exact(row.on_demand_micros.saturating_sub(row.total_micros)));
        cells.push(saving(row.total_micros, row.on_demand_micros));
        cells.extend(quoted.then(|| match row.quoted_micros {
            0 => "-".to_owned(),
            micros => exact(micros),
        }));
        cells.extend(periods.then(|| if row.closed { "closed" } else { "open" }.to_owned()));
        grid.row(cells);
    };
    for row in &report.rows {
        let name = |key: &String| if key.is_empty() { "-".to_owned() } else { key.clone() };
        add(row.keys.iter().map(name).collect(), row);
    }
    let blank = report.group_by.len().saturating_sub(1);
    let mut keys = vec![String::new(); blank];
    if !report.group_by.is_empty() {
        keys.insert(0, "sum".to_owned());
        add(keys, total);
    }
    grid
}

/// How well what is paid for already was used.
fn commitments(report: &CostReport) -> Grid {
    let mut grid = Grid::new(&[
        "COMMITMENT",
        "TYPE",
        "ZONE",
        ">MACHINES",
        ">COMMITTED H",
        ">USED H",
        ">UTILISED",
        ">COMMITTED",
        ">UNUSED",
    ]);
    let hours = |seconds: u64| format!("{:.1}", seconds as f64 / 3_600.0);
    for row in &report.commitments {
        grid.row([
            row.name.clone(),
            row.instance_type.clone(),
            row.zone.clone(),
            row.machines.to_string(),
            hours(row.committed_seconds),
            hours(row.used_seconds),
            percent(row.used_seconds as f64 / row.committed_seconds.max(1) as f64),
            exact(row.committed_micros),
            exact(row.unused_micros),
        ]);
    }
    grid
}

/// What the table leaves out.
fn notes(report: &CostReport, total: &CostRow) -> Vec<String> {
    let mut notes = vec![format!(
        "paid {}, on demand it would have been {}{}",
        dollars(total.total_micros),
        dollars(total.on_demand_micros),
        match saving(total.total_micros, total.on_demand_micros).as_str() {
            "" => String::new(),
            saving => format!(" ({saving})"),
        }
    )];
    notes.push(format!(
        "{} cost {} of lost work; startups {}; given back {}",
        count(report.interruptions as usize, "interruption"),
        dollars(total.lost_work_micros),
        dollars(total.startup_micros),
        dollars(-total.waiver_micros)
    ));
    notes.push(format!(
        "deadlines: {} met, {} missed",
        report.deadlines_met, report.deadlines_missed
    ));
    if let Some(quotes) = report.quotes.filter(|quotes| quotes.jobs > 0) {
        let done = match quotes.jobs {
            1 => "1 job that is done:".to_owned(),
            jobs => format!("{jobs} jobs that are done:"),
        };
        notes.push(format!(
            "quotes of {done} half cost at most {:.2} times what was expected, nine of ten at \
             most {:.2} times",
            quotes.median_ratio, quotes.p90_ratio
        ));
    }
    if !report.commitments.is_empty() {
        notes.push(format!(
            "unused commitments: {}, paid by nobody's job and in no row above",
            dollars(report.unused_commitments_micros)
        ));
    }
    if total.accrued_micros != 0 {
        notes.push(format!(
            "{} of it is accrued up to now by machines that are not settled",
            dollars(total.accrued_micros)
        ));
    }
    if total.late_micros != 0 {
        notes.push(format!(
            "{} of it came late: given back after the period was over",
            dollars(total.late_micros)
        ));
    }
    notes.push(period(report));
    notes.extend(report.notes.iter().cloned());
    notes.push(format!("as of {}", moment(&report.as_of)));
    notes
}

/// Of when the report is.
fn period(report: &CostReport) -> String {
    let (since, until) = (moment(&report.since), moment(&report.until));
    let zone = &report.timezone;
    match (report.since.is_empty(), report.until.is_empty()) {
        (true, true) => format!("days and hours are those of {zone}"),
        (false, true) => format!("consumed from {since} on; days and hours are those of {zone}"),
        (true, false) => format!("consumed before {until}; days and hours are those of {zone}"),
        (false, false) => {
            format!("consumed from {since} to {until}; days and hours are those of {zone}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_times_or_spans() {
        let now = "2023-02-15T00:00:00Z".parse().ok();
        assert_eq!(bound(Some("1d"), now), "2023-02-14T00:00:00Z");
        for text in ["2023-02-01T00:00:00Z", "2023-02-01", "yesterday"] {
            assert_eq!(bound(Some(text), now), text, "the scheduler reads it");
        }
        assert_eq!(bound(None, now), "");
    }
}
