//! Ended jobs come back as new ones: with their shared folder, their checkpoint, and each
//! other's new numbers for what they wait for.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::job::{ArrayPlace, DeadlineSource, Resubmission};
use spotwise_model::spec::{Deadline, check_deadline_at};
use spotwise_model::time::after;
use spotwise_model::{Condition, Job, JobId, Measured, Now};

use super::submit::pull_forward;
use super::{CommandResult, accepted, invalid, replayed};
use crate::command::{Resubmit, ResubmittedJob};
use crate::config::Config;
use crate::core::State;
use crate::{Refusal, Reply};

/// What to do about a job that is waited for in vain.
const COMES_ALONG: &str = "resubmit that one with --failed, and this comes along";

/// Accepts all of them, or none.
pub(super) fn resubmit(
    state: &mut State,
    request: &Resubmit,
    config: &Config,
    now: Now,
) -> CommandResult {
    if let Some(answer) = replayed(state, &request.key, &request.hash, &request.known) {
        let made = Vec::new();
        return answer.map(|jobs| (Vec::new(), Reply::Submitted { jobs, made, replayed: true }));
    }
    if state.jobs.len() + request.jobs.len() > config.max_live_jobs {
        return Err(Refusal::Overloaded);
    }
    state.ended_parents.extend(request.ended_parents.iter().copied());
    check_once(state, request)?;
    let jobs = Return::new(state, request, now).run(config)?;
    Ok(accepted(jobs, submitted_message, (&request.key, &request.hash), now))
}

/// What was looked up may be older than another resubmission of the same jobs.
fn check_once(state: &State, request: &Resubmit) -> Result<(), Refusal> {
    let live = state.jobs.values().filter(|job| !job.state.is_terminal());
    let coming: BTreeMap<JobId, JobId> =
        live.filter_map(|job| Some((job.resubmission.as_ref()?.of, job.id))).collect();
    for ResubmittedJob { old, .. } in &request.jobs {
        if let Some(twin) = coming.get(&old.id) {
            let message = format!("{} is on its way again already, as {twin}", old.id);
            return Err(invalid("resubmitted_already", "job", message));
        }
        if state.jobs.get(&old.id).is_some_and(|job| !job.state.is_terminal()) {
            let message = format!("{} is not over; cancel it first", old.id);
            return Err(invalid("job_not_ended", "job", message));
        }
    }
    Ok(())
}

fn submitted_message(job: &Job) -> String {
    let of = job.resubmission.as_ref().map_or(job.id, |it| it.of);
    let from = match (&job.checkpoint, job.progress.step) {
        (Some(_), Some(step)) => format!("goes on from step {step}"),
        (Some(checkpoint), None) => {
            format!("goes on from checkpoint {}-{}", checkpoint.attempt, checkpoint.sequence)
        }
        (None, _) => "starts anew".to_owned(),
    };
    format!(
        "{} is a resubmission of {of} and {from}; deadline {}",
        job.display_name(),
        job.deadline
    )
}

struct Return<'a> {
    state: &'a State,
    request: &'a Resubmit,
    now: Now,
    /// The new numbers of the old jobs, and of those they resubmitted.
    new: BTreeMap<JobId, JobId>,
    /// The new first jobs of the old arrays.
    arrays: BTreeMap<JobId, JobId>,
}

impl<'a> Return<'a> {
    fn new(state: &'a State, request: &'a Resubmit, now: Now) -> Self {
        let (mut new, mut arrays) = (BTreeMap::new(), BTreeMap::new());
        for (ResubmittedJob { old, replaces, .. }, number) in
            request.jobs.iter().zip(state.last_job + 1..)
        {
            new.insert(old.id, JobId(number));
            new.extend(replaces.iter().map(|earlier| (*earlier, JobId(number))));
            if let Some(place) = old.array {
                arrays.entry(place.first).or_insert(JobId(number));
            }
        }
        Self { state, request, now, new, arrays }
    }

    fn run(self, config: &Config) -> Result<Vec<Job>, Refusal> {
        let mut jobs: Vec<Job> = Vec::with_capacity(self.request.jobs.len());
        let mut deadlines = BTreeMap::new();
        for again in &self.request.jobs {
            let job = self.one(again, &deadlines)?;
            deadlines.insert(job.id, job.deadline);
            jobs.push(job);
        }
        pull_forward(&mut jobs, config.policy.changeover);
        Ok(jobs)
    }

    fn one(
        &self,
        again: &ResubmittedJob,
        before: &BTreeMap<JobId, Timestamp>,
    ) -> Result<Job, Refusal> {
        let ResubmittedJob { old, spec, .. } = again;
        let id = self.new.get(&old.id).copied().unwrap_or(old.id);
        let group = JobId(self.state.last_job + 1);
        let (after, done_by) = self.parents(old, before)?;
        let one_of = self.one_of(old, &after)?;
        let (deadline, deadline_source) = self.deadline(old, spec, done_by)?;
        let goes_on = again.goes_on && spec.resumable();
        let checkpoint = old.checkpoint.filter(|_| goes_on);
        let mut lineage = Vec::new();
        if goes_on {
            lineage.push(old.id);
            lineage.extend(old.resubmission.iter().flat_map(|it| it.lineage.iter().copied()));
        }
        Ok(Job {
            group,
            array: old.array.map(|place| ArrayPlace {
                first: self.arrays.get(&place.first).copied().unwrap_or(id),
                ..place
            }),
            deadline_source,
            on: after
                .iter()
                .filter(|(_, on)| !on.is_default())
                .map(|(id, on)| (*id, *on))
                .collect(),
            after: after.into_keys().collect(),
            one_of,
            progress: checkpoint.map_or(Progress::default(), |it| it.progress),
            checkpoint,
            measured: if goes_on { old.measured.clone() } else { Measured::default() },
            resubmission: Some(Resubmission {
                of: old.id,
                shared: old.shared(),
                may_have_more: goes_on && old.may_have_saved_more(),
                lineage,
            }),
            ..Job::new(id, Arc::new(spec.clone()), self.now.market, deadline)
        })
    }

    /// What it waits for: jobs resubmitted with it by their new numbers, the others
    /// unchanged; and the deadline of the last of them.
    fn parents(
        &self,
        old: &Job,
        before: &BTreeMap<JobId, Timestamp>,
    ) -> Result<(BTreeMap<JobId, Condition>, Timestamp), Refusal> {
        let (mut after, mut done_by) = (BTreeMap::new(), self.now.market);
        for asked in &old.after {
            let on = old.condition(*asked);
            if let Some(new) = self.new.get(asked) {
                done_by = before.get(new).map_or(done_by, |deadline| done_by.max(*deadline));
                after.insert(*new, on);
                continue;
            }
            // The one that stands for it now, where it has come back before.
            let parent = self.now_of(*asked);
            let live = self.state.jobs.get(&parent).filter(|job| !job.state.is_terminal());
            match (live, self.state.parent_ending(parent)) {
                (Some(job), _) => done_by = done_by.max(job.deadline),
                (None, Some(ending)) if on.is_met_by(ending) => {}
                // Another element may fail.
                (None, Some(_)) if old.one_of.contains_key(asked) => continue,
                (None, Some(ending)) => {
                    let message = format!(
                        "{} waits for {parent}, which {}: {COMES_ALONG}",
                        old.id,
                        ending.words()
                    );
                    return Err(invalid("failed_dependency", "job", message));
                }
                (None, None) => {
                    let message = format!("there is no job {parent}, which {} waits for", old.id);
                    return Err(invalid("unknown_dependency", "job", message));
                }
            }
            after.insert(parent, on);
        }
        Ok((after, done_by))
    }

    /// What stands for a job that was waited for, if it is not resubmitted now.
    fn now_of(&self, parent: JobId) -> JobId {
        self.request.heads.get(&parent).copied().unwrap_or(parent)
    }

    /// Elements of which one must fail, each with the first remaining element of its array.
    fn one_of(
        &self,
        old: &Job,
        after: &BTreeMap<JobId, Condition>,
    ) -> Result<BTreeMap<JobId, JobId>, Refusal> {
        let mut arrays: BTreeMap<JobId, Vec<JobId>> = BTreeMap::new();
        for (element, array) in &old.one_of {
            let now = self.new.get(element).copied().unwrap_or_else(|| self.now_of(*element));
            let left = arrays.entry(*array).or_default();
            left.extend(Some(now).filter(|now| after.contains_key(now)));
        }
        if let Some((array, _)) = arrays.iter().find(|(_, left)| left.is_empty()) {
            let message = format!(
                "{} waits for a failure in the array of {array}, and none has failed: {COMES_ALONG}",
                old.id
            );
            return Err(invalid("failed_dependency", "job", message));
        }
        let firsts = arrays.values().filter_map(|left| Some((left, *left.iter().min()?)));
        Ok(firsts.flat_map(|(left, first)| left.iter().map(move |id| (*id, first))).collect())
    }

    fn deadline(
        &self,
        old: &Job,
        spec: &spotwise_model::JobSpec,
        done_by: Timestamp,
    ) -> Result<(Timestamp, DeadlineSource), Refusal> {
        match spec.deadline {
            Some(Deadline::At(at)) => {
                let good = check_deadline_at(at, self.now.market);
                good.map_err(|error| {
                    let remedy = "give a document with another one";
                    let message =
                        format!("{} of {}: {}; {remedy}", error.field, old.id, error.message);
                    invalid(error.code, "deadline", message)
                })?;
                Ok((at, DeadlineSource::Given))
            }
            Some(Deadline::Within(span)) => {
                Ok((after(self.now.market, span), DeadlineSource::Given))
            }
            None => {
                let span = spec.longest_expected_duration().saturating_mul(3);
                Ok((after(done_by, span), DeadlineSource::Derived))
            }
        }
    }
}

#[cfg(test)]
#[path = "resubmit_tests.rs"]
mod tests;
