//! The calls to the scheduler, and what their failures mean.
//!
//! There may be several schedulers, one of which leads. A call that is not answered, or
//! that a standby refuses, makes the next call go to the next of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spotwise_api::trust::Trust;
use spotwise_api::v1::workers_client::WorkersClient;
use spotwise_api::v1::{
    AppendLogRequest, Assignment, GetStorageKeysRequest, HeartbeatRequest, HeartbeatResponse,
    Progress, RegisterRequest, RenewRequest, ReportRequest, StorageKeys, TakeNextRequest,
    TakeNextResponse, Usage,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// A call that is not answered in this time is repeated.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection on which a call waits this long is pinged, and closed if no answer comes in
/// the same time again: what a network has dropped never arrives, and every further call
/// would wait for it in vain.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// For the scheduler the attempt has ended: this worker must exit.
    #[error("the attempt is superseded: {0}")]
    Superseded(String),
    /// Repeating it will not help.
    #[error("the scheduler refuses: {0}")]
    Refused(String),
    /// What was shown is good no more, or never was.
    #[error("the scheduler does not know this worker: {0}")]
    Stranger(String),
    /// No answer; retried later.
    #[error("the scheduler does not answer: {0}")]
    Away(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let message = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            Code::FailedPrecondition => Self::Superseded(message),
            Code::Unauthenticated => Self::Stranger(message),
            Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::OutOfRange => Self::Refused(message),
            _ => Self::Away(message),
        }
    }
}

/// The schedulers, as one attempt and rank sees them.
#[derive(Clone)]
pub(crate) struct SchedulerClient {
    /// Never empty.
    clients: Arc<[WorkersClient<Channel>]>,
    /// The one that answered last, or is to be tried next.
    at: Arc<AtomicUsize>,
    attempt: String,
    rank: u32,
    proofs: Proofs,
}

/// What shows whose worker this is.
#[derive(Clone)]
pub(crate) struct Proofs {
    /// What it was started with.
    start: String,
    /// Its own: bound by the first call.
    key: String,
    /// What it was given since.
    credential: Arc<Mutex<String>>,
}

impl Proofs {
    /// Those of a worker that was started with a token, and has drawn a key.
    pub(crate) fn new(start: String, key: String) -> Self {
        let credential = Arc::new(Mutex::new(start.clone()));
        Self { start, key, credential }
    }

    fn current(&self) -> String {
        self.credential.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An older scheduler gives none.
    fn take(&self, given: &str) {
        if !given.is_empty() {
            given.clone_into(&mut self.credential.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl SchedulerClient {
    /// Connects when first needed. `servers` are addresses separated by commas, all with
    /// certificates of one authority.
    pub(crate) fn new(
        servers: &str,
        trust: Trust,
        attempt: String,
        rank: u32,
        proofs: Proofs,
    ) -> Result<Self, tonic::transport::Error> {
        let client = |server: &str| {
            let server = server.trim();
            let endpoint = Endpoint::from_shared(server.to_owned())?
                .connect_timeout(CALL_TIMEOUT)
                .timeout(CALL_TIMEOUT)
                .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_INTERVAL);
            let secure = server.starts_with("https://");
            let endpoint = if secure { trust.secure(endpoint)? } else { endpoint };
            Ok(WorkersClient::new(endpoint.connect_lazy()))
        };
        let clients: Result<Arc<[_]>, _> = servers.split(',').map(client).collect();
        Ok(Self { clients: clients?, at: Arc::default(), attempt, rank, proofs })
    }

    /// The same with the credential. One that is good no more, after hours without a
    /// scheduler, is renewed.
    async fn call_as<T, F>(
        &self,
        call: impl Fn(WorkersClient<Channel>, String) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let shown = self.proofs.current();
        match self.call(|client| call(client, shown.clone())).await {
            Err(CallError::Stranger(_)) => {
                // Another call may have renewed it.
                if self.proofs.current() == shown {
                    self.renew().await?;
                }
                self.call(|client| call(client, self.proofs.current())).await
            }
            answer => answer,
        }
    }

    async fn renew(&self) -> Result<(), CallError> {
        let request = RenewRequest {
            attempt: self.attempt.clone(),
            rank: self.rank,
            key: self.proofs.key.clone(),
        };
        let renewed =
            self.call(|mut client| async move { Ok(client.renew(request).await?.into_inner()) });
        self.proofs.take(&renewed.await?.credential);
        Ok(())
    }

    /// Calls the scheduler that answered last; if it does not answer, the next call goes
    /// to another.
    async fn call<T, F>(
        &self,
        call: impl FnOnce(WorkersClient<Channel>) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let at = self.at.load(Ordering::Relaxed);
        let count = self.clients.len();
        let client =
            self.clients.get(at % count.max(1)).expect("a text splits into one part at least");
        let answer = call(client.clone()).await;
        if matches!(answer, Err(CallError::Away(_))) {
            // Several calls at once that fail alike turn to the next one once.
            let next = at.wrapping_add(1);
            let _ = self.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        answer
    }

    /// The attempt, as printed.
    pub(crate) fn attempt(&self) -> &str {
        &self.attempt
    }

    /// Which node this is.
    pub(crate) const fn rank(&self) -> u32 {
        self.rank
    }

    /// Asks what to do.
    pub(crate) async fn register(&self, address: String) -> Result<Assignment, CallError> {
        let request = RegisterRequest {
            attempt: self.attempt.clone(),
            rank: self.rank,
            token: self.proofs.start.clone(),
            handle: std::process::id().to_string(),
            address,
            key: self.proofs.key.clone(),
        };
        let assignment =
            self.call(|mut client| async move { Ok(client.register(request).await?.into_inner()) });
        let assignment = assignment.await?;
        self.proofs.take(&assignment.credential);
        Ok(assignment)
    }

    /// Renews the lease; an answer later than `limit` does not count.
    pub(crate) async fn heartbeat(
        &self,
        progress: Option<Progress>,
        usage: Option<Usage>,
        limit: Duration,
    ) -> Result<HeartbeatResponse, CallError> {
        let beat = |mut client: WorkersClient<Channel>, token| {
            let mut request = Request::new(HeartbeatRequest {
                attempt: self.attempt.clone(),
                rank: self.rank,
                token,
                progress: progress.clone(),
                usage,
            });
            request.set_timeout(limit.min(CALL_TIMEOUT));
            async move {
                match tokio::time::timeout(limit, client.heartbeat(request)).await {
                    Ok(answer) => Ok(answer?.into_inner()),
                    Err(_) => Err(CallError::Away("no answer in time".to_owned())),
                }
            }
        };
        let answer = self.call_as(beat).await?;
        self.proofs.take(&answer.credential);
        Ok(answer)
    }

    /// Reports what has happened. The sender is filled in here.
    pub(crate) async fn report(&self, mut report: ReportRequest) -> Result<(), CallError> {
        report.attempt.clone_from(&self.attempt);
        report.rank = self.rank;
        self.call_as(|mut client, token| {
            let report = ReportRequest { token, ..report.clone() };
            async move {
                client.report(report).await?;
                Ok(())
            }
        })
        .await
    }

    /// Asks what to go on with, once the attempt has succeeded.
    pub(crate) async fn take_next(&self) -> Result<TakeNextResponse, CallError> {
        self.call_as(|mut client, token| {
            let request = TakeNextRequest { attempt: self.attempt.clone(), rank: self.rank, token };
            async move { Ok(client.take_next(request).await?.into_inner()) }
        })
        .await
    }

    /// Asks for keys of the object store, for the files of a job.
    pub(crate) async fn storage_keys(&self, job: String) -> Result<StorageKeys, CallError> {
        self.call_as(|mut client, token| {
            let request = GetStorageKeysRequest {
                attempt: self.attempt.clone(),
                rank: self.rank,
                token,
                job: job.clone(),
            };
            async move { Ok(client.get_storage_keys(request).await?.into_inner()) }
        })
        .await
    }

    /// Appends output that begins at `offset`; returns up to where it is stored. With
    /// `skip`, what lies between that and `offset` no longer exists.
    pub(crate) async fn append(
        &self,
        offset: u64,
        data: Vec<u8>,
        skip: bool,
    ) -> Result<u64, CallError> {
        self.call_as(|mut client, token| {
            let request = AppendLogRequest {
                attempt: self.attempt.clone(),
                rank: self.rank,
                token,
                offset,
                data: data.clone(),
                skip,
            };
            async move { Ok(client.append_log(request).await?.into_inner().stored) }
        })
        .await
    }
}

/// Increasingly long pauses between failing calls.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    /// Starts with the shortest pause.
    pub(crate) const fn new() -> Self {
        Self(Self::FIRST)
    }

    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (self.0 * 2).min(Self::LONGEST);
        pause
    }
}
