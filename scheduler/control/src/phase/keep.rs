//! What an idle machine can hope for, as the state says: the solver decides whether it is
//! kept for that.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time::{after, between};
use spotwise_model::{Instance, InstanceId, InstanceState, Job, JobState, Now, Pool};
use spotwise_solver::keep::{IdleMachine, KeepOrGiveBack, keep_or_give_back};

use crate::core::State;
use crate::core::due::Due;

/// What can be hoped for fades as time passes. It is judged as of the last multiple of this
/// step (market time), so that between two of them the passage of time changes nothing.
const STEP: i64 = 30;

/// Whether an idle machine is kept.
pub fn is_kept(state: &State, instance: &Instance, pool: &Pool, now: Now) -> bool {
    judge(state, instance, pool, now).1.keep
}

/// What an idle machine can hope for, and what becomes of it.
pub fn judge(
    state: &State,
    instance: &Instance,
    pool: &Pool,
    now: Now,
) -> (IdleMachine, KeepOrGiveBack) {
    let at = step_of(now.market);
    let kind = &instance.offer.market.instance_type;
    let offer = state.seen.offers.iter().find(|offer| offer.key == instance.offer);
    let alike = state.instances.values().filter(|other| {
        other.offer.pool == pool.name
            && other.offer.market.instance_type == *kind
            && other.accepts_work()
            && is_idle(state, other.id)
    });
    let machine = IdleMachine {
        price: offer.map_or(instance.launch_price, |offer| offer.price),
        boot: pool.changeover(),
        hazard_per_hour: offer.map_or(0.0, |offer| offer.hazard_per_hour),
        waiting: waiting(state, instance, pool),
        arrivals_per_hour: state.seen.arrivals.per_hour(&pool.name, kind, at),
        alike: u32::try_from(alike.count()).unwrap_or(u32::MAX),
        idle: between(idle_since(state, instance).unwrap_or(at), at),
        limit: pool.times.keep,
    };
    let choice = keep_or_give_back(&machine);
    let noticed = matches!(instance.state, InstanceState::Noticed { .. });
    (machine, KeepOrGiveBack { keep: choice.keep && !noticed, ..choice })
}

fn step_of(now: Timestamp) -> Timestamp {
    let second = now.as_second().div_euclid(STEP) * STEP;
    Timestamp::from_second(second).unwrap_or(now)
}

fn is_idle(state: &State, machine: InstanceId) -> bool {
    !state.attempts_on(machine).any(|attempt| attempt.state.is_live())
}

/// Since when nothing has used it: the end of the last attempt on it, or its own beginning.
fn idle_since(state: &State, instance: &Instance) -> Option<Timestamp> {
    let ends = state.attempts_on(instance.id).filter_map(|attempt| attempt.state.ended());
    ends.map(|end| end.market).max().or(instance.since())
}

/// Jobs that wait for nothing but room, and that the machine holds.
fn waiting(state: &State, instance: &Instance, pool: &Pool) -> u32 {
    let fits = |job: &&Job| {
        let open = matches!(job.state, JobState::Waiting { .. })
            && job.cancel_asked.is_none()
            && job.after.is_empty()
            && job.not_before.is_none()
            && pool.access.admits(&job.spec);
        let share = || job.spec.share_on(instance.shape.accelerator.as_ref());
        open && share().is_some_and(|share| instance.shape.holds(&share))
    };
    let most = 1_000;
    u32::try_from(state.jobs.values().filter(fits).take(most).count()).unwrap_or(u32::MAX)
}

/// When an idle machine is looked at again.
pub fn due(state: &State, due: &mut Due) {
    let next = after(step_of(due.now().market), Duration::from_secs(STEP.unsigned_abs()));
    let kept = state.instances.values().filter(|machine| {
        let slow = state.pool_of(machine).is_some_and(|pool| !pool.features.instant);
        slow && !machine.ends() && is_idle(state, machine.id)
    });
    due.market(kept.map(|_| next).next());
}

#[cfg(test)]
mod tests {
    use spotwise_model::CapacityType;
    use spotwise_model::spec::{Format, parse};

    use super::*;
    use crate::fixture::{at, cloud_pool, job, machine, now, state_of};

    #[test]
    fn an_idle_machine_is_kept_for_what_waits_unless_it_is_on_notice() {
        let mut pool = cloud_pool("cloud");
        pool.times.keep = Duration::from_secs(1_800);
        let mut idle = machine(1, "a", CapacityType::Spot);
        idle.offer.pool = pool.name.clone();
        idle.shape.memory_mib = 4_096;
        let noticed = idle.clone().noticed(at(1), at(2)).unwrap();
        let small =
            b"name: x\ncommand: [x]\nresources: {cpus: 1, memory: 1GB}\nwork: {duration: 1h}\n";
        let spec = parse(small, Format::Yaml).unwrap().jobs.remove(0).into();
        let waits = Job { spec, ..job(1, "training") };
        let mut state = state_of(vec![idle.clone().into(), waits.into()]);
        state.pools.pools.insert(pool.name.clone(), pool.clone());
        assert!(is_kept(&state, &idle, &pool, now(0)));
        assert!(!is_kept(&state, &noticed, &pool, now(0)));
        state.jobs.clear();
        assert!(!is_kept(&state, &idle, &pool, now(0)), "nobody comes");
    }
}
