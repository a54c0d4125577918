//! What a document would cost, before anything is accepted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_api::v1;
use spotwise_model::quote::{Quote, Spread};
use spotwise_model::{Job, JobId, JobSpec, JobState, Now, Offer};
use spotwise_solver::{PlanInput, PlanJob};

use super::chain::QuoteContext;
use super::submit::read;
use super::{ServiceError, Session};
use spotwise_control::Command;
use spotwise_control::core::State;
use spotwise_control::intake;
use spotwise_control::phase::forecast::{self, speaks_to};
use spotwise_control::view::deadline::{effective_deadline, effective_deadlines};
use spotwise_control::view::snapshot::{budget_left, snapshot};
use spotwise_model::access::Action;

/// The longest wait for forecasts never fitted before: all of a large catalogue take a
/// second.
const FORECASTS: Duration = Duration::from_secs(5);
/// How often they are checked for.
const ASK_AGAIN: Duration = Duration::from_millis(20);

impl Session {
    /// What the document would cost. Changes nothing.
    pub async fn quote(
        &self,
        request: v1::QuoteRequest,
    ) -> Result<v1::QuoteResponse, ServiceError> {
        self.may(Action::ViewJobs)?;
        let submission = read(&request.document, &request.format)?;
        self.check_teams(&submission).await?;
        let (arrays, ended) = self.earlier(&submission).await?;
        let named = submission.jobs.iter().flat_map(|spec| &spec.after).filter_map(|it| it.id());
        let named: Vec<JobId> = named.chain(arrays.values().flatten().copied()).collect();
        let ask = move |state: &State, now: Now| {
            let live = named.iter().filter_map(|id| Some((*id, state.jobs.get(id)?.clone())));
            let jobs: BTreeMap<JobId, Job> = live.collect();
            let ends = |(id, job): (&JobId, &Job)| Some((*id, expected_end(state, job)?));
            let earlier: BTreeMap<JobId, Spread<Timestamp>> =
                jobs.iter().filter_map(ends).collect();
            let part = State { jobs, last_job: state.last_job, ..State::default() };
            (part, earlier, state.pools.clone(), now)
        };
        let (mut part, earlier, pools, now) = self.parts.handle.ask(ask).await?;
        part.ended_parents.extend(ended);
        intake::check_deadlines(&submission.jobs, now.market)?;
        let changeover = self.parts.config.control.policy.changeover;
        let jobs = intake::preview(&part, (submission.clone(), arrays), changeover, now)?;
        self.expect(submission.jobs.iter()).await?;
        let mut input = self.market_input().await?;
        input.now = now.market;
        let quoting = move || {
            let context = QuoteContext { input, pools, earlier, changeover, now, jobs: &jobs };
            context.quote(&submission.jobs)
        };
        tokio::task::spawn_blocking(quoting)
            .await
            .map_err(|error| ServiceError::internal("quoting", error))
    }

    /// Waits for a while until the forecasts relevant to such jobs exist.
    async fn expect(&self, specs: impl Iterator<Item = &JobSpec>) -> Result<(), ServiceError> {
        let specs: Vec<_> = specs.filter(|spec| speaks_to(spec)).cloned().map(Arc::new).collect();
        if specs.is_empty() {
            return Ok(());
        }
        self.command(Command::RequestForecasts(specs)).await?;
        let missing = |state: &State, _: Now| forecast::is_any_missing(state);
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < FORECASTS && self.parts.handle.ask(missing).await? {
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(())
    }

    /// The forecast for a job as it is now.
    pub(super) async fn forecast(&self, job: &Job, state: &State) -> Result<Quote, ServiceError> {
        let deadline = self.effective_deadline(job).await?;
        let budget_left = budget_left(state, job);
        let barred = state.pools.barred(&job.spec);
        let asked = PlanJob { quoted: true, barred, ..PlanJob::new(job, deadline, budget_left) };
        Ok(self.quote_of(asked).await?.0)
    }

    /// When a job must be done, as seen by plans.
    pub(super) async fn effective_deadline(&self, job: &Job) -> Result<Timestamp, ServiceError> {
        let (id, changeover) = (job.id, self.parts.config.control.policy.changeover);
        let ask = move |state: &State, _: Now| effective_deadline(state, id, changeover);
        Ok(self.parts.handle.ask(ask).await?.unwrap_or(job.deadline))
    }

    /// The forecast for a job as given, and the offers it is based on.
    pub(super) async fn quote_of(
        &self,
        asked: PlanJob,
    ) -> Result<(Quote, Vec<Offer>), ServiceError> {
        let input = self.market_input().await?;
        let quoting = move || (spotwise_solver::quote(&input, &asked), input.offers);
        tokio::task::spawn_blocking(quoting)
            .await
            .map_err(|error| ServiceError::internal("quoting", error))
    }

    /// The market and what we hold of it, without the waiting jobs.
    async fn market_input(&self) -> Result<PlanInput, ServiceError> {
        let copy = |state: &State, now: Now| {
            let active =
                state.jobs.iter().filter(|(_, j)| matches!(j.state, JobState::Active { .. }));
            let mut part = State {
                jobs: active.map(|(id, job)| (*id, job.clone())).collect(),
                attempts: state.attempts.clone(),
                instances: state.instances.clone(),
                ..State::default()
            };
            part.seen.offers = state.seen.offers.clone();
            part.seen.reservations = state.seen.reservations.clone();
            part.seen.forecasts = state.seen.forecasts.clone();
            part.pools = state.pools.clone();
            (part, now)
        };
        let (part, now) = self.parts.handle.ask(copy).await?;
        let config = &self.parts.config.control;
        let deadlines = effective_deadlines(part.jobs.values(), config.policy.changeover);
        Ok(snapshot(&part, config, Vec::new(), &deadlines, now))
    }
}

/// When a job submitted earlier is expected to end; `None` if it has ended.
fn expected_end(state: &State, job: &Job) -> Option<Spread<Timestamp>> {
    if job.state.is_terminal() {
        return None;
    }
    let alike = |end: Timestamp| Spread { p50: end, p90: end };
    let placed = state.live_attempt(job.id).map(|attempt| alike(attempt.why.finish));
    let quoted = job.quoted.map(|quoted| quoted.finish);
    Some(placed.or(quoted).unwrap_or_else(|| alike(job.deadline)))
}
