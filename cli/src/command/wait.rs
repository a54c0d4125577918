//! `spotwise wait`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use spotwise_api::client::Client;
use spotwise_api::v1::{JobSummary, ListJobsRequest};
use spotwise_model::JobId;

use super::{Context, submit};
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::wait;

/// Wait until jobs have ended; the exit code says how.
///
/// It ends too where nothing moves a job by itself, such as one whose budget is used
/// up, and says which command does. A scheduler that is started again is waited for.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Wait {
    /// `j17`, `17`, a job's name (the newest of that name; all elements of an array), or
    /// an element as `ps` shows it: `infer[3]`
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Give up after so long (the jobs go on) and exit with 6
    #[arg(long, value_name = "DURATION", value_parser = crate::format::duration)]
    timeout: Option<Duration>,
}

impl Wait {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.target.connect().await?;
        let mut jobs: Vec<JobSummary> = Vec::new();
        let mut seen = BTreeSet::new();
        for named in &self.jobs {
            let found = find(&client, named).await?;
            jobs.extend(found.into_iter().filter(|job| seen.insert(job.id.clone())));
        }
        let waited = wait::until_over(&client, &jobs, self.timeout).await?;
        let output = &context.output;
        if output.is_json() {
            let (ended, open): (Vec<_>, Vec<_>) =
                waited.jobs.iter().partition(|job| !job.ended.is_empty());
            output.json(&json!({ "ended": ended, "open": open }))?;
        }
        waited.in_time()?;
        submit::show_ends(output, &waited.jobs)?;
        wait::outcome(&waited.jobs)
    }
}

/// The jobs that a name stands for.
async fn find(client: &Client, named: &str) -> Result<Vec<JobSummary>, Failure> {
    if named.parse::<JobId>().is_ok() || named.contains('[') {
        return Ok(client.get(named).await?.job.into_iter().collect());
    }
    let name = named.to_owned();
    let mut request = ListJobsRequest { name, page_size: 500, ..ListJobsRequest::default() };
    let mut newest: Vec<JobSummary> = Vec::new();
    loop {
        let page = client.list(request.clone()).await?;
        let group = newest.first().or(page.jobs.first()).map(|job| job.group.clone());
        let before = newest.len() + page.jobs.len();
        newest.extend(page.jobs.into_iter().filter(|job| Some(&job.group) == group.as_ref()));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || newest.len() < before {
            break;
        }
    }
    newest.reverse();
    if newest.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("there is no job named {named}")));
    }
    Ok(newest)
}
