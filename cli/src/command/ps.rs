//! `spotwise ps`.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use spotwise_api::client::Client;
use spotwise_api::v1::{InfoResponse, JobSummary, ListJobsRequest};
use spotwise_model::JobState;

use super::whose::Whose;
use super::{Context, key_value};
use crate::exit::Failure;
use crate::format::{dollars, moment_near, percent};
use crate::output::{Grid, Output, note};
use crate::screen::Screen;

/// List jobs: those that are not over, newest first.
///
/// JSON output has all of them, unless --limit says how many.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Only jobs in this state; may be repeated
    #[arg(long, value_name = "STATE", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(JobState::NAMES))]
    state: Vec<String>,
    /// Only jobs of exactly this name
    #[arg(long)]
    name: Option<String>,
    /// Only jobs with this tag (or model=..., class=...); may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    tag: Vec<(String, String)>,
    #[command(flatten)]
    whose: Whose,
    /// Also jobs that are over
    #[arg(short, long, conflicts_with = "state")]
    all: bool,
    /// At most so many, 0 for all. Default: 200; all with --output json
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Keep showing, until interrupted
    #[arg(short, long)]
    watch: bool,
}

/// Prices change each minute, jobs each second.
const REFRESH: Duration = Duration::from_secs(1);

/// Rows of a table where nobody says otherwise.
const MOST_ROWS: u32 = 200;

impl Ps {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        if self.watch && (output.is_json() || !output.terminal) {
            return Err(Failure::usage("--watch draws on a terminal: leave it out here"));
        }
        let client = context.target.connect().await?;
        if output.is_json() {
            let limit = self.limit.unwrap_or(0);
            let (jobs, more) = self.list(&client, limit).await?;
            output.json(&jobs)?;
            if more {
                note(format!("the first {limit} jobs only: --limit 0 lists all"));
            }
            return Ok(());
        }
        if !self.watch {
            let text = self.text(&client, output).await?;
            return output.line(text);
        }
        let mut screen = Screen::new();
        loop {
            screen.draw(&self.text(&client, output).await?)?;
            tokio::time::sleep(REFRESH).await;
        }
    }

    /// At most `limit`, 0 for all; and whether there are more.
    async fn list(&self, client: &Client, limit: u32) -> Result<(Vec<JobSummary>, bool), Failure> {
        let states = if self.all {
            Vec::new()
        } else if self.state.is_empty() {
            ["held", "waiting", "active"].map(str::to_owned).to_vec()
        } else {
            self.state.clone()
        };
        let request = ListJobsRequest {
            states,
            name: self.name.clone().unwrap_or_default(),
            tags: self.tag.iter().cloned().chain(self.whose.labels(client).await?).collect(),
            ..ListJobsRequest::default()
        };
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        Ok(client.list_all(request, limit).await?)
    }

    async fn text(&self, client: &Client, output: &Output) -> Result<String, Failure> {
        // Who keeps looking is not told how many there are: that takes a look at each.
        let limit = self.limit.unwrap_or(MOST_ROWS);
        let (mut jobs, mut more) = self.list(client, if self.watch { limit } else { 0 }).await?;
        let all = jobs.len();
        let rows = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        jobs.truncate(rows);
        more |= all > rows;
        let info = client.info().await?;
        let mut text = if jobs.is_empty() {
            let hint = if self.all || !self.state.is_empty() {
                ""
            } else {
                " (--all shows those that are over)"
            };
            format!("no jobs{hint}")
        } else {
            let table = table(&jobs, info.market_time.parse().ok());
            if self.watch { output.render_wide(&table) } else { output.render(&table) }
        };
        if more && self.watch {
            text.push_str(&format!("\nand more: --limit 0 shows more than {limit}"));
        } else if more {
            text.push_str(&format!("\n{limit} of {all} shown: --limit 0 shows all"));
        }
        text.push_str(&format!("\n{}", output.dim(&status_line(&info))));
        for cost in info.bands.iter().flat_map(|band| &band.costs) {
            text.push_str(&format!("\n{}", output.dim(&crate::text::one_line(cost))));
        }
        Ok(text)
    }
}

fn table(jobs: &[JobSummary], now: Option<Timestamp>) -> Grid {
    let mut grid = Grid::new(&[
        "ID", "NAME", "MODEL", "STATE", ">DONE", ">SPENT", ">TRIES", ">INT", "DEADLINE", "DETAIL",
    ]);
    for job in jobs {
        let deadline = match job.deadline_outcome.as_str() {
            "" => moment_near(&job.deadline, now),
            outcome => outcome.to_owned(),
        };
        grid.row([
            job.id.clone(),
            job.name.clone(),
            job.model.clone(),
            job.state.clone(),
            percent(job.progress),
            dollars(job.spent_micros),
            job.attempts.to_string(),
            job.interruptions.to_string(),
            deadline,
            job.detail.clone(),
        ]);
    }
    grid
}

/// `market 2023-02-15 08:40Z (synthetic, seed 7, 240x, accelerators simulated on CPUs)`.
pub(super) fn status_line(info: &InfoResponse) -> String {
    let mut market = vec![info.market.clone()];
    if info.speed > 1 {
        market.push(format!("{}x", info.speed));
    }
    if info.simulated_accelerators {
        market.push("accelerators simulated on CPUs".to_owned());
    }
    let line = format!(
        "{} market time ({}); {} active, {} waiting, {} held{}; {} spent",
        crate::format::moment(&info.market_time),
        market.join(", "),
        info.jobs_active,
        info.jobs_waiting,
        info.jobs_held,
        machines(info),
        dollars(info.spent_micros)
    );
    crate::text::one_line(&line).into_owned()
}

/// `; 3 machines`, by state where they do not all take work; empty for none.
fn machines(info: &InfoResponse) -> String {
    let all: u32 = info.machines.values().sum();
    let registered = info.machines.get("registered").copied().unwrap_or(0);
    let count = crate::format::count(usize::try_from(all).unwrap_or(usize::MAX), "machine");
    match all {
        0 => String::new(),
        all if all == registered => format!("; {count}"),
        _ => format!("; {count} ({})", crate::format::by_state(&info.machines).join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_counted_by_state_where_that_says_something() {
        let of = |states: &[(&str, u32)]| InfoResponse {
            machines: states.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect(),
            ..InfoResponse::default()
        };
        assert_eq!(machines(&of(&[])), "");
        assert_eq!(machines(&of(&[("registered", 1)])), "; 1 machine");
        assert_eq!(
            machines(&of(&[("registered", 4), ("booting", 1)])),
            "; 5 machines (1 booting, 4 registered)"
        );
    }
}
