//! A submission becomes jobs: arrays expanded, names of dependencies resolved,
//! deadlines fixed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::job::{ArrayPlace, DeadlineSource};
use spotwise_model::spec::{Array, Deadline, Dependency, JobSpec, Submission, check_deadline};
use spotwise_model::time::after;
use spotwise_model::{Job, JobId, JobState, Money, Now};
use spotwise_solver::graph;

use super::{Answer, FIRST_WAIT, Terms};
use crate::core::{Change, EventKind, State, SubmissionRecord};
use crate::handle::{Refusal, Reply, Submit};

pub(super) fn submit(state: &mut State, request: &Submit, terms: &Terms, now: Now) -> Answer {
    if let Some(answer) = replay(state, request) {
        return answer;
    }
    let specs = &request.submission.jobs;
    check_deadlines(specs, now.market)?;
    if let Some(cycle) = graph::cycle(specs.iter().map(|s| (s.name.clone(), names_after(s)))) {
        let cycle = cycle.join(" -> ");
        return Err(invalid(
            "dependency_cycle",
            "after",
            format!("the jobs wait for each other: {cycle}; remove one of these dependencies"),
        ));
    }
    let elements: usize =
        specs.iter().map(|s| s.array.as_ref().map_or(1, |a| a.elements.len())).sum();
    if state.jobs.len() + elements > terms.max_live_jobs {
        return Err(Refusal::Overloaded);
    }
    // Parents that have left memory are looked up by the caller; from here on
    // the live children keep them known.
    state.ended_parents.extend(request.ended_parents.iter().copied());
    let jobs = Expansion::new(state, request, now).run(terms.changeover)?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let mut changes: Vec<Change> = Vec::with_capacity(jobs.len() * 2 + 1);
    for job in &jobs {
        changes.push(Change::event(job.id, None, now.market, EventKind::Submitted, welcome(job)));
        changes.push(job.clone().into());
    }
    if let Some(key) = &request.key {
        changes.push(Change::Submission(SubmissionRecord {
            key: key.clone(),
            document_hash: request.document_hash.clone(),
            jobs: ids.clone(),
            at: now.market,
        }));
    }
    Ok((changes, Reply::Submitted { jobs: ids, made: jobs, replayed: false }))
}

/// The jobs that a submission would become, parents before children. `state` has the
/// earlier jobs that it names, or how they ended.
pub fn preview(
    state: &State,
    submission: Submission,
    changeover: Duration,
    now: Now,
) -> Result<Vec<Job>, Refusal> {
    let nothing = (String::new(), None, None, Vec::new());
    let (document_hash, key, known, ended_parents) = nothing;
    let request = Submit { submission, document_hash, key, known, ended_parents };
    Expansion::new(state, &request, now).run(changeover)
}

/// Refuses deadlines that cannot be met whatever is bought.
pub fn check_deadlines(specs: &[JobSpec], now: Timestamp) -> Result<(), Refusal> {
    for (index, spec) in specs.iter().enumerate() {
        let several = specs.len() > 1;
        check_deadline(spec, now).map_err(|error| Refusal::Invalid {
            code: error.code,
            field: if several { format!("jobs[{index}].{}", error.field) } else { error.field },
            message: error.message,
        })?;
    }
    Ok(())
}

/// The answer to a key that was used before.
fn replay(state: &State, request: &Submit) -> Option<Answer> {
    let recent = request.key.as_ref().and_then(|key| state.seen.recent_keys.get(key));
    let recent = recent.map(|record| (&record.document_hash, &record.jobs));
    let stored = request.known.as_ref().map(|(hash, jobs)| (hash, jobs));
    let (hash, jobs) = recent.or(stored)?;
    Some(if *hash == request.document_hash {
        let (jobs, made) = (jobs.clone(), Vec::new());
        Ok((Vec::new(), Reply::Submitted { jobs, made, replayed: true }))
    } else {
        Err(Refusal::KeyReused)
    })
}

fn names_after(spec: &JobSpec) -> Vec<String> {
    let names = spec.after.iter().filter_map(|dependency| match dependency {
        Dependency::Name(name) => Some(name.clone()),
        Dependency::Id(_) => None,
    });
    names.collect()
}

fn invalid(code: &'static str, field: &str, message: String) -> Refusal {
    Refusal::Invalid { code, field: field.to_owned(), message }
}

fn welcome(job: &Job) -> String {
    let source = match job.deadline_source {
        DeadlineSource::Given => "as asked",
        DeadlineSource::Derived => "three times the expected duration",
    };
    format!("accepted {}; deadline {} ({source})", job.display_name(), job.deadline)
}

/// Makes the jobs of one submission, parents before children.
struct Expansion<'a> {
    state: &'a State,
    request: &'a Submit,
    now: Now,
    group: JobId,
    next: u64,
    /// Ids and deadline of the jobs that a name stands for.
    made: BTreeMap<&'a str, (Vec<JobId>, Timestamp)>,
}

impl<'a> Expansion<'a> {
    fn new(state: &'a State, request: &'a Submit, now: Now) -> Self {
        let first = state.last_job + 1;
        Self { state, request, now, group: JobId(first), next: first, made: BTreeMap::new() }
    }

    fn run(mut self, changeover: Duration) -> Result<Vec<Job>, Refusal> {
        let mut jobs = Vec::new();
        for spec in parents_first(&self.request.submission.jobs) {
            jobs.extend(self.expand(spec)?);
        }
        pull_forward(&mut jobs, changeover);
        Ok(jobs)
    }

    fn expand(&mut self, spec: &'a JobSpec) -> Result<Vec<Job>, Refusal> {
        let (parents, parents_done_by) = self.parents(spec)?;
        let (deadline, deadline_source) = self.deadline(spec, parents_done_by);
        let first = JobId(self.next);
        let array = spec.array.as_ref();
        let size = array.map_or(1, |array| array.elements.len());
        let mut jobs = Vec::with_capacity(size);
        // Without the list of elements: a copy of that for each of them would be square.
        let alone = JobSpec { array: None, ..spec.clone() };
        for index in 0..size {
            jobs.push(Job {
                id: JobId(self.next),
                group: self.group,
                array: array.map(|array| place(array, first, index)),
                spec: Arc::new(element(&alone, array, index)),
                submitted: self.now.market,
                deadline,
                deadline_source,
                after: parents.clone(),
                attempts: 0,
                errors: 0,
                interruptions: 0,
                progress: Progress::default(),
                checkpoint: None,
                measured: None,
                spent: Money::ZERO,
                cancel_asked: None,
                not_before: None,
                half_known: None,
                deadline_lost: None,
                quoted: None,
                state: JobState::Waiting {
                    since: self.now.market,
                    why: FIRST_WAIT,
                    why_since: self.now.market,
                },
            });
            self.next += 1;
        }
        let ids = jobs.iter().map(|job| job.id).collect();
        self.made.insert(&spec.name, (ids, deadline));
        Ok(jobs)
    }

    /// The jobs that must succeed first, and by when the last of them must.
    fn parents(&self, spec: &JobSpec) -> Result<(Vec<JobId>, Timestamp), Refusal> {
        let mut parents = BTreeSet::new();
        let mut done_by = self.now.market;
        for dependency in &spec.after {
            match dependency {
                Dependency::Name(name) => {
                    let (ids, deadline) = self.made.get(name.as_str()).ok_or_else(|| {
                        invalid("unknown_dependency", "after", format!("no job is named `{name}`"))
                    })?;
                    parents.extend(ids.iter().copied());
                    done_by = done_by.max(*deadline);
                }
                Dependency::Id(id) => {
                    done_by = done_by.max(self.earlier_job(*id)?);
                    parents.insert(*id);
                }
            }
        }
        Ok((parents.into_iter().collect(), done_by))
    }

    /// The deadline of a job that was submitted before; now, where it is done.
    fn earlier_job(&self, id: JobId) -> Result<Timestamp, Refusal> {
        if let Some(job) = self.state.jobs.get(&id) {
            return Ok(job.deadline);
        }
        match self.state.ended_parents.get(&id) {
            Some(true) => Ok(self.now.market),
            Some(false) => Err(invalid(
                "failed_dependency",
                "after",
                format!("{id} has ended without success; resubmit it first"),
            )),
            None => Err(invalid("unknown_dependency", "after", format!("there is no job {id}"))),
        }
    }

    /// As asked, or three times the expected duration after the submission (or
    /// after the last parent's deadline).
    fn deadline(&self, spec: &JobSpec, parents_done_by: Timestamp) -> (Timestamp, DeadlineSource) {
        match spec.deadline {
            Some(Deadline::At(at)) => (at, DeadlineSource::Given),
            Some(Deadline::Within(span)) => (after(self.now.market, span), DeadlineSource::Given),
            None => {
                let span = spec.longest_expected_duration().saturating_mul(3);
                (after(parents_done_by, span), DeadlineSource::Derived)
            }
        }
    }
}

/// A deadline that nobody asked for gives way to those of the jobs behind it.
fn pull_forward(jobs: &mut [Job], changeover: Duration) {
    let deadlines = graph::effective_deadlines(jobs.iter().map(|job| graph::Node {
        key: job.id,
        after: job.after.clone(),
        deadline: job.deadline,
        duration: job.spec.longest_expected_duration(),
        changeover,
    }));
    for job in jobs.iter_mut().filter(|job| job.deadline_source == DeadlineSource::Derived) {
        job.deadline = deadlines.get(&job.id).copied().unwrap_or(job.deadline);
    }
}

/// The specs in an order in which every name is made before it is needed. The
/// caller has made sure that there is no cycle.
fn parents_first(specs: &[JobSpec]) -> Vec<&JobSpec> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut left: Vec<&JobSpec> = specs.iter().collect();
    let mut order = Vec::with_capacity(left.len());
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    while !left.is_empty() {
        let ready = |spec: &&JobSpec| {
            names_after(spec)
                .iter()
                .all(|n| done.contains(n.as_str()) || !known.contains(n.as_str()))
        };
        let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(ready);
        done.extend(now.iter().map(|spec| spec.name.as_str()));
        if now.is_empty() {
            order.extend(later);
            break;
        }
        order.extend(now);
        left = later;
    }
    order
}

fn place(array: &Array, first: JobId, index: usize) -> ArrayPlace {
    let number = |n: usize| u32::try_from(n).expect("an array has at most 10,000 elements");
    ArrayPlace {
        first,
        index: number(index),
        size: number(array.elements.len()),
        max_parallel: array.max_parallel,
    }
}

/// The spec of one element: its variables in its environment.
fn element(alone: &JobSpec, array: Option<&Array>, index: usize) -> JobSpec {
    let mut spec = alone.clone();
    if let Some(variables) = array.and_then(|array| array.elements.get(index)) {
        spec.env.extend(variables.clone());
    }
    spec
}
