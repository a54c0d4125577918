//! Why a job waits, or why it is where it is.

use std::time::Duration;

use spotwise_api::convert::{alternative_of, held, time_text, transfer};
use spotwise_api::v1;
use spotwise_model::job::CancelReason;
use spotwise_model::memory;
use spotwise_model::policy::Policy;
use spotwise_model::quote::Start;
use spotwise_model::time::human;
use spotwise_model::{
    Attempt, CapacityType, Condition, Job, JobId, JobState, Now, OfferKey, WaitReason,
};

use super::bands::{bands, why_dearer};
use super::commitments::{beside, is_reserved, why_paid};
use super::job_quote::reason;
use super::live::LiveSnapshot;
use super::{ServiceError, Session};
use spotwise_control::core::State;
use spotwise_control::phase::forecast;
use spotwise_model::access::Action;

/// How many warnings are repeated when somebody asks why.
const SHOWN_WARNINGS: usize = 5;

impl Session {
    /// Why a job waits, why it is where it is and what else it could have cost,
    /// or how it ended.
    pub async fn explain(
        &self,
        request: v1::ExplainRequest,
    ) -> Result<v1::ExplainResponse, ServiceError> {
        self.may(Action::ViewJobs)?;
        let (job, live) = self.job(self.job_id(&request.job).await?).await?;
        let mut answer = v1::ExplainResponse {
            band: self.band_of(&job).await?,
            slack_seconds: slack(&job, &live, &self.parts.config.control.policy)
                .unwrap_or_default(),
            job: Some(live.row(&job)),
            ..v1::ExplainResponse::default()
        };
        match &job.state {
            JobState::Waiting { why, why_since, .. } => {
                let seen = live.state.seen.waits.get(&job.id).filter(|seen| seen.same_kind(why));
                answer.headline = format!("waiting: {}", seen.unwrap_or(why));
                answer.since = time_text(*why_since);
                self.explain_waiting(&job, &live, seen.unwrap_or(why), &mut answer).await?;
            }
            JobState::Held { since, why } => {
                let spent = job.spent.saturating_add(live.accrued_by(job.id));
                answer.headline = format!("it is held: {}", held(&job, why, spent));
                answer.since = time_text(*since);
            }
            JobState::Active { since, .. } => {
                answer.since = time_text(*since);
                if let Some(attempt) = live.state.live_attempt(job.id) {
                    explain_active(&job, attempt, &live, &mut answer);
                    answer.details.extend(answer.band.iter().flat_map(|band| band.costs.clone()));
                } else {
                    answer.headline = "its last attempt has just ended".to_owned();
                }
            }
            over => {
                answer.slack_seconds = 0;
                answer.headline = ending(over);
                answer.since = over.ended().map(time_text).unwrap_or_default();
                answer.details = history(&job);
            }
        }
        answer.details.extend(self.said_of_files(job.id).await?);
        Ok(answer)
    }

    /// What workers have warned about recently.
    async fn said_of_files(&self, job: JobId) -> Result<Vec<String>, ServiceError> {
        let warnings = self.warnings(job).await?;
        let last = warnings.len().saturating_sub(SHOWN_WARNINGS);
        let line = |event: &v1::Event| format!("warning of {}: {}", event.attempt, event.message);
        Ok(warnings.iter().skip(last).map(line).collect())
    }

    /// How the job's class compares with the operator's preferences.
    async fn band_of(&self, job: &Job) -> Result<Option<v1::ClassBand>, ServiceError> {
        if job.state.is_terminal() {
            return Ok(None);
        }
        let (config, class) = (self.parts.config.clone(), job.spec.class.name());
        let seen = move |state: &State, now: Now| bands(state, &config.control.policy, now.market);
        let all = self.parts.handle.ask(seen).await?;
        Ok(all.into_iter().find(|band| band.class == class))
    }

    async fn explain_waiting(
        &self,
        job: &Job,
        live: &LiveSnapshot,
        why: &WaitReason,
        answer: &mut v1::ExplainResponse,
    ) -> Result<(), ServiceError> {
        if let WaitReason::Dependencies { .. } = why {
            answer.details.extend(self.waited_for(job).await?);
            answer.details.extend(deadline_line(job, live.now));
            return Ok(());
        }
        let mut quote = self.forecast(job, &live.state).await?;
        // The quote looks at the job alone; the last round has looked at all.
        if quote.start == Start::Now && waits_for_room(why) {
            quote.start = Start::WhenFree;
        }
        let offers = self.parts.handle.ask(|state: &State, _| state.seen.offers.clone()).await?;
        answer.details.push(reason(&quote, &offers));
        answer.details.extend(self.seen_of(job, quote.offer.as_ref()).await?);
        if let Some(offer) = quote.offer.as_ref() {
            answer.details.push(format!(
                "{} expected until it is done{}, {} in nine of ten cases; done by {}",
                quote.cost.p50.human(),
                of_it(&transfer(quote.transfer, job.spec.data.as_ref())),
                quote.cost.p90.human(),
                time_text(quote.finish.p50)
            ));
            let best = alternative_of(offer, quote.cost.p50, quote.finish.p50, "");
            answer.alternatives.push(best);
        }
        let is_paid = quote.offer.as_ref().is_some_and(is_reserved);
        if let Some(cost) = quote.on_demand_cost {
            answer.details.push(format!("on demand alone it would cost {}", cost.human()));
        }
        if let Some(saved) = quote.two_more_hours.filter(|saved| saved.micros() >= 10_000) {
            answer.details.push(format!(
                "with two more hours to its deadline it would cost {} less",
                saved.human()
            ));
        }
        answer.details.extend(deadline_line(job, live.now));
        answer.alternatives.extend(quote.alternatives.iter().map(|other| beside(other, is_paid)));
        Ok(())
    }
}

/// How many of the jobs waited for an explanation describes.
const TOLD: usize = 10;

impl Session {
    /// The progress of the jobs that are waited for and have not ended.
    async fn waited_for(&self, job: &Job) -> Result<Vec<String>, ServiceError> {
        let job = job.clone();
        let tell = move |state: &State, _| {
            let open = job.after.iter().filter_map(|id| {
                let parent = state.jobs.get(id).filter(|parent| !parent.state.is_terminal())?;
                let must = match job.condition(*id) {
                    _ if job.one_of.contains_key(id) => {
                        "must end, and one of its array fail, else this job is skipped"
                    }
                    Condition::Succeeded => "must succeed",
                    Condition::Failed => "must fail, else this job is skipped",
                    Condition::Ended => "must end",
                };
                Some(format!(
                    "{id} {} is {} and {must}",
                    parent.display_name(),
                    parent.state.name()
                ))
            });
            open.take(TOLD).collect()
        };
        Ok(self.parts.handle.ask(tell).await?)
    }

    /// What the forecast of a spot offer is based on.
    async fn seen_of(
        &self,
        job: &Job,
        offer: Option<&OfferKey>,
    ) -> Result<Option<String>, ServiceError> {
        let spot = offer.filter(|offer| offer.market.capacity_type == CapacityType::Spot);
        let Some(offer) = spot.cloned() else { return Ok(None) };
        let nodes = job.spec.resources.nodes;
        let words =
            move |state: &State, now: Now| forecast::basis(state, &offer.market, nodes, now.market);
        Ok(self.parts.handle.ask(words).await?)
    }
}

/// Whether a job waits because there is no room for it.
const fn waits_for_room(why: &WaitReason) -> bool {
    matches!(
        why,
        WaitReason::Reserved { .. }
            | WaitReason::RoomKept { .. }
            | WaitReason::PoolFull { .. }
            | WaitReason::LimitReached { .. }
            | WaitReason::NoCapacity { .. }
            | WaitReason::Outbid
    )
}

fn explain_active(
    job: &Job,
    attempt: &Attempt,
    live: &LiveSnapshot,
    answer: &mut v1::ExplainResponse,
) {
    let why = &attempt.why;
    answer.headline = format!("it is on {}: {}", attempt.offer, why.rule);
    let moved = transfer(why.transfer, job.spec.data.as_ref());
    let dearer = why_dearer(job.spec.class, attempt).map(|text| separated(&moved, &text));
    let dearer = dearer.unwrap_or_default();
    answer.details.push(format!(
        "when it was placed: {} expected until done{}, done by {}, {} of slack before on demand \
         becomes necessary",
        why.expected_cost.human(),
        of_it(&format!("{moved}{dearer}")),
        time_text(why.finish),
        human(why.slack)
    ));
    if let Some(order) = &attempt.stop {
        let reason = spotwise_api::convert::stop_reason(order.reason);
        answer.details.push(format!("it is being stopped ({reason}) since {}", order.at.market));
    }
    if let Some(checkpoint) = &attempt.checkpoint {
        let step = checkpoint.progress.step.map(|s| format!(" at step {s}")).unwrap_or_default();
        answer.details.push(format!("its last checkpoint{step} is of {}", checkpoint.at));
    }
    answer.details.extend(memory_line(&live.state.with_memory(attempt)));
    let paid = why_paid(attempt, live);
    let is_paid = attempt.offer.market.capacity_type == CapacityType::Reserved;
    answer.details.extend(paid);
    answer.details.extend(deadline_line(job, live.now));
    answer.alternatives.push(alternative_of(&attempt.offer, why.expected_cost, why.finish, ""));
    answer.alternatives.extend(why.alternatives.iter().map(|other| beside(other, is_paid)));
}

/// Its memory use, and whether it could use more than it has asked for.
fn memory_line(attempt: &Attempt) -> Option<String> {
    let used = attempt.memory()?;
    let asked = attempt.share.memory_mib.saturating_mul(1 << 20);
    let bound = if used.limit_bytes.is_some() { "limited" } else { "measured, not limited" };
    let (peak, asked) = (memory::human(used.peak_bytes), memory::human(asked));
    Some(format!("memory: at most {peak} so far, asked for {asked}; {bound}"))
}

/// Appended to a sum: ` (…)`, or nothing.
fn of_it(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn separated(before: &str, text: &str) -> String {
    if before.is_empty() { text.to_owned() } else { format!(", {text}") }
}

fn deadline_line(job: &Job, now: Now) -> Option<String> {
    let left = job.deadline.duration_since(now.market);
    let source = spotwise_api::convert::deadline_source(job.deadline_source);
    let span = human(Duration::try_from(left.abs()).ok()?);
    Some(if left.is_negative() {
        format!("its deadline ({source}) passed {span} ago")
    } else if job.deadline_lost.is_some() {
        format!("its deadline ({source}) is in {span}, and can no longer be met")
    } else {
        format!("its deadline ({source}) is in {span}")
    })
}

/// Time until on-demand would have to start: the deadline less what is left to
/// do, two changeovers and the margin, as the planner counts it before it has
/// chosen a machine.
fn slack(job: &Job, live: &LiveSnapshot, policy: &Policy) -> Option<i64> {
    if job.state.is_terminal() {
        return None;
    }
    if let Some(WaitReason::CheaperLater { latest_start, .. }) = live.state.seen.waits.get(&job.id)
    {
        return Some(latest_start.duration_since(live.now.market).as_secs());
    }
    let progress = match live.state.live_attempt(job.id) {
        Some(attempt) => live.state.progress_of(attempt),
        None => job.saved_progress(),
    };
    let need = progress
        .left_of(job.measured.longest(&job.spec))
        .saturating_add(policy.changeover.saturating_mul(2))
        .saturating_add(policy.deadline_margin);
    let need = i64::try_from(need.as_secs()).unwrap_or(i64::MAX);
    Some(job.deadline.duration_since(live.now.market).as_secs().saturating_sub(need))
}

fn ending(state: &JobState) -> String {
    match state {
        JobState::Succeeded { .. } => "it has succeeded".to_owned(),
        JobState::Failed { why, .. } => format!("it has failed: {why}"),
        JobState::Cancelled { why: CancelReason::Owner, .. } => "its owner cancelled it".to_owned(),
        JobState::Cancelled { why: CancelReason::Unmet(why), .. } => {
            format!("it was cancelled: {why}")
        }
        JobState::Skipped { why, .. } => format!("it was not needed: {why}"),
        JobState::Rejected { why, .. } => format!("it was rejected: {why}"),
        JobState::Held { .. } | JobState::Waiting { .. } | JobState::Active { .. } => {
            "it is not over".to_owned()
        }
    }
}

/// `1 attempt`, `2 attempts`.
fn counted(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn history(job: &Job) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, {}, {}; {} spent",
        counted(job.attempts, "attempt"),
        counted(job.interruptions, "interruption"),
        counted(job.errors, "failure"),
        job.spent.human()
    )];
    lines.extend(job.met_deadline().map(|met| {
        let word = if met { "met" } else { "missed" };
        format!("its deadline {} was {word}", job.deadline)
    }));
    lines
}
