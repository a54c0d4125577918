//! The typed client of the jobs, cost, capacity and system services.
//!
//! It hides the transport: callers see messages of [`crate::v1`] and a
//! [`ClientError`] whose [`kind`](ClientError::kind) they can match on. Where it
//! knows several schedulers it finds the one that leads, and follows when
//! another takes over.

mod access;
mod address;
mod capacity;
pub mod credentials;
mod error;
mod retry;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use address::endpoint;
pub use error::{ClientError, ErrorKind};
use retry::{Again, BACKOFF, TAKEOVER, unary};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use crate::v1;
use crate::v1::access_client::AccessClient;
use crate::v1::capacity_client::CapacityClient;
use crate::v1::cost_client::CostClient;
use crate::v1::jobs_client::JobsClient;
use crate::v1::system_client::SystemClient;

/// Where a scheduler listens unless it was told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:7717";

/// A page of 500 jobs or a report of 10,000 rows is below 8 MiB.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// A connection to the scheduler that leads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    /// Every scheduler that it knows; never empty.
    doors: Arc<[Door]>,
    /// Which of them is asked.
    at: Arc<AtomicUsize>,
}

/// One scheduler.
#[derive(Clone, Debug)]
struct Door {
    jobs: JobsClient<Named>,
    cost: CostClient<Named>,
    capacity: CapacityClient<Named>,
    system: SystemClient<Named>,
    access: AccessClient<Named>,
}

/// A connection on which every call says who makes it.
pub type Named = InterceptedService<Channel, Bearer>;

/// A token that goes with every call; `None` where there is none.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// One that sends this token.
    pub fn new(token: Option<&str>) -> Self {
        let value = token.and_then(|token| format!("Bearer {token}").parse().ok());
        Self(value.map(|mut value: MetadataValue<Ascii>| {
            value.set_sensitive(true);
            value
        }))
    }
}

/// Keeps the token out of logs.
impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer(..)" } else { "Bearer(none)" })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Door {
    fn over(channel: Channel, server: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let own = match token {
            Some(token) => Some(token.to_owned()),
            None => credentials::token_for(server)?,
        };
        let channel = InterceptedService::new(channel, Bearer::new(own.as_deref()));
        Ok(Self {
            jobs: JobsClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            cost: CostClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            capacity: CapacityClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            access: AccessClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            system: SystemClient::new(channel).max_decoding_message_size(MAX_ANSWER),
        })
    }
}

impl Client {
    /// Connects to `server`, such as `https://spotwise.example:7717`; `host:port`
    /// alone is taken as `https` where its authority is pinned, else as `http`,
    /// which reaches this machine only. Several addresses have commas between
    /// them: the one that leads is found. Who calls is said by the user's token
    /// for each address, and whom to believe by the authority that was pinned
    /// for it ([`credentials`]).
    ///
    /// # Errors
    /// `Invalid` where an address makes no sense, `Unavailable` where nobody
    /// answers after some tries.
    pub async fn connect(server: &str) -> Result<Self, ClientError> {
        Self::connect_as(server, None).await
    }

    /// The same with a token that is given.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_as(server: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let one = |server| endpoint(server, credentials::authority_for(server)?);
        let endpoints: Vec<Endpoint> = server.split(',').map(one).collect::<Result<_, _>>()?;
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| ClientError {
            kind: ErrorKind::Unavailable,
            message: format!("no scheduler answers at {server}"),
            source: Some(source),
        };
        let [only] = endpoints.as_slice() else {
            let doors = endpoints
                .iter()
                .zip(server.split(','))
                .map(|(each, server)| Door::over(each.connect_lazy(), server, token))
                .collect::<Result<_, _>>()?;
            let client = Self { doors, at: Arc::default() };
            return match client.info().await {
                Err(error) if *error.kind() == ErrorKind::Unavailable => {
                    Err(unreachable(error.into()))
                }
                _ => Ok(client),
            };
        };
        let over = |channel| {
            let doors = Arc::new([Door::over(channel, server, token)?]);
            Ok(Self { doors, at: Arc::default() })
        };
        for wait in BACKOFF {
            if let Ok(channel) = only.connect().await {
                return over(channel);
            }
            tokio::time::sleep(wait).await;
        }
        only.connect().await.map_err(|error| unreachable(error.into())).and_then(over)
    }

    /// Calls the scheduler that answered last; while nobody answers, the others
    /// in turn.
    async fn unary<T, F, Fut>(&self, again: Again, call: F) -> Result<T, ClientError>
    where
        F: Fn(Door) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let waits: &[Duration] = if self.doors.len() > 1 { &TAKEOVER } else { &BACKOFF };
        let door = || {
            let at = self.at.load(Ordering::Relaxed) % self.doors.len().max(1);
            self.doors.get(at).expect("a text splits into one part at least").clone()
        };
        let next = || {
            self.at.fetch_add(1, Ordering::Relaxed);
        };
        unary(again, waits, next, || call(door())).await
    }

    /// Accepts all jobs of a document, or none. Tried again only where the
    /// request carries an idempotency key.
    pub async fn submit(
        &self,
        request: v1::SubmitRequest,
    ) -> Result<v1::SubmitResponse, ClientError> {
        let again = Again::only_if(!request.idempotency_key.is_empty());
        self.unary(again, |mut door| {
            let request = request.clone();
            async move { door.jobs.submit(request).await }
        })
        .await
    }

    /// What a document would cost. Changes nothing.
    pub async fn quote(&self, request: v1::QuoteRequest) -> Result<v1::QuoteResponse, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let request = request.clone();
            async move { door.jobs.quote(request).await }
        })
        .await
    }

    /// One job with its attempts and its history: `j17`, `17` or a name.
    pub async fn get(&self, job: &str) -> Result<v1::JobDetail, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let job = job.to_owned();
            async move { door.jobs.get(v1::GetJobRequest { job }).await }
        })
        .await
    }

    /// One page of jobs, newest first.
    pub async fn list(
        &self,
        request: v1::ListJobsRequest,
    ) -> Result<v1::ListJobsResponse, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let request = request.clone();
            async move { door.jobs.list(request).await }
        })
        .await
    }

    /// All jobs of a query, page after page, at most `limit`. The second value
    /// is true where there are more.
    pub async fn list_all(
        &self,
        mut request: v1::ListJobsRequest,
        limit: usize,
    ) -> Result<(Vec<v1::JobSummary>, bool), ClientError> {
        const LARGEST_PAGE: usize = 500;
        let mut jobs = Vec::new();
        loop {
            let room = limit.saturating_sub(jobs.len()).clamp(1, LARGEST_PAGE);
            request.page_size = u32::try_from(room).unwrap_or(u32::MAX);
            let page = self.list(request.clone()).await?;
            jobs.extend(page.jobs);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() || jobs.len() >= limit {
                let more = !request.page_token.is_empty() || jobs.len() > limit;
                jobs.truncate(limit);
                return Ok((jobs, more));
            }
        }
    }

    /// Events after a number, then as they happen. When the stream breaks, call
    /// again with the last number seen.
    pub async fn watch(
        &self,
        request: v1::WatchRequest,
    ) -> Result<AnswerStream<v1::Event>, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let request = request.clone();
            async move { door.jobs.watch(request).await }
        })
        .await
        .map(AnswerStream)
    }

    /// Captured output, oldest first.
    pub async fn logs(
        &self,
        request: v1::LogsRequest,
    ) -> Result<AnswerStream<v1::LogChunk>, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let request = request.clone();
            async move { door.jobs.logs(request).await }
        })
        .await
        .map(AnswerStream)
    }

    /// Cancels a job, or with `group` all jobs of its submission. Cancelling
    /// twice is cancelling once, so it is tried again.
    pub async fn cancel(&self, job: &str, group: bool) -> Result<v1::CancelResponse, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let job = job.to_owned();
            async move { door.jobs.cancel(v1::CancelRequest { job, group }).await }
        })
        .await
    }

    /// Changes the terms of a job. Tried again only where that changes nothing more: the
    /// request carries an idempotency key, or only asks what it would do.
    pub async fn edit(&self, request: v1::EditRequest) -> Result<v1::EditResponse, ClientError> {
        let again = Again::only_if(!request.idempotency_key.is_empty() || request.dry_run);
        self.unary(again, |mut door| {
            let request = request.clone();
            async move { door.jobs.edit(request).await }
        })
        .await
    }

    /// Submits the document of an ended job again. Tried again only where the
    /// request carries an idempotency key.
    pub async fn resubmit(
        &self,
        request: v1::ResubmitRequest,
    ) -> Result<v1::SubmitResponse, ClientError> {
        let again = Again::only_if(!request.idempotency_key.is_empty());
        self.unary(again, |mut door| {
            let request = request.clone();
            async move { door.jobs.resubmit(request).await }
        })
        .await
    }

    /// Why a job waits, or why it is where it is.
    pub async fn explain(&self, job: &str) -> Result<v1::ExplainResponse, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let job = job.to_owned();
            async move { door.jobs.explain(v1::ExplainRequest { job }).await }
        })
        .await
    }

    /// What was paid, and what it would have cost.
    pub async fn cost(&self, query: v1::CostQuery) -> Result<v1::CostReport, ClientError> {
        self.unary(Again::Yes, |mut door| {
            let query = query.clone();
            async move { door.cost.query(query).await }
        })
        .await
    }

    /// The scheduler and the market it sees.
    pub async fn info(&self) -> Result<v1::InfoResponse, ClientError> {
        self.unary(Again::Yes, |mut door| async move { door.system.info(v1::InfoRequest {}).await })
            .await
    }

    /// Capacity that can be bought now; with `all` also what cannot.
    pub async fn offers(
        &self,
        accelerator: &str,
        all: bool,
    ) -> Result<v1::ListOffersResponse, ClientError> {
        let request = v1::ListOffersRequest { accelerator: accelerator.to_owned(), all };
        self.unary(Again::Yes, |mut door| {
            let request = request.clone();
            async move { door.system.list_offers(request).await }
        })
        .await
    }
}

/// Messages as they come.
#[derive(Debug)]
pub struct AnswerStream<T>(Streaming<T>);

impl<T> AnswerStream<T> {
    /// The next message; none when the server has said everything.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        self.0.message().await.map_err(ClientError::from)
    }
}
