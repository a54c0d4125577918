//! Waiting for jobs to end, and what their end means for the exit code.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use spotwise_api::client::{Client, ClientError, ErrorKind};
use spotwise_api::v1::{JobSummary, ListJobsRequest};

use crate::exit::{Exit, Failure};
use crate::format::{bar, count, dollars, percent};
use crate::{output, text};

/// The wish to wait.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// Wait until the jobs have ended; the exit code says how
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so long (the jobs go on) and exit with 6
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = crate::format::duration)]
    timeout: Option<Duration>,
}

/// A person sees progress, and a scheduler is not worn out by it.
const POLL: Duration = Duration::from_secs(1);
/// A scheduler that is started again is back within seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks in a row at which nothing moved by itself before that is believed.
const STANDSTILL: u32 = 2;

/// What came of waiting.
pub(crate) struct Waited {
    /// The jobs as they were seen last, in the order asked for.
    pub(crate) jobs: Vec<JobSummary>,
    /// How many were still going on when time was up.
    left: usize,
}

impl Waited {
    /// A failure where time was up.
    pub(crate) fn in_time(&self) -> Result<(), Failure> {
        if self.left == 0 {
            return Ok(());
        }
        let left = count(self.left, "job");
        Err(Failure::new(Exit::Timeout, format!("{left} not done in time; still going on")))
    }
}

impl WaitArgs {
    /// Waits if asked to; then gives the jobs as they ended.
    pub(crate) async fn wait(
        &self,
        client: &Client,
        jobs: &[JobSummary],
    ) -> Result<Option<Vec<JobSummary>>, Failure> {
        if !self.wait {
            return Ok(None);
        }
        let waited = until_over(client, jobs, self.timeout).await?;
        waited.in_time()?;
        Ok(Some(waited.jobs))
    }
}

/// Waits until every job has ended, or nothing moves those that have not by itself, or
/// time is up.
pub(crate) async fn until_over(
    client: &Client,
    jobs: &[JobSummary],
    timeout: Option<Duration>,
) -> Result<Waited, Failure> {
    let started = Instant::now();
    let mut progress = Progress::default();
    let mut open: BTreeSet<String> = jobs.iter().map(|job| job.id.clone()).collect();
    let mut ended: BTreeMap<String, JobSummary> = BTreeMap::new();
    let (mut last_answer, mut still) = (Instant::now(), 0);
    let mut seen: Vec<JobSummary> = Vec::new();
    loop {
        match look(client, &mut open, &mut ended).await {
            Ok(live) => {
                last_answer = Instant::now();
                progress.show(&live, ended.len());
                let blocked = !live.is_empty() && live.iter().all(|job| !job.blocked.is_empty());
                still = if blocked { still + 1 } else { 0 };
                seen = live;
            }
            Err(error)
                if *error.kind() == ErrorKind::Unavailable && last_answer.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
        let late = timeout.is_some_and(|timeout| started.elapsed() >= timeout);
        if open.is_empty() || still >= STANDSTILL || late {
            progress.end();
            let left = if still >= STANDSTILL { 0 } else { open.len() };
            ended.extend(seen.into_iter().map(|job| (job.id.clone(), job)));
            let last = |job: &JobSummary| ended.remove(&job.id).unwrap_or_else(|| job.clone());
            return Ok(Waited { jobs: jobs.iter().map(last).collect(), left });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How jobs ended, as an exit code: a failure counts more than a rejection, which is
/// what a job is for now that a budget holds up.
pub(crate) fn outcome(jobs: &[JobSummary]) -> Result<(), Failure> {
    let any = |states: &[&str]| jobs.iter().any(|job| states.contains(&job.state.as_str()));
    if any(&["failed", "cancelled"]) {
        Err(Failure::said(Exit::Failed))
    } else if any(&["rejected"]) || jobs.iter().any(|job| !job.blocked.is_empty()) {
        Err(Failure::said(Exit::Rejected))
    } else {
        Ok(())
    }
}

/// Moves jobs that have ended from `open` to `ended`; gives those that live.
/// One page of live jobs costs the same for one job as for an array of many.
async fn look(
    client: &Client,
    open: &mut BTreeSet<String>,
    ended: &mut BTreeMap<String, JobSummary>,
) -> Result<Vec<JobSummary>, ClientError> {
    let states = ["held", "waiting", "active"].map(str::to_owned).to_vec();
    let request = ListJobsRequest { states, ..ListJobsRequest::default() };
    let (live, _) = client.list_all(request, usize::MAX).await?;
    let mut live: Vec<JobSummary> = live.into_iter().filter(|job| open.contains(&job.id)).collect();
    let listed: BTreeSet<&str> = live.iter().map(|job| job.id.as_str()).collect();
    let gone: Vec<String> =
        open.iter().filter(|id| !listed.contains(id.as_str())).cloned().collect();
    for id in gone {
        // A job can move from page to page between two answers: look at it.
        let Some(job) = client.get(&id).await?.job else { continue };
        if job.ended.is_empty() {
            live.push(job);
        } else {
            open.remove(&id);
            ended.insert(id, job);
        }
    }
    Ok(live)
}

/// One line on a terminal, written over; else a line for each change, or, of many jobs, one
/// about all of them from time to time.
#[derive(Default)]
struct Progress {
    states: BTreeMap<String, String>,
    drawn: bool,
    /// When a line about all of them was written last.
    told: Option<Instant>,
}

/// More jobs than a log has a line for at each change.
const MANY: usize = 20;
/// How often a log has a line about many jobs.
const LOG_PAUSE: Duration = Duration::from_secs(30);

impl Progress {
    fn show(&mut self, live: &[JobSummary], ended: usize) {
        if std::io::stderr().is_terminal() {
            let line = match live {
                [job] if ended == 0 => job_line(job),
                _ => line_of_all(live, ended),
            };
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r{line}\x1b[K").and_then(|()| stderr.flush());
            self.drawn = true;
            return;
        }
        if live.len() + ended > MANY {
            if self.told.is_none_or(|told| told.elapsed() >= LOG_PAUSE) {
                self.told = Some(Instant::now());
                output::note(line_of_all(live, ended));
            }
            return;
        }
        for job in live {
            let state = format!("{} {}", job.state, job.detail);
            if self.states.get(&job.id) != Some(&state) {
                output::note(job_line(job));
                self.states.insert(job.id.clone(), state);
            }
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            output::note("");
        }
    }
}

fn line_of_all(live: &[JobSummary], ended: usize) -> String {
    let active = live.iter().filter(|job| job.state == "active").count();
    let spent = live.iter().map(|job| job.spent_micros).sum();
    format!(
        "{} done, {active} active, {} waiting, {} spent on live jobs",
        count(ended, "job"),
        live.len() - active,
        dollars(spent)
    )
}

fn job_line(job: &JobSummary) -> String {
    let line = format!(
        "{} {}  {}  {} {}  {}  {}",
        job.id,
        job.name,
        job.state,
        bar(job.progress, 20),
        percent(job.progress),
        dollars(job.spent_micros),
        job.detail
    );
    text::one_line(line.trim_end()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(states: &[&str]) -> Vec<JobSummary> {
        let job = |state: &&str| JobSummary { state: (*state).to_owned(), ..JobSummary::default() };
        states.iter().map(job).collect()
    }

    #[test]
    fn the_worst_end_decides() {
        let exit = |states: &[&str]| outcome(&jobs(states)).err().and_then(|f| f.exit());
        assert_eq!(exit(&["succeeded", "succeeded"]), None);
        assert_eq!(exit(&["succeeded", "rejected"]), Some(Exit::Rejected));
        let held = JobSummary { blocked: "no money".to_owned(), ..JobSummary::default() };
        let failure = outcome(std::slice::from_ref(&held)).unwrap_err();
        assert_eq!(failure.exit(), Some(Exit::Rejected));
        assert_eq!(exit(&["rejected", "failed"]), Some(Exit::Failed));
        assert_eq!(exit(&["cancelled"]), Some(Exit::Failed));
        assert_eq!(exit(&["succeeded", "skipped"]), None, "nothing was needed");
    }
}
