//! From a document to jobs.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use spotwise_api::convert::{JobFigures, job_summary};
use spotwise_api::v1;
use spotwise_model::spec::{self, Submission};
use spotwise_model::{Ending, JobId};

use super::{ServiceError, Session, limits};
use crate::token::hex;
use spotwise_control::command::Submit;
use spotwise_control::{Command, Reply};
use spotwise_model::access::Action;

impl Session {
    /// Accepts all jobs of a document, or none.
    pub async fn submit(
        &self,
        request: v1::SubmitRequest,
    ) -> Result<v1::SubmitResponse, ServiceError> {
        self.may(Action::SubmitJobs)?;
        let key = self.idempotency_key(&request.idempotency_key)?;
        let submission = read(&request.document, &request.format)?;
        self.check_teams(&submission).await?;
        self.accept(submission, key).await
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
        let (arrays, ended_parents) = match known {
            None => self.earlier(&submission).await?,
            Some(_) => Default::default(),
        };
        let submit = Submit { submission, document_hash, key, known, ended_parents, arrays };
        self.submitted(Command::Submit(submit)).await
    }

    /// Has the loop accept jobs, and returns their rows.
    pub(super) async fn submitted(
        &self,
        command: Command,
    ) -> Result<v1::SubmitResponse, ServiceError> {
        match self.command(command).await? {
            Reply::Submitted { made, replayed: false, .. } => {
                let row = |job| job_summary(job, &JobFigures::default());
                Ok(v1::SubmitResponse { jobs: made.iter().map(row).collect(), replayed: false })
            }
            Reply::Submitted { jobs, replayed, .. } => {
                // Another team has used the same key.
                if let Some(first) = jobs.first() {
                    self.check_visible(*first).await.map_err(|_| ServiceError::KeyReused)?;
                }
                Ok(v1::SubmitResponse { jobs: self.rows(&jobs).await?, replayed })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The elements of earlier arrays that a submission waits for one by one, and how
    /// earlier jobs that it names by number ended, if they are no longer in memory.
    pub(super) async fn earlier(&self, submission: &Submission) -> Result<Earlier, ServiceError> {
        let (mut arrays, mut named) = (BTreeMap::new(), BTreeSet::new());
        for dependency in submission.jobs.iter().flat_map(|spec| &spec.after) {
            let Some(id) = dependency.id() else { continue };
            named.insert(id);
            if dependency.elementwise
                && let Some(elements) = self.elements(id).await?
            {
                named.extend(elements.iter().copied());
                arrays.insert(id, elements);
            }
        }
        let ended = if named.is_empty() {
            Vec::new()
        } else {
            self.ended(named, |id| field_naming(submission, id)).await?
        };
        Ok((arrays, ended))
    }

    /// The elements, in order, of the array that a job belongs to.
    async fn elements(&self, id: JobId) -> Result<Option<Vec<JobId>>, ServiceError> {
        let Some(job) = self.parts.store.job(id).await? else { return Ok(None) };
        let Some(place) = job.array else { return Ok(None) };
        let mut elements: Vec<(u32, JobId)> = Vec::new();
        for member in self.parts.store.group(job.group).await? {
            let other = member.array.filter(|other| other.first == place.first);
            elements.extend(other.map(|other| (other.index, member.id)));
        }
        elements.sort_unstable();
        Ok(Some(elements.into_iter().map(|(_, id)| id).collect()))
    }

    /// How those of the jobs that are no longer in memory ended.
    pub(super) async fn ended(
        &self,
        named: BTreeSet<JobId>,
        field: impl Fn(JobId) -> String,
    ) -> Result<Vec<(JobId, Ending)>, ServiceError> {
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
                ServiceError::invalid("unknown_dependency", &field(*id), message)
            })?;
            ended.extend(parent.state.ending().map(|ending| (*id, ending)));
        }
        Ok(ended)
    }
}

/// Elements of arrays, and how jobs ended.
type Earlier = (BTreeMap<JobId, Vec<JobId>>, Vec<(JobId, Ending)>);

/// Reads and validates a document, checking its size first.
pub(super) fn read(document: &str, format: &str) -> Result<Submission, ServiceError> {
    limits::document_size(document.len())?;
    Ok(spec::parse(document.as_bytes(), limits::format(format)?)?)
}

fn field_naming(submission: &Submission, id: JobId) -> String {
    let many = submission.jobs.len() > 1;
    let place = submission.jobs.iter().enumerate().find_map(|(job, spec)| {
        let entry = spec.after.iter().position(|after| after.id() == Some(id))?;
        Some(if many { format!("jobs[{job}].after[{entry}]") } else { format!("after[{entry}]") })
    });
    place.unwrap_or_else(|| "after".to_owned())
}

/// The loop answered a command with the answer to another: a bug.
pub(super) fn unexpected(reply: &Reply) -> ServiceError {
    ServiceError::internal("reading the loop's answer", format!("unexpected answer {reply:?}"))
}
