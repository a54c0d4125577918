//! A scheduler that answers from a script.

mod capacity;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use spotwise_api::v1::capacity_server::CapacityServer;
use spotwise_api::v1::cost_server::{Cost, CostServer};
use spotwise_api::v1::jobs_server::{Jobs, JobsServer};
use spotwise_api::v1::system_server::{System, SystemServer};
use spotwise_api::v1::*;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One job, which is in the next of these states at each look, and stays in
/// the last one.
#[derive(Clone)]
pub(crate) struct Scripted {
    address: SocketAddr,
    states: Vec<&'static str>,
    looks: Arc<AtomicUsize>,
}

impl Scripted {
    /// Listens on a free port until the test ends.
    pub(crate) async fn start(states: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = Self { address, states: states.to_vec(), looks: Arc::default() };
        let server = tonic::transport::Server::builder()
            .add_service(JobsServer::new(this.clone()))
            .add_service(CostServer::new(this.clone()))
            .add_service(CapacityServer::new(this.clone()))
            .add_service(SystemServer::new(this.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        this
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> &'static str {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        self.states[look.min(self.states.len() - 1)]
    }
}

/// The job, with a title that would clear a careless terminal.
pub(crate) fn job(state: &str) -> JobSummary {
    let over = !matches!(state, "held" | "waiting" | "active");
    JobSummary {
        id: "j7".into(),
        name: "train".into(),
        title: "harmless\x1b[2J title".into(),
        group: "j7".into(),
        model: "lm".into(),
        class: "training".into(),
        state: state.into(),
        detail: "spot p3.2xlarge in us-east-1c".into(),
        submitted: "2023-02-15T00:00:00Z".into(),
        deadline: "2023-02-16T06:00:00Z".into(),
        ended: if over { "2023-02-15T03:00:00Z".into() } else { String::new() },
        attempts: 2,
        interruptions: 1,
        progress: 0.5,
        step: 50,
        total_steps: 100,
        spent_micros: 3_217_654,
        budget_micros: 10_000_000,
        tags: [("Team".to_owned(), "search".to_owned())].into(),
        ..JobSummary::default()
    }
}

fn alternative(capacity_type: &str, expected_micros: i64, why_not: &str) -> Alternative {
    Alternative {
        pool: "local".into(),
        zone: "us-east-1c".into(),
        instance_type: "p3.2xlarge".into(),
        capacity_type: capacity_type.into(),
        expected_micros,
        finish: "2023-02-15T03:10:00Z".into(),
        why_not: why_not.into(),
    }
}

fn attempt(id: &str, outcome: &str, from: u64, to: u64) -> AttemptSummary {
    AttemptSummary {
        id: id.into(),
        zone: "us-east-1c".into(),
        instance_type: "p3.2xlarge".into(),
        capacity_type: "spot".into(),
        state: "settled".into(),
        outcome: outcome.into(),
        launched: "2023-02-15T00:01:00Z".into(),
        started: "2023-02-15T00:05:00Z".into(),
        ended: "2023-02-15T01:35:00Z".into(),
        resumed_from_step: from,
        step: to,
        spent_micros: 1_500_000,
        reason: "cheapest".into(),
        ..AttemptSummary::default()
    }
}

fn review() -> QuoteReview {
    QuoteReview {
        quoted_at: "2023-02-15T00:00:00Z".into(),
        expected_micros: 3_100_000,
        p50_micros: 3_000_000,
        p90_micros: 4_200_000,
        finish_p50: "2023-02-15T02:40:00Z".into(),
        finish_p90: "2023-02-15T04:00:00Z".into(),
        expected_interruptions: 0.6,
        r#final: true,
        actual_micros: 3_217_654,
        actual_interruptions: 1,
        finished: "2023-02-15T03:00:00Z".into(),
        cost_ratio: 1.038,
        finish_late_seconds: 1_200,
    }
}

/// Critical is above its ceiling.
fn band() -> ClassBand {
    ClassBand {
        class: "critical".into(),
        spot_share: Some(0.45),
        spot_ceiling: 0.3,
        pools: 2,
        least_pools: 3,
        dearer_jobs: 2,
        ceiling_micros_per_week: 212_000_000,
        costs: vec![
            "the spot ceiling on critical costs $212.00 a week: 2 live jobs pay more".into(),
        ],
        ..ClassBand::default()
    }
}

#[tonic::async_trait]
impl Jobs for Scripted {
    async fn submit(&self, _: Request<SubmitRequest>) -> Answer<SubmitResponse> {
        let jobs = vec![job(if self.states == ["rejected"] { "waiting" } else { self.states[0] })];
        Ok(Response::new(SubmitResponse { jobs, replayed: false }))
    }

    async fn quote(&self, _: Request<QuoteRequest>) -> Answer<QuoteResponse> {
        let quote = JobQuote {
            name: "train".into(),
            elements: 1,
            p50_micros: 48_000_000,
            p90_micros: 63_000_000,
            on_demand_micros: 152_000_000,
            start: "2023-02-15T00:00:00Z".into(),
            finish_p50: "2023-02-15T03:10:00Z".into(),
            finish_p90: "2023-02-15T04:40:00Z".into(),
            deadline: "2023-02-16T06:00:00Z".into(),
            deadline_source: "given".into(),
            two_more_hours_micros: 3_100_000,
            expected_interruptions: 1.24,
            spot_share: 0.85,
            offer: "spot p3.2xlarge in us-east-1c".into(),
            reason: "would start now on spot p3.2xlarge in us-east-1c".into(),
            alternatives: vec![],
            warnings: vec!["no checkpoint".into()],
            expected_micros: 51_000_000,
            transfer_micros: 3_200_000,
            transfer: "$3.20 of it for moving 160 GB from us-east-1".into(),
            after: vec![],
        };
        Ok(Response::new(QuoteResponse { jobs: vec![quote], ..QuoteResponse::default() }))
    }

    async fn get(&self, request: Request<GetJobRequest>) -> Answer<JobDetail> {
        match request.into_inner().job.as_str() {
            "missing" => return Err(Status::not_found("missing does not exist")),
            "denied" => return Err(Status::permission_denied("not yours")),
            "bad" => return Err(Status::invalid_argument("invalid_value: job: is not a name")),
            "busy" => return Err(Status::resource_exhausted("the scheduler is overloaded")),
            "broken" => return Err(Status::internal("internal error")),
            _ => {}
        }
        let event = Event {
            number: 1,
            job: "j7".into(),
            attempt: "j7.1".into(),
            at: "2023-02-15T01:35:00Z".into(),
            kind: "noticed".into(),
            message: "line one\nline two".into(),
            by: "ada".into(),
        };
        Ok(Response::new(JobDetail {
            job: Some(job(self.state())),
            attempts: vec![
                attempt("j7.1", "interrupted", 0, 30),
                attempt("j7.2", "succeeded", 30, 100),
            ],
            events: vec![event],
            deadline_source: "given".into(),
            quote: Some(review()),
            ..JobDetail::default()
        }))
    }

    async fn list(&self, _: Request<ListJobsRequest>) -> Answer<ListJobsResponse> {
        let job = job(self.state());
        let jobs = if job.ended.is_empty() { vec![job] } else { Vec::new() };
        Ok(Response::new(ListJobsResponse { jobs, next_page_token: String::new() }))
    }

    type WatchStream = Answers<Event>;
    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    type LogsStream = Answers<LogChunk>;
    async fn logs(&self, _: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        let chunk = |data: &[u8]| {
            Ok(LogChunk {
                attempt: "j7.1".into(),
                rank: 0,
                data: data.to_vec(),
                ..LogChunk::default()
            })
        };
        let chunks = [chunk(b"\x1b[31mste"), chunk(b"p 1\x1b[0m\nstep 2")];
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Answer<CancelResponse> {
        Ok(Response::new(CancelResponse { jobs: vec![job("active")], ..CancelResponse::default() }))
    }

    async fn edit(&self, _: Request<EditRequest>) -> Answer<EditResponse> {
        Ok(Response::new(EditResponse::default()))
    }

    async fn resubmit(&self, _: Request<ResubmitRequest>) -> Answer<SubmitResponse> {
        Ok(Response::new(SubmitResponse { jobs: vec![job("waiting")], replayed: false }))
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        Ok(Response::new(ExplainResponse {
            job: Some(job("active")),
            headline: "runs on the cheapest offer".into(),
            since: "2023-02-15T00:05:00Z".into(),
            details: vec!["two more hours of deadline would save $1.20".into()],
            alternatives: vec![
                alternative("spot", 3_000_000, ""),
                alternative("on-demand", 9_000_000, "dearer"),
            ],
            slack_seconds: 7_500,
            band: Some(band()),
        }))
    }
}

#[tonic::async_trait]
impl Cost for Scripted {
    async fn query(&self, request: Request<CostQuery>) -> Answer<CostReport> {
        let group_by = request.into_inner().group_by;
        let accrued = |keys: &[&str]| if keys == ["lm", "search"] { 0 } else { 17_654 };
        let row = |keys: &[&str], compute: i64, lost: i64, waiver: i64| CostRow {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            total_micros: compute + lost + waiver,
            compute_micros: compute,
            lost_work_micros: lost,
            waiver_micros: waiver,
            settled_micros: compute + lost - accrued(keys),
            accrued_micros: accrued(keys),
            late_micros: waiver,
            on_demand_micros: 3 * compute,
            quoted_micros: if keys.contains(&"docs") { 1_200_000 } else { 0 },
            ..CostRow::default()
        };
        let wrong = i64::from(group_by == ["wrong"]);
        Ok(Response::new(CostReport {
            rows: vec![
                row(&["lm", "search"], 2_000_001, 300_000, -100_000),
                row(&["", "docs"], 999_999, 0, 0),
            ],
            total: Some(row(&[], 3_000_000 + wrong, 300_000, -100_000)),
            unsettled_micros: 17_654,
            notes: vec!["accelerators are simulated: work for GPUs ran on CPUs".into()],
            interruptions: 1,
            deadlines_met: 2,
            deadlines_missed: 0,
            as_of: "2023-02-15T08:40:00Z".into(),
            commitments: vec![CommitmentUse {
                name: "research-a".into(),
                instance_type: "p3.2xlarge".into(),
                zone: "us-east-1c".into(),
                machines: 5,
                committed_seconds: 18_000,
                used_seconds: 5_400,
                committed_micros: 9_600_000,
                used_micros: 2_880_000,
                unused_micros: 6_720_000,
            }],
            unused_commitments_micros: 6_720_000,
            quotes: Some(QuoteQuality { jobs: 2, median_ratio: 0.97, p90_ratio: 1.31 }),
            timezone: "Europe/Berlin".into(),
            since: "2023-02-14T23:00:00Z".into(),
            warnings: vec!["no charge here has the tag `team`; did you mean `Team`?".into()],
            group_by,
            ..CostReport::default()
        }))
    }
}

#[tonic::async_trait]
impl System for Scripted {
    async fn info(&self, _: Request<InfoRequest>) -> Answer<InfoResponse> {
        Ok(Response::new(InfoResponse {
            version: "0.1.0".into(),
            market_time: "2023-02-15T00:00:00Z".into(),
            speed: 240,
            market: "synthetic, seed 7".into(),
            simulated_accelerators: true,
            jobs_active: 1,
            spent_micros: 3_217_654,
            bands: vec![band()],
            commitments: vec![CommitmentView {
                name: "research-a".into(),
                instance_type: "p3.2xlarge".into(),
                zone: "us-east-1c".into(),
                machines: 5,
                in_use: 1,
                price_micros_per_hour: 1_920_000,
                from: "2023-02-14T00:00:00Z".into(),
                until: "2024-02-14T00:00:00Z".into(),
            }],
            ..InfoResponse::default()
        }))
    }

    async fn list_offers(&self, _: Request<ListOffersRequest>) -> Answer<ListOffersResponse> {
        let offer = |capacity_type: &str, price: i64| OfferView {
            pool: "local".into(),
            zone: "us-east-1c".into(),
            instance_type: "p3.2xlarge".into(),
            capacity_type: capacity_type.into(),
            accelerator: "V100".into(),
            gpus: 1,
            cpus: 8.0,
            memory_mib: 62_464,
            price_micros_per_hour: price,
            on_demand_micros_per_hour: 3_060_000,
            free: 4,
            held: 1,
            hazard_per_hour: if capacity_type == "spot" { 0.35 } else { 0.0 },
            spell_since: "2023-02-14T22:10:00Z".into(),
            ..OfferView::default()
        };
        let paid = OfferView {
            commitment: "research-a".into(),
            paid_until: "2024-02-14T00:00:00Z".into(),
            ..offer("reserved", 1_920_000)
        };
        let offers = vec![offer("on-demand", 3_060_000), offer("spot", 918_000), paid];
        Ok(Response::new(ListOffersResponse { offers, ..ListOffersResponse::default() }))
    }
}
