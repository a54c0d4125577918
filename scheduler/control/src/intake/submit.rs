//! A submission becomes jobs: arrays expanded, names of dependencies resolved,
//! deadlines fixed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::job::{ArrayPlace, DeadlineSource};
use spotwise_model::spec::{
    Array, Condition, Deadline, Dependency, JobSpec, Needed, Submission, check_deadline,
    elementwise_mismatch,
};
use spotwise_model::time::after;
use spotwise_model::{Job, JobId, Now};
use spotwise_solver::graph;

use super::{CommandResult, accepted, invalid, replayed};
use crate::command::Submit;
use crate::config::Config;
use crate::core::State;
use crate::view::deadline::effective_deadlines;
use crate::{Refusal, Reply};

pub(super) fn submit(
    state: &mut State,
    request: &Submit,
    config: &Config,
    now: Now,
) -> CommandResult {
    if let Some(answer) = replayed(state, &request.key, &request.document_hash, &request.known) {
        let made = Vec::new();
        return answer.map(|jobs| (Vec::new(), Reply::Submitted { jobs, made, replayed: true }));
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
    if state.jobs.len() + elements > config.max_live_jobs {
        return Err(Refusal::Overloaded);
    }
    // Parents that have left memory are looked up by the caller; from here on
    // the live children keep them known.
    state.ended_parents.extend(request.ended_parents.iter().copied());
    let jobs = Expansion::new(state, request, now).run(config.policy.changeover)?;
    Ok(accepted(jobs, submitted_message, (&request.key, &request.document_hash), now))
}

/// The jobs that a submission would become, parents before children. `state` has the
/// earlier jobs that it names, or how they ended; the elements of earlier arrays are
/// supplied as well.
pub fn preview(
    state: &State,
    (submission, arrays): (Submission, BTreeMap<JobId, Vec<JobId>>),
    changeover: Duration,
    now: Now,
) -> Result<Vec<Job>, Refusal> {
    let nothing = (String::new(), None, None, Vec::new());
    let (document_hash, key, known, ended_parents) = nothing;
    let request = Submit { submission, document_hash, key, known, ended_parents, arrays };
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

fn names_after(spec: &JobSpec) -> Vec<String> {
    spec.after.iter().filter_map(Dependency::name).map(str::to_owned).collect()
}

fn submitted_message(job: &Job) -> String {
    let source = match job.deadline_source {
        DeadlineSource::Given => "as asked",
        DeadlineSource::Derived => "three times the expected duration",
    };
    format!("accepted {}; deadline {} ({source})", job.display_name(), job.deadline)
}

/// What the elements of one spec wait for.
#[derive(Default)]
struct Parents {
    /// Each of them.
    all: BTreeMap<JobId, Condition>,
    /// Elements of arrays of which one must fail, each with the first of its array.
    one_of: BTreeMap<JobId, JobId>,
    /// One element of each of these lists per element, by its index.
    by_element: Vec<(Vec<JobId>, Condition)>,
    /// The deadline of the last of them.
    done_by: Timestamp,
}

impl Parents {
    /// What one element waits for, and the conditions where that need not succeed.
    fn of(&self, index: usize) -> (Vec<JobId>, BTreeMap<JobId, Condition>) {
        let own = self.by_element.iter().filter_map(|(ids, on)| Some((*ids.get(index)?, *on)));
        let mut all: BTreeMap<JobId, Condition> =
            self.all.iter().map(|(id, on)| (*id, *on)).chain(own).collect();
        let ids = all.keys().copied().collect();
        all.retain(|_, on| !on.is_default());
        (ids, all)
    }
}

/// Creates the jobs of one submission, parents before children.
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
        let parents = self.parents(spec)?;
        let (deadline, deadline_source) = self.deadline(spec, parents.done_by);
        let first = JobId(self.next);
        let array = spec.array.as_ref();
        let size = array.map_or(1, |array| array.elements.len());
        let mut jobs = Vec::with_capacity(size);
        // Without the list of elements: a copy of that for each of them would be square.
        let alone = JobSpec { array: None, ..spec.clone() };
        let same = parents.by_element.is_empty().then(|| parents.of(0));
        for index in 0..size {
            let (after, on) = same.clone().unwrap_or_else(|| parents.of(index));
            jobs.push(Job {
                group: self.group,
                array: array.map(|array| place(array, first, index)),
                deadline_source,
                after,
                on,
                one_of: parents.one_of.clone(),
                ..Job::new(
                    JobId(self.next),
                    Arc::new(element(&alone, array, index)),
                    self.now.market,
                    deadline,
                )
            });
            self.next += 1;
        }
        let ids = jobs.iter().map(|job| job.id).collect();
        self.made.insert(&spec.name, (ids, deadline));
        Ok(jobs)
    }

    /// The jobs that must end first.
    fn parents(&self, spec: &JobSpec) -> Result<Parents, Refusal> {
        let mut parents = Parents { done_by: self.now.market, ..Parents::default() };
        for (place, dependency) in spec.after.iter().enumerate() {
            let (ids, done_by) = match &dependency.job {
                Needed::Name(name) => self.made.get(name.as_str()).cloned().ok_or_else(|| {
                    let message = format!("no job is named `{name}`");
                    invalid("unknown_dependency", &self.field(spec, place), message)
                })?,
                Needed::Id(id) => self.earlier(spec, place, *id)?,
            };
            parents.done_by = parents.done_by.max(done_by);
            if dependency.elementwise {
                parents.by_element.push((ids, dependency.on));
            } else {
                if let Some(first) = ids.first().filter(|_| ids.len() > 1)
                    && dependency.on == Condition::Failed
                {
                    parents.one_of.extend(ids.iter().map(|id| (*id, *first)));
                }
                parents.all.extend(ids.into_iter().map(|id| (id, dependency.on)));
            }
        }
        Ok(parents)
    }

    /// The jobs that were submitted before under this number, and the last of their
    /// deadlines; now, if they have finished.
    fn earlier(
        &self,
        spec: &JobSpec,
        place: usize,
        id: JobId,
    ) -> Result<(Vec<JobId>, Timestamp), Refusal> {
        let Some(dependency) = spec.after.get(place) else {
            return Ok((Vec::new(), self.now.market));
        };
        let field = || self.field(spec, place);
        let ids = match self.request.arrays.get(&id).filter(|_| dependency.elementwise) {
            _ if !dependency.elementwise => vec![id],
            found => {
                let size = found.map(Vec::len);
                let own = spec.array.as_ref().map(|array| array.elements.len());
                if let Some(message) = elementwise_mismatch(&id.to_string(), (size, own)) {
                    return Err(invalid("array_size_mismatch", &field(), message));
                }
                found.cloned().unwrap_or_default()
            }
        };
        let mut done_by = self.now.market;
        for id in &ids {
            done_by = done_by.max(self.earlier_job(*id, dependency.on, &field())?);
        }
        Ok((ids, done_by))
    }

    /// The deadline of a job that was submitted before; now, if it has finished.
    fn earlier_job(&self, id: JobId, on: Condition, field: &str) -> Result<Timestamp, Refusal> {
        let live = self.state.jobs.get(&id).filter(|job| !job.state.is_terminal());
        if let Some(job) = live {
            return Ok(job.deadline);
        }
        let Some(ending) = self.state.parent_ending(id) else {
            return Err(invalid("unknown_dependency", field, format!("there is no job {id}")));
        };
        if on.is_met_by(ending) {
            return Ok(self.now.market);
        }
        let message = format!(
            "{id} {} and never meets `on: {}`; {}",
            ending.words(),
            on.name(),
            if ending.is_good() { "leave this job out" } else { "resubmit that job first" }
        );
        Err(invalid("failed_dependency", field, message))
    }

    /// The path of a dependency in the document.
    fn field(&self, spec: &JobSpec, place: usize) -> String {
        let specs = &self.request.submission.jobs;
        match specs.iter().position(|other| std::ptr::eq(other, spec)) {
            Some(job) if specs.len() > 1 => format!("jobs[{job}].after[{place}]"),
            _ => format!("after[{place}]"),
        }
    }

    /// As requested, or three times the expected duration after the submission (or after
    /// the last parent's deadline).
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

/// A derived deadline gives way to those of the jobs that depend on it.
pub(super) fn pull_forward(jobs: &mut [Job], changeover: Duration) {
    let deadlines = effective_deadlines(jobs.iter(), changeover);
    for job in jobs.iter_mut().filter(|job| job.deadline_source == DeadlineSource::Derived) {
        job.deadline = deadlines.get(&job.id).copied().unwrap_or(job.deadline);
    }
}

/// The specs in an order in which every name is created before it is needed. The caller has
/// made sure that there is no cycle.
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
        reuse_workers: array.reuse_workers,
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
