//! Keys of the object store for workers.

use spotwise_api::v1;
use spotwise_control::WorkerId;
use spotwise_control::core::State;
use spotwise_control::reply::Refusal;
use spotwise_model::{AttemptId, JobId, Now};
use spotwise_storage::Rights;

use super::{Service, ServiceError, millis};

impl Service {
    /// Keys for the files of one job: for its live attempt, or for that of a job that comes
    /// back from it.
    pub async fn get_storage_keys(
        &self,
        request: v1::GetStorageKeysRequest,
    ) -> Result<v1::StorageKeys, ServiceError> {
        let worker = self.worker(&request.attempt, request.rank, &request.token)?;
        let Some(storage) = self.parts.object_storage.clone() else {
            return Err(ServiceError::NotFound("there is no object store".to_owned()));
        };
        let job: JobId = request.job.parse().map_err(|_| {
            ServiceError::invalid("invalid_value", "job", "name a job, such as j17")
        })?;
        let asked = move |state: &State, _: Now| rights(state, worker, job);
        let Some(rights) = self.parts.handle.ask(asked).await?? else {
            return Err(ServiceError::Forbidden(format!("the files of {job} are not its own")));
        };
        let holder = format!("{}-{}-{}", self.parts.install, worker.attempt, worker.rank);
        let keys = storage.keys(&holder, job, rights).await.map_err(|error| {
            tracing::warn!(%error, attempt.id = %worker.attempt, "no keys of the object store");
            ServiceError::Unavailable("it has no keys of the object store".to_owned())
        })?;
        if rights == Rights::Write {
            let own = worker.attempt;
            // What those before it have begun is nobody's.
            tokio::spawn(async move {
                let dropped = match storage.unfinished(Some(job)).await {
                    Ok(unfinished) => unfinished.drop_but(|attempt| attempt >= own).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = dropped {
                    tracing::warn!(%error, "unfinished uploads stay");
                }
            });
        }
        Ok(v1::StorageKeys {
            key_id: keys.key_id,
            secret_key: keys.secret_key,
            session_token: keys.session_token.unwrap_or_default(),
            lasts_ms: keys.lasts.map_or(0, millis),
        })
    }
}

/// What the worker may do with the files of a job; `None` for nothing.
fn rights(state: &State, worker: WorkerId, job: JobId) -> Result<Option<Rights>, Refusal> {
    let attempt: AttemptId = worker.attempt;
    if state.live_attempt(attempt.job).is_none_or(|live| live.id != attempt) {
        return Err(Refusal::Fenced { attempt });
    }
    if job == attempt.job {
        // Node 0 writes.
        return Ok(Some(if worker.rank == 0 { Rights::Write } else { Rights::Read }));
    }
    let own = state.jobs.get(&attempt.job);
    let lineage = own.and_then(|own| own.resubmission.as_ref()).map(|it| &it.lineage);
    Ok(lineage.is_some_and(|it| it.contains(&job)).then_some(Rights::Read))
}
