//! Jobs as rows.

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::job::{DeadlineSource, HoldReason};
use spotwise_model::{Attempt, AttemptState, Job, JobId, JobState, Money, WaitReason};

use super::{optional_time_text, time_text};
use crate::v1;

/// What is known of a live job beyond its stored row.
#[derive(Clone, Debug, Default)]
pub struct JobFigures {
    /// Progress that is not stored yet.
    pub progress: Option<Progress>,
    /// Charges of its live machines up to now.
    pub estimated: Money,
    /// Its live attempt.
    pub attempt: Option<Attempt>,
    /// What it waits for as the last round saw it.
    pub waits: Option<WaitReason>,
    /// Why nothing moves it by itself; empty where something may.
    pub blocked: String,
}

/// The row of a job.
pub fn job_summary(job: &Job, figures: &JobFigures) -> v1::JobSummary {
    let progress = match figures.progress {
        Some(seen) if seen.done_ppm >= job.progress.done_ppm => seen,
        _ => job.progress,
    };
    v1::JobSummary {
        id: job.id.to_string(),
        name: job.display_name(),
        title: job.spec.title.clone().unwrap_or_default(),
        group: job.group.to_string(),
        model: job.spec.model.clone().unwrap_or_default(),
        class: job.spec.class.name().to_owned(),
        state: job.state.name().to_owned(),
        detail: detail(job, figures),
        submitted: time_text(job.submitted),
        submitted_by: job.submitted_by.clone().unwrap_or_default(),
        deadline: time_text(job.deadline),
        ended: optional_time_text(job.state.ended()),
        attempts: job.attempts,
        interruptions: job.interruptions,
        errors: job.errors,
        progress: share_done(job, &progress),
        step: progress.step.unwrap_or_default(),
        total_steps: progress.total_steps.unwrap_or_default(),
        spent_micros: job.spent.saturating_add(figures.estimated).micros(),
        budget_micros: job.spec.budget.map(Money::micros).unwrap_or_default(),
        tags: job.spec.tags.clone(),
        deadline_outcome: deadline_outcome(job).to_owned(),
        blocked: figures.blocked.clone(),
    }
}

/// `given` or `derived`.
pub const fn deadline_source(source: DeadlineSource) -> &'static str {
    match source {
        DeadlineSource::Given => "given",
        DeadlineSource::Derived => "derived",
    }
}

/// A command that says nothing of its progress is done when it has succeeded.
fn share_done(job: &Job, progress: &Progress) -> f64 {
    if matches!(job.state, JobState::Succeeded { .. }) {
        return 1.0;
    }
    f64::from(progress.done_ppm) / f64::from(Progress::WHOLE)
}

fn deadline_outcome(job: &Job) -> &'static str {
    match (job.met_deadline(), &job.state) {
        (Some(true), _) => "met",
        (Some(false), _) | (None, JobState::Failed { .. }) => "missed",
        (None, state) if job.deadline_lost.is_some() && !state.is_terminal() => "out-of-reach",
        _ => "",
    }
}

fn detail(job: &Job, figures: &JobFigures) -> String {
    match &job.state {
        JobState::Held { why, .. } => held(job, why, job.spent.saturating_add(figures.estimated)),
        JobState::Waiting { why, .. } => figures.waits.as_ref().unwrap_or(why).to_string(),
        JobState::Active { .. } => figures.attempt.as_ref().map(on).unwrap_or_default(),
        JobState::Succeeded { .. } => "done".to_owned(),
        JobState::Failed { why, .. } => why.to_string(),
        JobState::Cancelled { why, .. } => why.to_string(),
        JobState::Skipped { why, .. } => format!("not needed: {why}"),
        JobState::Rejected { why, .. } => why.clone(),
    }
}

/// Why it is held, with what it has spent by now, and what lets it go on.
pub fn held(job: &Job, why: &HoldReason, spent: Money) -> String {
    let HoldReason::Budget { budget, .. } = why else { return why.to_string() };
    let why = HoldReason::Budget { budget: *budget, committed: spent }.to_string();
    format!("{why}; `{}` lets it go on", raise(job.id))
}

/// The command that raises a budget.
fn raise(job: JobId) -> String {
    format!("spotwise edit {job} --budget AMOUNT")
}

/// How long a job may wait for a price that its budget holds before nobody expects one
/// (market time).
const TOO_DEAR_FOR: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// Why nothing moves a job by itself, and the command that does; none where something
/// may. A price may fall, but hardly to half, and hardly when it has not for a while.
pub fn blocked(job: &Job, waits: Option<&WaitReason>, now: Timestamp) -> Option<String> {
    match &job.state {
        JobState::Held { why: HoldReason::Budget { .. }, .. } => {
            Some(format!("its budget is used up: `{}` lets it go on", raise(job.id)))
        }
        JobState::Held { why: why @ HoldReason::Approval, .. } => Some(why.to_string()),
        JobState::Waiting { why, why_since, .. } => {
            let why = waits.filter(|seen| seen.same_kind(why)).unwrap_or(why);
            let WaitReason::OverBudget { needs, left } = why else { return None };
            let far = needs.micros() > left.micros().saturating_mul(2);
            let long = now.duration_since(*why_since) >= TOO_DEAR_FOR;
            (far || long).then(|| format!("{why}: `{}` lets it go on", raise(job.id)))
        }
        _ => None,
    }
}

fn on(attempt: &Attempt) -> String {
    match (&attempt.stop, &attempt.state) {
        (Some(_), _) => format!("stopping on {}", attempt.offer),
        (None, AttemptState::Running { .. }) => format!("on {}", attempt.offer),
        (None, _) => format!("starting on {}", attempt.offer),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use spotwise_model::JobSpec;
    use spotwise_model::job::{ArrayPlace, CancelReason, FailReason};
    use spotwise_model::spec::{Class, GpuRequest, Resources, Retries, Work};

    use super::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn job(state: JobState) -> Job {
        let spec = JobSpec {
            name: "infer".to_owned(),
            title: None,
            model: Some("llama".to_owned()),
            class: Class::Inference,
            image: None,
            command: vec!["true".to_owned()],
            workdir: None,
            resources: Resources {
                gpus: GpuRequest::None,
                cpu_milli: 1_000,
                memory_mib: 512,
                nodes: 1,
            },
            work: Work::Unknown,
            deadline: None,
            budget: Some(Money::from_micros(5_000_000)),
            checkpoint: None,
            interruptible: true,
            retries: Retries { errors: 1, interruptions: None },
            timeout: None,
            env: BTreeMap::new(),
            not_secret: BTreeMap::new(),
            secrets: BTreeMap::new(),
            tags: BTreeMap::from([("Team".to_owned(), "ml".to_owned())]),
            priority: 0,
            after: Vec::new(),
            array: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            data: None,
        };
        Job {
            group: JobId(14),
            array: Some(ArrayPlace {
                first: JobId(14),
                index: 3,
                size: 8,
                max_parallel: None,
                reuse_workers: false,
            }),
            attempts: 2,
            interruptions: 1,
            progress: Progress::of_step(25, Some(100)),
            spent: Money::from_micros(30),
            state,
            ..Job::new(JobId(17), Arc::new(spec), at(100), at(1_000))
        }
    }

    #[test]
    fn a_row_adds_what_only_memory_knows() {
        let why = WaitReason::NoCapacity { suitable_offers: 2 };
        let job = job(JobState::Waiting { since: at(1), why, why_since: at(1) });
        let figures = JobFigures {
            progress: Some(Progress::of_step(50, Some(100))),
            estimated: Money::from_micros(12),
            attempt: None,
            waits: Some(WaitReason::NoCapacity { suitable_offers: 5 }),
            blocked: String::new(),
        };
        let row = job_summary(&job, &figures);
        assert_eq!((row.id.as_str(), row.name.as_str()), ("j17", "infer[3]"));
        assert_eq!((row.step, row.spent_micros, row.budget_micros), (50, 42, 5_000_000));
        assert!((row.progress - 0.5).abs() < 1e-9);
        assert!(row.detail.contains('5'), "the figures of the last round: {}", row.detail);
        let older = JobFigures { progress: Some(Progress::of_step(1, Some(100))), ..figures };
        assert_eq!(job_summary(&job, &older).step, 25, "progress never goes back");
    }

    #[test]
    fn a_deadline_is_open_until_the_job_ends() {
        let figures = JobFigures::default();
        let outcome = |state| job_summary(&job(state), &figures).deadline_outcome;
        assert_eq!(outcome(JobState::Succeeded { at: at(1_000) }), "met");
        assert_eq!(outcome(JobState::Succeeded { at: at(1_001) }), "missed");
        assert_eq!(outcome(JobState::Failed { at: at(5), why: FailReason::TimedOut }), "missed");
        assert_eq!(outcome(JobState::Cancelled { at: at(5), why: CancelReason::Owner }), "");
    }
}
