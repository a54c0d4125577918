//! The state as the solver sees it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::{Attempt, AttemptState, Job, JobId, Money, Now, OfferKey};
use spotwise_solver::{PlanInput, PlanInstance, PlanJob, PoolLimit, RunningJob};

use super::free::free_of;
use super::pools::{self, PoolHeadroom};
use super::shares::shares;
use crate::config::Config;
use crate::core::State;

/// Everything as it is, plus these jobs.
pub fn snapshot(
    state: &State,
    config: &Config,
    jobs: Vec<PlanJob>,
    deadlines: &BTreeMap<JobId, Timestamp>,
    now: Now,
) -> PlanInput {
    PlanInput {
        now: now.market,
        jobs,
        running: running(state, deadlines),
        offers: state.seen.offers.clone(),
        instances: instances(state),
        limits: limits(state),
        machine_limits: super::limits::limits(state, now.market),
        reservations: state.seen.reservations.clone(),
        forecasts: state.seen.forecasts.clone(),
        shares: shares(state, &config.policy, now.market),
        policy: config.policy.clone(),
        time_limit: config.plan_time_limit,
    }
}

/// A job as the solver sees it.
pub fn plan_job(state: &State, job: &Job, deadlines: &BTreeMap<JobId, Timestamp>) -> PlanJob {
    let deadline = deadlines.get(&job.id).copied().unwrap_or(job.deadline);
    PlanJob {
        barred: state.pools.barred(&job.spec),
        ..PlanJob::new(job, deadline, budget_left(state, job))
    }
}

fn running(state: &State, deadlines: &BTreeMap<JobId, Timestamp>) -> Vec<RunningJob> {
    let live = state.attempts.values().filter(|attempt| attempt.state.is_live());
    live.filter_map(|attempt| {
        let job = state.jobs.get(&attempt.id.job)?;
        let since = match &attempt.state {
            AttemptState::Planned { at } => at.market,
            AttemptState::Launching { since, .. } => since.market,
            AttemptState::Running { launched, .. } => launched.market,
            AttemptState::Ended { .. } | AttemptState::Settled { .. } => return None,
        };
        let mut plan_job = plan_job(state, job, deadlines);
        // What is set aside for this very attempt is there for it to use.
        plan_job.budget_left = plan_job.budget_left.map(|left| left + attempt.hold);
        Some(RunningJob {
            job: plan_job,
            progress: state.progress_of(attempt),
            offer: offer_now(state, attempt),
            instances: attempt.instances.clone(),
            since,
            stopping: attempt.stop.is_some(),
        })
    })
    .collect()
}

/// What its machines are bought as now: when a commitment ends they become on-demand, for
/// all of a gang.
fn offer_now(state: &State, attempt: &Attempt) -> OfferKey {
    let machines = attempt.instances.iter().filter_map(|id| state.instances.get(id));
    let worst =
        machines.map(|machine| &machine.offer).min_by_key(|offer| offer.market.capacity_type);
    worst.unwrap_or(&attempt.offer).clone()
}

fn instances(state: &State) -> Vec<PlanInstance> {
    let open = state.instances.values().filter(|instance| instance.accepts_work());
    open.map(|instance| PlanInstance {
        id: instance.id,
        offer: instance.offer.clone(),
        free: free_of(state, instance),
    })
    .collect()
}

/// What each pool has left.
fn limits(state: &State) -> Vec<PoolLimit> {
    pools::left(state).iter().map(PoolHeadroom::limit).collect()
}

/// What remains of a job's budget: the budget less what is settled and what is set aside.
/// `None` without a budget.
pub fn budget_left(state: &State, job: &Job) -> Option<Money> {
    job.spec.budget.map(|budget| budget - job.spent - state.held_for(job.id))
}
