use std::sync::Arc;

use spotwise_model::attempt::{BudgetCutoff, Outcome};
use spotwise_model::policy::Policy;
use spotwise_model::{AttemptId, CapacityType, JobState, Money};

use super::*;
use crate::Command;
use crate::fixture::{at, attempt, job, machine, now, state_of};
use crate::intake::answer;
use crate::phase::observe::observe;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    let policy = Policy { changeover: SECOND, ..Policy::default() };
    Config { policy, default_grace: SECOND, max_live_jobs: 9, ..Config::default() }
}

/// Attempts running since hour 0 with money until hour 2; `order` was given at hour 1.
fn running(nodes: usize, order: Option<StopReason>) -> (State, AttemptId) {
    let both = [machine(1, "a", CapacityType::Spot), machine(2, "a", CapacityType::Spot)];
    let used: Vec<_> = both.iter().take(nodes).collect();
    let runs = AttemptState::Running { placed: None, launched: now(0), since: now(0) };
    let mut live = attempt(1, &used, 8, runs);
    live.cutoff = Some(BudgetCutoff { stop_at: now(2).wall, gone_by: now(2) });
    live.stop = order.map(|reason| StopOrder { reason, at: now(1), reclaim_wall: None });
    let mut owner = job(1, "training");
    Arc::make_mut(&mut owner.spec).budget = Some(Money::from_micros(1_000_000));
    owner.state = JobState::Active { since: at(0), attempt: live.id };
    let id = live.id;
    let machines = both.clone().map(Change::from);
    (state_of([owner.into(), live.into()].into_iter().chain(machines).collect()), id)
}

fn take(state: &mut State, command: Command, at: Now) -> Reply {
    let (changes, reply) = answer(state, command, &config(), at).unwrap();
    apply(state, changes);
    reply
}

fn apply(state: &mut State, changes: Vec<Change>) {
    for mut change in changes {
        state.apply(&mut change);
    }
}

/// What becomes of the job whose worker reports at hour 4 that its money ran out.
fn after_its_own_stop(
    order: Option<StopReason>,
    exit: Exit,
    told: Told,
) -> (Outcome, JobState, u32) {
    let (mut state, attempt) = running(1, order);
    if order == Some(StopReason::Cancelled) {
        state.jobs.get_mut(&attempt.job).unwrap().cancel_asked = Some(at(1));
    }
    let worker = WorkerId { attempt, rank: 0 };
    take(&mut state, Command::OutOfMoney { worker, exit, told, step: Some((7, 10)) }, now(4));
    let config = crate::config::Config::default();
    let changes = observe(&state, &config, now(4));
    apply(&mut state, changes);
    let ended = &state.attempts[&attempt];
    assert_eq!(ended.state.ended(), Some(now(2)), "it pays for no more");
    let job = &state.jobs[&attempt.job];
    (ended.state.outcome().unwrap().clone(), job.state.clone(), job.errors + job.interruptions)
}

#[test]
fn a_worker_that_stopped_by_itself_for_want_of_money_was_stopped_for_its_budget() {
    let budget = Outcome::Stopped { reason: StopReason::Budget };
    for exit in [Exit::Code(EXIT_REQUEUE), Exit::Signal(15), Exit::Code(0), Exit::Code(1)] {
        for order in [None, Some(StopReason::Interrupted), Some(StopReason::Moved)] {
            for told in [Told::Stop, Told::Unknown] {
                let (outcome, job, counted) = after_its_own_stop(order, exit, told);
                assert_eq!(outcome, budget, "{exit:?} {order:?} {told:?}");
                assert!(matches!(job, JobState::Held { .. }), "{exit:?} {order:?}: {job:?}");
                assert_eq!(counted, 0, "neither an error nor an interruption");
            }
        }
    }
}

#[test]
fn a_cancelled_or_late_job_that_is_out_of_money_too_is_cancelled_or_late() {
    let (_, job, _) = after_its_own_stop(Some(StopReason::Cancelled), Exit::Signal(15), Told::Stop);
    assert!(matches!(job, JobState::Cancelled { .. }), "{job:?}");
    let (_, job, _) = after_its_own_stop(Some(StopReason::TimedOut), Exit::Signal(15), Told::Stop);
    assert!(matches!(job, JobState::Failed { .. }), "{job:?}");
}

#[test]
fn the_rest_of_a_gang_is_stopped_when_one_is_out_of_money() {
    let (mut state, attempt) = running(2, None);
    let worker = WorkerId { attempt, rank: 1 };
    take(
        &mut state,
        Command::OutOfMoney { worker, exit: Exit::Signal(15), told: Told::Stop, step: None },
        now(1),
    );
    let live = &state.attempts[&attempt];
    assert!(live.state.is_live());
    assert_eq!(live.stop.map(|order| order.reason), Some(StopReason::Budget));
}

#[test]
fn a_worker_hears_how_long_its_money_lasts_with_its_assignment_and_every_answer() {
    let hour = 3_600 * SECOND;
    let (mut state, attempt) = running(1, None);
    let worker = WorkerId { attempt, rank: 0 };
    let register = || Command::Register {
        worker,
        handle: "1".to_owned(),
        address: String::new(),
        key: crate::command::WorkerKey::of_start("own"),
    };
    let Reply::Assigned(Some(assigned)) = take(&mut state, register(), now(0)) else { panic!() };
    assert_eq!(assigned.money_lasts, Some(2 * hour));
    let beat = || Command::Heartbeat { worker, step: None, memory: None };
    let lasts = |state: &mut State, at: Now| match take(state, beat(), at) {
        Reply::Orders(orders) => orders.money_lasts,
        other => panic!("{other:?}"),
    };
    assert_eq!(lasts(&mut state, now(1)), Some(hour));
    assert_eq!(lasts(&mut state, now(3)), Some(Duration::ZERO));
    let mut bare = state.attempts[&attempt].clone();
    bare.cutoff = None;
    state.apply(&mut bare.into());
    assert_eq!(lasts(&mut state, now(3)), None);
}
