//! From a document to jobs.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use spotwise_api::convert::{JobFigures, job_summary};
use spotwise_api::v1;
use spotwise_model::spec::{self, Dependency, Submission};
use spotwise_model::{JobId, JobState};

use super::{Service, ServiceError, limits};
use crate::handle::{Command, Reply, Submit};
use crate::token::hex;

impl Service {
    /// Accepts all jobs of a document, or none.
    pub async fn submit(
        &self,
        request: v1::SubmitRequest,
    ) -> Result<v1::SubmitResponse, ServiceError> {
        let key = limits::idempotency_key(&request.idempotency_key)?;
        let submission = read(&request.document, &request.format)?;
        self.accept(submission, key).await
    }

    /// Submits the document of an ended job again, as one job.
    pub async fn resubmit(
        &self,
        request: v1::ResubmitRequest,
    ) -> Result<v1::SubmitResponse, ServiceError> {
        let key = limits::idempotency_key(&request.idempotency_key)?;
        let job = self.stored_job(self.job_id(&request.job).await?).await?;
        if !job.state.is_terminal() {
            let message = format!("{} is {}; cancel it first", job.id, job.state.name());
            return Err(ServiceError::conflict("job_not_ended", message));
        }
        if let Some(place) = job.array.filter(|place| place.size > 1) {
            let message = format!(
                "{} is element {} of {}: elements know their place, so submit the document again",
                job.id, place.index, place.size
            );
            return Err(ServiceError::conflict("array_element", message));
        }
        let mut spec = (*job.spec).clone();
        spec.after = job.after.iter().copied().map(Dependency::Id).collect();
        self.accept(Submission { jobs: vec![spec] }, key).await
    }

    async fn accept(
        &self,
        submission: Submission,
        key: Option<String>,
    ) -> Result<v1::SubmitResponse, ServiceError> {
        let document_hash = hex(&Sha256::digest(spec::canonical(&submission)));
        let known = match &key {
            Some(key) => self.parts.store.submission(key).await?,
            None => None,
        };
        let known = known.map(|record| (record.document_hash, record.jobs));
        let ended_parents = match known {
            None => self.ended_parents(&submission).await?,
            Some(_) => Vec::new(),
        };
        let submit = Submit { submission, document_hash, key, known, ended_parents };
        match self.parts.handle.command(Command::Submit(submit)).await? {
            Reply::Submitted { made, replayed: false, .. } => {
                let row = |job| job_summary(job, &JobFigures::default());
                Ok(v1::SubmitResponse { jobs: made.iter().map(row).collect(), replayed: false })
            }
            Reply::Submitted { jobs, replayed, .. } => {
                Ok(v1::SubmitResponse { jobs: self.rows(&jobs).await?, replayed })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// How the earlier jobs that a submission names by number ended, where they
    /// have left memory.
    pub(super) async fn ended_parents(
        &self,
        submission: &Submission,
    ) -> Result<Vec<(JobId, bool)>, ServiceError> {
        let named: BTreeSet<JobId> = submission.jobs.iter().flat_map(named_by_number).collect();
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let asked = named.clone();
        let remembered: BTreeSet<JobId> = self
            .parts
            .handle
            .ask(move |state, _| {
                asked.into_iter().filter(|id| state.jobs.contains_key(id)).collect()
            })
            .await?;
        let mut ended = Vec::new();
        for id in named.difference(&remembered) {
            let parent = self.parts.store.job(*id).await?.ok_or_else(|| {
                let message = format!("there is no job {id}");
                ServiceError::invalid("unknown_dependency", &field_naming(submission, *id), message)
            })?;
            ended.push((*id, matches!(parent.state, JobState::Succeeded { .. })));
        }
        Ok(ended)
    }
}

/// Reads and validates a document; its size comes first.
pub(super) fn read(document: &str, format: &str) -> Result<Submission, ServiceError> {
    limits::document_size(document.len())?;
    Ok(spec::parse(document.as_bytes(), limits::format(format)?)?)
}

pub(super) fn named_by_number(spec: &spotwise_model::JobSpec) -> impl Iterator<Item = JobId> {
    spec.after.iter().filter_map(|dependency| match dependency {
        Dependency::Id(id) => Some(*id),
        Dependency::Name(_) => None,
    })
}

fn field_naming(submission: &Submission, id: JobId) -> String {
    let many = submission.jobs.len() > 1;
    let place = submission.jobs.iter().enumerate().find_map(|(job, spec)| {
        let entry = spec.after.iter().position(|after| *after == Dependency::Id(id))?;
        Some(if many { format!("jobs[{job}].after[{entry}]") } else { format!("after[{entry}]") })
    });
    place.unwrap_or_else(|| "after".to_owned())
}

/// The loop answered a command with the answer to another: a defect.
pub(super) fn unexpected(reply: &Reply) -> ServiceError {
    ServiceError::internal("reading the loop's answer", format!("unexpected answer {reply:?}"))
}
