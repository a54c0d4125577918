//! What the final report says, gathered from the scheduler, and the checks on
//! it.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_api::client::Client;
use spotwise_api::v1::{AttemptSummary, CostQuery, CostReport, CostRow, JobDetail, JobSummary};

use crate::exit::Failure;
use crate::money;

/// One job with its attempts.
#[derive(Clone, Default)]
pub(super) struct JobFacts {
    /// How it ended.
    pub(super) job: JobSummary,
    /// In the order of their numbers.
    pub(super) attempts: Vec<AttemptSummary>,
    /// Ids of those that went on from a checkpoint.
    pub(super) resumed: BTreeSet<String>,
}

/// Everything the final report is made of.
#[derive(Default)]
pub(super) struct Facts {
    /// In the order of their submission.
    pub(super) jobs: Vec<JobFacts>,
    /// One row an attempt; the empty key is idle time.
    pub(super) by_attempt: CostReport,
    /// One row a model.
    pub(super) by_model: CostReport,
    /// One row a team.
    pub(super) by_team: CostReport,
}

impl Facts {
    /// Asks for everything.
    pub(super) async fn gather(client: &Client, ids: &[String]) -> Result<Self, Failure> {
        let mut jobs = Vec::new();
        for id in ids {
            let JobDetail { job, attempts, events, .. } = client.get(id).await?;
            let resumed = events.into_iter().filter(|event| event.kind == "resumed");
            let resumed = resumed.map(|event| event.attempt).collect();
            jobs.push(JobFacts { job: job.unwrap_or_default(), attempts, resumed });
        }
        let by = |dimension: &str| CostQuery {
            group_by: vec![dimension.to_owned()],
            ..CostQuery::default()
        };
        Ok(Self {
            jobs,
            by_attempt: client.cost(by("attempt")).await?,
            by_model: client.cost(by("model")).await?,
            by_team: client.cost(by("Team")).await?,
        })
    }

    /// Whether every charge is in the ledger.
    pub(super) fn is_settled(&self) -> bool {
        let attempts = || self.jobs.iter().flat_map(|job| &job.attempts);
        self.by_attempt.unsettled_micros == 0
            && attempts().all(|attempt| attempt.state == "settled")
            && self.inexact_sums().is_empty()
    }

    /// The sum of all charges.
    pub(super) fn total(&self) -> CostRow {
        self.by_attempt.total.clone().unwrap_or_default()
    }

    /// Charges of each attempt by its id.
    pub(super) fn cost_of_attempts(&self) -> BTreeMap<&str, &CostRow> {
        let rows = self.by_attempt.rows.iter();
        rows.filter_map(|row| row.keys.first().map(|key| (key.as_str(), row))).collect()
    }

    /// What must not be: sums that are not exact, jobs that failed, deadlines
    /// that were missed.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.inexact_sums();
        for JobFacts { job, .. } in &self.jobs {
            if matches!(job.state.as_str(), "failed" | "rejected" | "cancelled") {
                problems.push(format!("{} {} {}: {}", job.id, job.name, job.state, job.detail));
            }
            if job.deadline_outcome == "missed" {
                problems.push(format!("{} {} missed its deadline", job.id, job.name));
            }
        }
        problems
    }

    /// Reports whose parts do not add up to the whole, or that have another
    /// whole than the one by attempts.
    pub(super) fn inexact_sums(&self) -> Vec<String> {
        let whole = self.total().total_micros;
        let mut inexact = Vec::new();
        for (name, report) in
            [("attempts", &self.by_attempt), ("models", &self.by_model), ("teams", &self.by_team)]
        {
            if let Err(error) = money::audit(report) {
                inexact.push(format!("the sums by {name} are not exact: {error}"));
            }
            let total = report.total.as_ref().map_or(0, |row| row.total_micros);
            if total != whole {
                inexact.push(format!(
                    "by {name} the total is {total}, by attempts {whole} micro-dollars"
                ));
            }
        }
        inexact
    }

    /// Attempts that lost their capacity, of jobs that succeeded all the same.
    pub(super) fn interruptions_survived(&self) -> usize {
        self.jobs
            .iter()
            .filter(|facts| facts.job.state == "succeeded")
            .flat_map(|facts| &facts.attempts)
            .filter(|attempt| attempt.outcome == "interrupted")
            .count()
    }

    /// Attempts that went on from a checkpoint.
    pub(super) fn resumes(&self) -> usize {
        self.jobs.iter().map(|facts| facts.resumed.len()).sum()
    }

    /// Attempts on on-demand machines of jobs that were on spot before: each a
    /// decision that its reason explains.
    pub(super) fn fallbacks(&self) -> Vec<(&JobSummary, &AttemptSummary)> {
        let mut fallbacks = Vec::new();
        for JobFacts { job, attempts, .. } in &self.jobs {
            let spot = attempts.iter().position(|attempt| attempt.capacity_type == "spot");
            let after = attempts.iter().skip(spot.map_or(attempts.len(), |at| at + 1));
            let on_demand = after.filter(|attempt| attempt.capacity_type == "on-demand");
            fallbacks.extend(on_demand.map(|attempt| (job, attempt)));
        }
        fallbacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: &[(&str, i64)]) -> CostReport {
        let row = |key: &str, micros: i64| CostRow {
            keys: vec![key.to_owned()],
            total_micros: micros,
            compute_micros: micros,
            settled_micros: micros,
            ..CostRow::default()
        };
        CostReport {
            rows: rows.iter().map(|(key, micros)| row(key, *micros)).collect(),
            total: Some(row("", rows.iter().map(|row| row.1).sum())),
            ..CostReport::default()
        }
    }

    fn attempt(capacity_type: &str, outcome: &str) -> AttemptSummary {
        AttemptSummary {
            capacity_type: capacity_type.into(),
            outcome: outcome.into(),
            state: "settled".into(),
            ..AttemptSummary::default()
        }
    }

    fn facts() -> Facts {
        let job = JobSummary { state: "succeeded".into(), ..JobSummary::default() };
        let attempts = vec![attempt("spot", "interrupted"), attempt("on-demand", "succeeded")];
        Facts {
            jobs: vec![
                JobFacts { job: job.clone(), attempts, ..JobFacts::default() },
                JobFacts {
                    job,
                    attempts: vec![attempt("on-demand", "succeeded")],
                    ..JobFacts::default()
                },
            ],
            by_attempt: report(&[("j1.1", 3), ("j1.2", 4), ("", 1)]),
            by_model: report(&[("lm", 7), ("", 1)]),
            by_team: report(&[("a", 8)]),
        }
    }

    #[test]
    fn good_facts_have_no_problems() {
        assert_eq!(facts().problems(), Vec::<String>::new());
    }

    #[test]
    fn each_problem_is_seen() {
        let mut split = facts();
        split.by_team = report(&[("a", 9)]);
        assert!(split.problems().concat().contains("by teams the total is 9"));
        let mut rounded = facts();
        rounded.by_attempt.rows[0].total_micros += 1;
        assert!(rounded.problems().concat().contains("by attempts are not exact"));
        let mut late = facts();
        late.jobs[0].job.deadline_outcome = "missed".into();
        assert!(late.problems().concat().contains("missed its deadline"));
        let mut failed = facts();
        failed.jobs[1].job.state = "failed".into();
        assert_eq!(failed.problems().len(), 1);
    }

    #[test]
    fn a_fallback_follows_spot() {
        let facts = facts();
        assert_eq!(facts.fallbacks().len(), 1, "a job that began on demand is none");
        assert_eq!(facts.interruptions_survived(), 1);
    }

    #[test]
    fn open_charges_are_waited_for() {
        assert!(facts().is_settled());
        let mut accrued = facts();
        accrued.by_attempt.unsettled_micros = 1;
        assert!(!accrued.is_settled());
        let mut between_two_answers = facts();
        between_two_answers.by_team = report(&[("a", 9)]);
        assert!(!between_two_answers.is_settled());
        let mut running = facts();
        running.jobs[1].attempts[0].state = "ended".into();
        assert!(!running.is_settled());
    }
}
