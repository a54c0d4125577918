//! The service as one caller sees it. Whatever is asked on somebody's behalf is a method of
//! [`Session`], so that nothing can be asked by nobody.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use spotwise_control::core::Asker;
use spotwise_control::{Command, Refusal, Reply};
use spotwise_model::access::{Action, Denied, Resource, Scope, TEAM, authorize};
use spotwise_model::spec::Submission;
use spotwise_model::{Job, JobId};

use super::{Service, ServiceError, limits, no_such_job};

/// A caller, and what he may ask for. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    service: Service,
    asker: Arc<Asker>,
}

impl Deref for Session {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Service {
    /// The service as a caller sees it.
    pub fn session(&self, asker: Arc<Asker>) -> Session {
        Session { service: self.clone(), asker }
    }
}

impl Session {
    /// Who asks.
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// The teams whose things he sees.
    pub(super) fn scope(&self) -> &Scope {
        &self.asker.caller.scope
    }

    /// Whether he may do something at all; of which jobs is looked at when they are named.
    pub(super) fn may(&self, action: Action) -> Result<(), ServiceError> {
        Ok(authorize(&self.asker.caller, action, Resource::Own)?)
    }

    /// Whether he may do something to what all teams share.
    pub(super) fn may_to_all(&self, action: Action) -> Result<(), ServiceError> {
        Ok(authorize(&self.asker.caller, action, Resource::Shared)?)
    }

    /// Has a command carried out in his name.
    pub(super) async fn command(&self, command: Command) -> Result<Reply, Refusal> {
        let asker = Box::new((*self.asker).clone());
        self.parts.handle.command(Command::By(asker, Box::new(command))).await
    }

    /// His own idempotency key: that of another caller is another key, and says nothing of
    /// what he has submitted. Those who see all teams share theirs.
    pub(super) fn idempotency_key(&self, text: &str) -> Result<Option<String>, ServiceError> {
        let key = limits::idempotency_key(text)?;
        let own = |key| match self.scope().teams {
            // No name of a caller has a colon.
            Some(_) => format!("{}:{key}", self.asker.caller.subject),
            None => key,
        };
        Ok(key.map(own))
    }

    /// Whether a job is one of his teams'.
    pub(super) fn sees(&self, job: &Job) -> bool {
        self.scope().includes(job.spec.tags.get(TEAM).map(String::as_str))
    }

    /// A job of another team does not exist.
    pub(super) async fn check_visible(&self, id: JobId) -> Result<(), ServiceError> {
        if self.scope().teams.is_none() {
            return Ok(());
        }
        let job = self.parts.store.job(id).await?.filter(|job| self.sees(job));
        job.map(|_| ()).ok_or_else(|| no_such_job(id))
    }

    /// Whether all jobs of a submission are his teams': what is done to all of it is done to
    /// nobody else's.
    pub(super) async fn check_group(&self, job: &Job) -> Result<(), ServiceError> {
        if self.scope().teams.is_none() {
            return Ok(());
        }
        let members = self.parts.store.group(job.group).await?;
        self.check_all(&members)
    }

    /// Whether all of these jobs are his teams'.
    pub(super) fn check_all(&self, jobs: &[Job]) -> Result<(), ServiceError> {
        match jobs.iter().all(|job| self.sees(job)) {
            true => Ok(()),
            false => Err(ServiceError::Forbidden(
                "some of these jobs are of teams that you do not see".to_owned(),
            )),
        }
    }

    /// Whether all jobs of a document are for his teams, and wait for none of another's.
    pub(super) async fn check_teams(&self, submission: &Submission) -> Result<(), ServiceError> {
        let Some(teams) = &self.scope().teams else { return Ok(()) };
        let many = submission.jobs.len() > 1;
        for (at, spec) in submission.jobs.iter().enumerate() {
            if !self.scope().includes(spec.tags.get(TEAM).map(String::as_str)) {
                let place = if many { format!("jobs[{at}].") } else { String::new() };
                let message = match teams.len() {
                    0 => "you submit for no team; ask an admin for a token of yours".to_owned(),
                    _ => format!("must be a team of yours: {}", list(teams)),
                };
                let field = format!("{place}tags.{TEAM}");
                return Err(ServiceError::Invalid { code: "not_your_team", field, message });
            }
            for parent in spec.after.iter().filter_map(|parent| parent.id()) {
                let missing = |_| {
                    let message = format!("there is no job {parent}");
                    ServiceError::invalid("unknown_dependency", "after", message)
                };
                self.check_visible(parent).await.map_err(missing)?;
            }
        }
        Ok(())
    }
}

fn list(teams: &BTreeSet<String>) -> String {
    teams.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl From<Denied> for ServiceError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Foreign => Self::NotFound(denied.to_string()),
            Denied::Role { .. } | Denied::TooWide { .. } => Self::Forbidden(denied.to_string()),
        }
    }
}
