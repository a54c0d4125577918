//! Asks the solver, and uses the parts of its answer that still hold.

use std::collections::BTreeMap;

use spotwise_model::attempt::{NodeReport, StopOrder, StopReason};
use spotwise_model::plan::{Method, PlacementRule, WaitReason};
use spotwise_model::quote::Quoted;
use spotwise_model::resources::GpuSlot;
use spotwise_model::{
    Attempt, AttemptId, AttemptState, InstanceId, Job, JobId, JobState, Now, Placement, Plan,
};
use spotwise_solver::PlanInput;

use super::admit::{self, ArrayLoad};
use super::attempt_end;
use super::provisioning::Provisioner;
use crate::config::Config;
use crate::core::{Change, EventKind, State};
use crate::view::deadline::effective_deadlines;
use crate::view::snapshot::{budget_left, plan_job, snapshot};

/// The snapshot on which the solver decides.
pub fn plan_input(state: &State, config: &Config, now: Now) -> PlanInput {
    let live = state.jobs.values().filter(|job| !job.state.is_terminal());
    let deadlines = effective_deadlines(live, config.policy.changeover);
    let mut load = ArrayLoad::count(state);
    let mut jobs = Vec::new();
    let waiting = state.jobs.values().filter(|j| matches!(j.state, JobState::Waiting { .. }));
    for job in waiting.filter(|job| job.cancel_asked.is_none()) {
        if admit::obstacle(state, job, &load, now).is_none() {
            load.add(job);
            jobs.push(plan_job(state, job, &deadlines));
        }
    }
    snapshot(state, config, jobs, &deadlines, now)
}

/// Applies a plan: placements that still hold, moves, and reasons to wait that are of a
/// different kind than before. The world may have changed since the plan's snapshot; what
/// no longer holds is left to the next round.
pub fn accept(state: &State, plan: &Plan, now: Now) -> Vec<Change> {
    let mut provisioner = Provisioner::new(state, now);
    let mut load = ArrayLoad::count(state);
    let mut placed = Vec::new();
    for (number, placement) in plan.placements.iter().enumerate() {
        let Some(job) = state.jobs.get(&placement.job) else { continue };
        let open = matches!(job.state, JobState::Waiting { .. })
            && job.cancel_asked.is_none()
            && admit::obstacle(state, job, &load, now).is_none();
        if let Some(machines) = open.then(|| provisioner.machines(number, placement, now)).flatten()
        {
            load.add(job);
            placed.push((number, job, placement, machines));
        }
    }
    let (mut slots, bought) = provisioner.done();
    let mut changes = Vec::new();
    for (number, job, placement, machines) in placed {
        // One each, or none: then the next round finds them.
        let slots = slots.remove(&number).filter(|slots| slots.len() == machines.len());
        let slots = slots.unwrap_or_default();
        changes.extend(place(state, job, placement, (machines, slots), now));
    }
    changes.extend(bought);
    // What runs where it is stays there while nothing may be bought elsewhere.
    for (id, rule) in plan.moves.iter().filter(|_| state.frozen.is_none()) {
        changes.extend(move_away(state, *id, *rule, now));
    }
    for (id, reason) in &plan.waits {
        changes.extend(wait(state, *id, reason, now));
    }
    keep_quotes(state, plan, &mut changes);
    changes
}

/// Stores a plan's quotes with their jobs, as part of a job's existing change if it has
/// one. A job keeps its first quote.
fn keep_quotes(state: &State, plan: &Plan, changes: &mut Vec<Change>) {
    let fresh = |id: &JobId| {
        let job = state.jobs.get(id)?;
        (job.quoted.is_none() && !job.state.is_terminal()).then_some(job)
    };
    let mut left: BTreeMap<JobId, Quoted> =
        plan.quotes.iter().filter(|(id, _)| fresh(id).is_some()).map(|(id, q)| (*id, *q)).collect();
    for change in changes.iter_mut() {
        if let Change::Job(job) = change
            && let Some(quoted) = left.remove(&job.id)
        {
            job.quoted = Some(quoted);
        }
    }
    changes.extend(left.into_iter().filter_map(|(id, quoted)| {
        let job = Job { quoted: Some(quoted), ..fresh(&id)?.clone() };
        Some(job.into())
    }));
}

/// How a plan was found, as text.
pub fn method_words(plan: &Plan) -> String {
    let what = format!("{} placed, {} wait", plan.placements.len(), plan.waits.len());
    match plan.method {
        Method::Trivial => "nothing to choose".to_owned(),
        Method::Proven { gap } if gap <= 0.0 => format!("{what}; proven optimal"),
        Method::Proven { gap } => format!("{what}; within {:.2} % of the optimum", gap * 100.0),
        Method::TimeLimit => format!("{what}; the best found in time, not proven"),
        Method::Greedy => format!("{what}; greedy"),
    }
}

/// The position of a part of a GPU on its machines, as text.
fn slot_words(slots: &[GpuSlot]) -> String {
    let slots: Vec<String> = slots.iter().map(GpuSlot::to_string).collect();
    if slots.is_empty() { String::new() } else { format!(", GPU {}", slots.join(" ")) }
}

fn place(
    state: &State,
    job: &Job,
    placement: &Placement,
    (machines, slots): (Vec<InstanceId>, Vec<GpuSlot>),
    now: Now,
) -> Vec<Change> {
    let id = AttemptId { job: job.id, number: job.attempts + 1 };
    let mut job = job.clone();
    let Ok(next) = job.state.clone().activate(now.market, id) else { return Vec::new() };
    let hold = budget_left(state, &job).unwrap_or(placement.why.expected_cost);
    let restore = job.checkpoint.filter(|_| job.spec.resumable());
    let message = format!(
        "on {}{}: {}; expected {} until {}",
        placement.offer,
        slot_words(&slots),
        placement.why.rule,
        placement.why.expected_cost.human(),
        placement.why.finish
    );
    let attempt = Attempt {
        id,
        nodes: vec![NodeReport::default(); machines.len()],
        instances: machines,
        offer: placement.offer.clone(),
        share: placement.share,
        slots,
        restore,
        why: placement.why.clone(),
        hold,
        state: AttemptState::Planned { at: now },
        stop: None,
        cutoff: None,
        progress: job.saved_progress(),
        checkpoint: None,
    };
    job.state = next;
    job.attempts = id.number;
    job.not_before = None;
    job.budget_raised = false;
    let event = Change::event(job.id, Some(id), now.market, EventKind::Placed, message);
    vec![attempt.into(), job.into(), event]
}

fn move_away(state: &State, id: JobId, rule: PlacementRule, now: Now) -> Vec<Change> {
    let Some(attempt) = state.live_attempt(id).filter(|attempt| attempt.stop.is_none()) else {
        return Vec::new();
    };
    let order = StopOrder { reason: StopReason::Moved, at: now, reclaim_wall: None };
    attempt_end::order_stop(attempt, order, &format!("to go on elsewhere: {rule}"))
}

fn wait(state: &State, id: JobId, reason: &WaitReason, now: Now) -> Vec<Change> {
    match state.jobs.get(&id) {
        Some(job) => match &job.state {
            JobState::Waiting { why, .. } if !why.same_kind(reason) => {
                admit::wait(job, reason.clone(), now)
            }
            _ => Vec::new(),
        },
        None => Vec::new(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
