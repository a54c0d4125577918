//! `spotwise cost`.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use spotwise_api::v1::{CostQuery, CostReport, CostRow};
use spotwise_model::time;

use super::{Context, key_value};
use crate::exit::{Exit, Failure};
use crate::format::{count, dollars, exact, moment, percent, saving};
use crate::money;
use crate::output::{Grid, Output};
use crate::text::one_line;

/// Show what was paid, and what it would have cost on demand.
///
/// All amounts are exact to the micro-dollar; the last line is the sum of the
/// others, and it is checked.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// A row for each value of these: job, attempt, kind, pool, zone,
    /// instance_type, capacity_type, commitment, model, class, or any tag
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',', default_value = "model")]
    by: Vec<String>,
    /// Charges from then on: a time (RFC 3339) or a duration back from now (30d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Charges before then: a time (RFC 3339) or a duration back from now
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only charges with this; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    filter: Vec<(String, String)>,
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
            since: bound("--since", self.since.as_deref(), now)?,
            until: bound("--until", self.until.as_deref(), now)?,
            filters: self.filter.into_iter().collect(),
        };
        let report = client.cost(query).await?;
        let audit = money::audit(&report);
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

/// A time, or so long before the market's now.
fn bound(flag: &str, text: Option<&str>, now: Option<Timestamp>) -> Result<String, Failure> {
    let Some(text) = text else { return Ok(String::new()) };
    if let (Ok(span), Some(now)) = (time::parse_duration(text), now) {
        let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        return Ok(time::add(now, -span).to_string());
    }
    text.parse::<Timestamp>().map(|t| t.to_string()).map_err(|_| {
        Failure::usage(format!(
            "{flag}: `{text}` is neither a time such as 2026-08-01T00:00:00Z nor a duration such as 30d"
        ))
    })
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
    let parts = money::parts(total);
    let used: Vec<bool> = (0..parts.len())
        .map(|i| report.rows.iter().any(|row| money::parts(row).get(i).is_some_and(|p| p.1 != 0)))
        .collect();
    let mut columns: Vec<String> = report.group_by.iter().map(|d| d.to_uppercase()).collect();
    columns.push(">TOTAL".to_owned());
    let names = parts.iter().zip(&used).filter(|(_, used)| **used);
    columns.extend(names.map(|((name, _), _)| format!(">{name}")));
    columns.extend([">ON DEMAND", ">SAVED", ">VS OD"].map(str::to_owned));
    let quoted = report.rows.iter().any(|row| row.quoted_micros != 0);
    columns.extend(quoted.then(|| ">QUOTED".to_owned()));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut grid = Grid::new(&columns);
    let mut add = |keys: Vec<String>, row: &CostRow| {
        let mut cells = keys;
        cells.push(exact(row.total_micros));
        let parts = money::parts(row).into_iter().zip(&used).filter(|(_, used)| **used);
        cells.extend(parts.map(|((_, micros), _)| exact(micros)));
        cells.push(exact(row.on_demand_micros));
        cells.push(exact(row.on_demand_micros.saturating_sub(row.total_micros)));
        cells.push(saving(row.total_micros, row.on_demand_micros));
        cells.extend(quoted.then(|| match row.quoted_micros {
            0 => "-".to_owned(),
            micros => exact(micros),
        }));
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
    if report.unsettled_micros != 0 {
        notes.push(format!(
            "not in the table: {} on live machines, not yet settled",
            dollars(report.unsettled_micros)
        ));
    }
    notes.extend(report.notes.iter().cloned());
    notes.push(format!("as of {}", moment(&report.as_of)));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_times_or_spans() {
        let now = "2023-02-15T00:00:00Z".parse().ok();
        assert_eq!(bound("--since", Some("1d"), now).unwrap(), "2023-02-14T00:00:00Z");
        let time = "2023-02-01T00:00:00Z";
        assert_eq!(bound("--since", Some(time), now).unwrap(), time);
        assert_eq!(bound("--since", None, now).unwrap(), "");
        assert!(bound("--since", Some("yesterday"), now).is_err());
    }
}
