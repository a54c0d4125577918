//! Listing and showing jobs, and cancelling them.

use std::collections::{BTreeMap, VecDeque};

use spotwise_api::convert::{attempt_summary, deadline_source, quote_review};
use spotwise_api::v1;
use spotwise_model::{AttemptId, Job, JobId, JobState, Money};

use super::assignment::shared_dir;
use super::live::LiveSnapshot;
use super::names::{Named, element, elements, over_already};
use super::submit::unexpected;
use super::watch::event;
use super::{ServiceError, Session, limits};
use spotwise_control::core::EventKind;
use spotwise_control::{Command, Reply};
use spotwise_model::access::Action;
use spotwise_store::{JobFilter, LedgerFilter};

/// Events shown with a job, the newest ones: a job that commits a checkpoint a minute has
/// 1,440 a day.
const SHOWN_EVENTS: usize = 500;
/// Warnings that are shown even if newer events would displace them.
const SHOWN_WARNINGS: usize = 100;

fn is_warning(event: &v1::Event) -> bool {
    event.kind == EventKind::Warning.name()
}

fn dependency(job: &Job, parent: JobId) -> v1::Dependency {
    v1::Dependency { job: parent.to_string(), on: job.condition(parent).name().to_owned() }
}

impl Session {
    /// One job with its attempts and its history.
    pub async fn get(&self, request: v1::GetJobRequest) -> Result<v1::JobDetail, ServiceError> {
        self.may(Action::ViewJobs)?;
        let id = self.job_id(&request.job).await?;
        let (job, live) = self.job(id).await?;
        let document = serde_json::to_string(&*job.spec)
            .map_err(|error| ServiceError::internal("writing a document", error))?;
        let (events, earlier_events) = self.last_events(id).await?;
        Ok(v1::JobDetail {
            attempts: self.attempts(id, &live).await?,
            after: job.after.iter().map(ToString::to_string).collect(),
            resubmission_of: job
                .resubmission
                .as_ref()
                .map_or(String::new(), |it| it.of.to_string()),
            resubmitted_as: self.resubmitted_as(&job).await?,
            shared_dir: shared_dir(&job, &self.parts.config).display().to_string(),
            dependencies: job.after.iter().map(|id| dependency(&job, *id)).collect(),
            document,
            events,
            earlier_events,
            outputs: self.outputs(&job).await,
            deadline_source: deadline_source(job.deadline_source).to_owned(),
            quote: quote_review(
                &job,
                job.spent.saturating_add(live.accrued_by(id)),
                !live.state.jobs.contains_key(&id),
            ),
            job: Some(live.row(&job)),
        })
    }

    /// A page of jobs, newest first.
    pub async fn list(
        &self,
        request: v1::ListJobsRequest,
    ) -> Result<v1::ListJobsResponse, ServiceError> {
        self.may(Action::ViewJobs)?;
        limits::states(&request.states)?;
        limits::text("name", &request.name)?;
        limits::filters("tags", request.tags.iter())?;
        let size = limits::page_size(request.page_size)?;
        let filter = JobFilter {
            states: request.states,
            name: Some(request.name).filter(|name| !name.is_empty()),
            tags: request.tags,
            teams: self.scope().teams.clone(),
            before: limits::read_page_token(&request.page_token)?.map(JobId),
            limit: size + 1,
        };
        if let Some((name, _)) = filter.name.as_deref().and_then(element) {
            return self.list_element(name.to_owned(), filter).await;
        }
        let mut jobs = self.parts.store.list(&filter).await?;
        let more = jobs.len() > size as usize;
        jobs.truncate(size as usize);
        let last = jobs.last().filter(|_| more).map(|job| job.id);
        let live = self.live(jobs.iter().map(|job| job.id).collect()).await?;
        Ok(v1::ListJobsResponse {
            jobs: jobs.iter().map(|job| live.row(job)).collect(),
            next_page_token: last.map(|last| limits::page_token(last.0)).unwrap_or_default(),
        })
    }

    /// A list of one element of an array, if it matches the rest of the filter.
    async fn list_element(
        &self,
        array: String,
        filter: JobFilter,
    ) -> Result<v1::ListJobsResponse, ServiceError> {
        let id = match self.job_id(filter.name.as_deref().unwrap_or_default()).await {
            Ok(id) => id,
            Err(ServiceError::NotFound(_)) => return Ok(v1::ListJobsResponse::default()),
            Err(error) => return Err(error),
        };
        let before = Some(JobId(id.0.saturating_add(1)));
        let filter = JobFilter { name: Some(array), before, limit: 1, ..filter };
        let found = self.parts.store.list(&filter).await?;
        let ids: Vec<JobId> = found.iter().map(|job| job.id).filter(|it| *it == id).collect();
        Ok(v1::ListJobsResponse { jobs: self.rows(&ids).await?, ..Default::default() })
    }

    /// Cancels a job, durably; given the name of an array, all its elements; with `group`,
    /// all jobs of its submission.
    pub async fn cancel(
        &self,
        request: v1::CancelRequest,
    ) -> Result<v1::CancelResponse, ServiceError> {
        self.may(Action::CancelJobs)?;
        let id = match self.named(&request.job).await? {
            Named::Array { first, size } if !request.group => {
                return self.cancel_array(&request.job, first, size).await;
            }
            Named::Array { first: id, .. } | Named::One(id) => id,
        };
        let job = self.stored_job(id).await?;
        if request.group {
            self.check_group(&job).await?;
        }
        let target = if request.group { self.live_member(&job).await? } else { Some(id) };
        let cancelled = match target {
            Some(target) if request.group || !job.state.is_terminal() => {
                self.cancel_by(Command::Cancel { job: target, group: request.group }).await?
            }
            _ => Vec::new(),
        };
        if !cancelled.is_empty() {
            let note = self.others_named(&request.job, &cancelled).await?;
            return Ok(v1::CancelResponse { jobs: self.rows(&cancelled).await?, note });
        }
        // It may have ended since it was looked up; cancelling twice is
        // cancelling once.
        let (job, live) = self.job(id).await?;
        match job.state {
            JobState::Cancelled { .. } => {
                Ok(v1::CancelResponse { jobs: vec![live.row(&job)], note: String::new() })
            }
            state => Err(over_already(&id.to_string(), &state)),
        }
    }

    /// Cancels all elements of an array that have not ended.
    async fn cancel_array(
        &self,
        name: &str,
        first: JobId,
        size: u32,
    ) -> Result<v1::CancelResponse, ServiceError> {
        let cancelled = self.cancel_by(Command::CancelArray { first }).await?;
        if !cancelled.is_empty() {
            let note = self.others_named(name, &cancelled).await?;
            return Ok(v1::CancelResponse { jobs: self.rows(&cancelled).await?, note });
        }
        let mut rows = self.rows(&elements(first, size)).await?;
        rows.retain(|row| row.state == "cancelled");
        if rows.is_empty() {
            let message = format!("all elements of {name} have ended already");
            return Err(ServiceError::conflict("job_ended", message));
        }
        Ok(v1::CancelResponse { jobs: rows, note: String::new() })
    }

    async fn cancel_by(&self, command: Command) -> Result<Vec<JobId>, ServiceError> {
        match self.command(command).await? {
            Reply::Cancelled { jobs } => Ok(jobs),
            other => Err(unexpected(&other)),
        }
    }

    /// A job of the same submission that has not ended.
    async fn live_member(&self, job: &Job) -> Result<Option<JobId>, ServiceError> {
        let group = job.group;
        let member = move |state: &spotwise_control::core::State| {
            let mut members = state.jobs.values().filter(|member| member.group == group);
            members.find(|member| !member.state.is_terminal()).map(|member| member.id)
        };
        Ok(self.parts.handle.ask(move |state, _| member(state)).await?)
    }

    async fn attempts(
        &self,
        id: JobId,
        live: &LiveSnapshot,
    ) -> Result<Vec<v1::AttemptSummary>, ServiceError> {
        let stored = self.parts.store.attempts(id).await?;
        let charges = LedgerFilter { jobs: Some(vec![id]), ..LedgerFilter::default() };
        let mut settled: BTreeMap<AttemptId, Money> = BTreeMap::new();
        for entry in self.parts.store.ledger(&charges).await? {
            if let Some(attempt) = entry.attempt {
                *settled.entry(attempt).or_default() += entry.amount;
            }
        }
        let row = |stored: &spotwise_model::Attempt| {
            let attempt = live.state.attempts.get(&stored.id).unwrap_or(stored);
            let attempt = &live.state.with_memory(attempt);
            let spent = settled.get(&attempt.id).copied().unwrap_or_default();
            let progress = live.state.progress_of(attempt);
            attempt_summary(attempt, &progress, spent + live.accrued_on(attempt.id))
        };
        Ok(stored.iter().map(row).collect())
    }

    /// The newest warnings of a job, oldest first.
    pub(super) async fn warnings(&self, id: JobId) -> Result<Vec<v1::Event>, ServiceError> {
        let (mut events, _) = self.last_events(id).await?;
        events.retain(is_warning);
        Ok(events)
    }

    /// The newest events and warnings, and how many others precede them.
    async fn last_events(&self, id: JobId) -> Result<(Vec<v1::Event>, u32), ServiceError> {
        let mut last = VecDeque::new();
        let mut warnings = VecDeque::new();
        let mut all = 0;
        let mut after = 0;
        loop {
            let page = self.parts.store.events(Some(id), after, super::watch::PAGE).await?;
            let full = page.len() >= super::watch::PAGE as usize;
            all += page.len();
            after = page.last().map_or(after, |event| event.number);
            last.extend(page.iter().map(event));
            let old = last.drain(..last.len().saturating_sub(SHOWN_EVENTS));
            warnings.extend(old.filter(is_warning));
            warnings.drain(..warnings.len().saturating_sub(SHOWN_WARNINGS));
            if !full {
                warnings.append(&mut last);
                let earlier = u32::try_from(all - warnings.len()).unwrap_or(u32::MAX);
                return Ok((warnings.into(), earlier));
            }
        }
    }

    /// Its newest resubmission; empty for none.
    async fn resubmitted_as(&self, job: &Job) -> Result<String, ServiceError> {
        if !job.state.is_terminal() {
            return Ok(String::new());
        }
        let all = self.parts.store.resubmissions(&job.spec.name, job.id).await?;
        let of = |other: &&Job| other.resubmission.as_ref().is_some_and(|it| it.of == job.id);
        Ok(all.iter().rfind(of).map(|again| again.id.to_string()).unwrap_or_default())
    }

    /// The folder with its collected output files, once it exists.
    async fn outputs(&self, job: &Job) -> String {
        let folder = self.parts.config.outputs_dir().join(job.id.to_string());
        match tokio::fs::try_exists(&folder).await {
            Ok(true) => folder.display().to_string(),
            _ => String::new(),
        }
    }
}
