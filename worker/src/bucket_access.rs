//! How a worker reaches the object store: with keys that the scheduler gives it for a time,
//! held in memory.

use std::sync::Arc;
use std::time::Duration;

use spotwise_api::v1::{ObjectStoreSettings, StorageKeys};
use spotwise_model::JobId;
use spotwise_storage::{Access, Credentials, IssueError, Issuer, Renewing, S3Settings};

use crate::scheduler_client::SchedulerClient;

/// A request is tried for this long at least.
const SHORTEST_RETRY: Duration = Duration::from_secs(2);

/// Opens places in the object store.
#[derive(Clone)]
pub(crate) struct BucketAccess {
    settings: S3Settings,
    client: SchedulerClient,
}

impl std::fmt::Debug for BucketAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketAccess").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl BucketAccess {
    /// As the scheduler says.
    pub(crate) fn new(told: ObjectStoreSettings, client: SchedulerClient) -> Self {
        let ObjectStoreSettings { region, endpoint, retry_ms } = told;
        let settings = S3Settings {
            region,
            endpoint: Some(endpoint).filter(|endpoint| !endpoint.is_empty()),
            sts_endpoint: None,
            retry_timeout: Duration::from_millis(retry_ms.into()).max(SHORTEST_RETRY),
        };
        Self { settings, client }
    }

    /// To the files of one job.
    pub(crate) fn of(&self, job: JobId) -> (Access, Arc<Renewing>) {
        let asked = Asked { client: self.client.clone(), job };
        let renewing = Arc::new(Renewing::new(Arc::new(asked)));
        let credentials = Arc::clone(&renewing) as _;
        (Access { settings: self.settings.clone(), credentials }, renewing)
    }
}

/// Asks the scheduler.
struct Asked {
    client: SchedulerClient,
    job: JobId,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("job", &self.job).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl Issuer for Asked {
    async fn issue(&self) -> Result<Credentials, IssueError> {
        let keys = self.client.storage_keys(self.job.to_string()).await;
        let keys = keys.map_err(|error| IssueError(error.to_string()))?;
        let StorageKeys { key_id, secret_key, session_token, lasts_ms } = keys;
        Ok(Credentials {
            key_id,
            secret_key,
            session_token: Some(session_token).filter(|token| !token.is_empty()),
            lasts: (lasts_ms > 0).then(|| Duration::from_millis(lasts_ms.into())),
        })
    }
}
