//! Changes by its owner to the terms of a job, with a preview of their effect.

use serde::Serialize;
use sha2::{Digest, Sha256};
use spotwise_api::convert::time_text;
use spotwise_api::v1;
use spotwise_model::quote::Quote;
use spotwise_model::spec::{self, Edit};
use spotwise_model::time::{between, human};
use spotwise_model::{Job, JobId};
use spotwise_solver::PlanJob;

use super::job_quote::reason;
use super::submit::unexpected;
use super::{ServiceError, Session, limits};
use crate::token::hex;
use spotwise_control::command::EditJob;
use spotwise_control::core::{Change, State};
use spotwise_control::intake;
use spotwise_control::{Command, Reply};
use spotwise_model::access::Action;

impl Session {
    /// Changes what is named of a job that has not ended, or says what that would do.
    pub async fn edit(&self, request: v1::EditRequest) -> Result<v1::EditResponse, ServiceError> {
        let key = self.idempotency_key(&request.idempotency_key)?;
        limits::document_size(request.document.len())?;
        let format = limits::format(&request.format)?;
        let edit = spec::parse_edit(request.document.as_bytes(), format)?;
        let only_budget = edit.budget.is_some()
            && edit == spec::Edit { budget: edit.budget, ..Default::default() };
        self.may(if only_budget { Action::EditBudgets } else { Action::EditJobs })?;
        let job = self.job_id(&request.job).await?;
        let hash = hash(job, &edit)?;
        let known = match &key {
            Some(key) => self.parts.store.submission(key).await?,
            None => None,
        };
        let known = known.map(|record| (record.document_hash, record.jobs));
        let stored = self.stored_job(job).await?;
        if known.is_none() && stored.state.is_terminal() {
            let state = stored.state.name();
            let message =
                format!("{job} is {state}, and its terms are what they were; resubmit it");
            return Err(ServiceError::conflict("job_ended", message));
        }
        let used = self.used(job).await?;
        let asked = EditJob { job, edit, key, hash, known, used };
        if request.dry_run {
            let (edited, words) = self.edited(asked).await?;
            return self.would(edited, words).await;
        }
        match self.command(Command::Edit(asked)).await? {
            Reply::Edited { words, replayed, .. } => {
                let (now, _) = self.job(job).await?;
                Ok(v1::EditResponse { replayed, ..self.would(now, words).await? })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The job as it would be, and what would change.
    async fn edited(&self, asked: EditJob) -> Result<(Job, Vec<String>), ServiceError> {
        let config = self.parts.config.control.clone();
        let id = asked.job;
        let plan = move |state: &State, now| {
            let (changes, words) = intake::changed(state, &asked, &config, now)?;
            let made = changes.into_iter().find_map(|change| match change {
                Change::Job(job) if job.id == id => Some(*job),
                _ => None,
            });
            Ok((made.or_else(|| state.jobs.get(&id).cloned()), words))
        };
        let answer: Result<_, spotwise_control::Refusal> = self.parts.handle.ask(plan).await?;
        let (job, words) = answer?;
        Ok((job.ok_or_else(|| super::no_such_job(id))?, words))
    }

    /// What would happen to a job on these terms.
    async fn would(
        &self,
        job: Job,
        changes: Vec<String>,
    ) -> Result<v1::EditResponse, ServiceError> {
        let live = self.live(vec![job.id]).await?;
        let row = spotwise_api::convert::job_summary(&job, &live.figures(job.id));
        if job.state.is_terminal() {
            return Ok(v1::EditResponse { job: Some(row), changes, ..Default::default() });
        }
        let spent = job.spent.saturating_add(live.accrued_by(job.id));
        let saved = match live.state.live_attempt(job.id) {
            Some(attempt) => live.state.progress_of(attempt),
            None => job.saved_progress(),
        };
        let budget_left = job.spec.budget.map(|budget| budget - spent);
        let deadline = self.effective_deadline(&job).await?;
        let barred = live.state.pools.barred(&job.spec);
        let asked =
            PlanJob { saved, quoted: true, barred, ..PlanJob::new(&job, deadline, budget_left) };
        let (quote, offers) = self.quote_of(asked).await?;
        let offer = quote.offer.as_ref();
        Ok(v1::EditResponse {
            warnings: warnings(&job, &quote),
            p50_micros: quote.cost.p50.micros(),
            p90_micros: quote.cost.p90.micros(),
            finish_p50: offer.map(|_| time_text(quote.finish.p50)).unwrap_or_default(),
            finish_p90: offer.map(|_| time_text(quote.finish.p90)).unwrap_or_default(),
            reason: reason(&quote, &offers),
            job: Some(row),
            changes,
            replayed: false,
        })
    }
}

fn warnings(job: &Job, quote: &Quote) -> Vec<String> {
    let mut warnings = Vec::new();
    if quote.offer.is_some() && quote.finish.p50 > job.deadline {
        let late = human(between(job.deadline, quote.finish.p50));
        warnings.push(format!("it is expected to be done {late} after its deadline"));
    }
    let left = job.spec.budget.map(|budget| budget - job.spent);
    if let Some(left) = left.filter(|left| quote.cost.p50 > *left) {
        warnings.push(format!(
            "what is left of its budget, {}, does not hold what going on is expected to cost, {}",
            left.human(),
            quote.cost.p50.human()
        ));
    }
    warnings
}

fn hash(job: JobId, edit: &Edit) -> Result<String, ServiceError> {
    #[derive(Serialize)]
    struct Canonical<'e> {
        edit: JobId,
        of: &'e Edit,
    }
    let text = serde_json::to_string(&Canonical { edit: job, of: edit })
        .map_err(|error| ServiceError::internal("writing an edit", error))?;
    Ok(hex(&Sha256::digest(text)))
}
