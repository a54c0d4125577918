use spotwise_model::attempt::{BudgetCutoff, CheckpointRef, Progress};
use spotwise_model::time::between;
use spotwise_model::{AttemptId, AttemptState, CapacityType, JobId};

use super::*;
use crate::fixture::{at, attempt, job, machine, now, state_of};

/// A job with two allowed failures whose attempt is running, or being launched.
fn world(attempts: u32, running: AttemptState) -> (State, Attempt) {
    let box_ = machine(1, "a", CapacityType::Spot);
    let live = attempt(1, &[&box_], 8, running);
    let mut owner = job(1, "training");
    owner.attempts = attempts;
    owner.state = JobState::Active { since: at(0), attempt: live.id };
    (state_of(vec![owner.into(), box_.into(), live.clone().into()]), live)
}

fn launching() -> AttemptState {
    AttemptState::Planned { at: now(1) }.launch(now(1)).unwrap()
}

fn job_after(mut state: State, changes: Vec<Change>) -> Job {
    for mut change in changes {
        state.apply(&mut change);
    }
    state.jobs.into_values().next().unwrap()
}

#[test]
fn a_pool_without_capacity_costs_a_job_no_retry_and_is_asked_ever_less_often() {
    let mut waits = Vec::new();
    for attempts in 1..=40 {
        let (state, live) = world(attempts, launching());
        let after = job_after(state.clone(), put_off(&state, &live, "no capacity".into(), now(1)));
        assert_eq!((after.errors, after.interruptions), (0, 0), "after {attempts} refusals");
        let JobState::Waiting { why: WaitReason::Backoff { until, .. }, .. } = after.state else {
            panic!("after {attempts} refusals: {:?}", after.state);
        };
        assert_eq!(after.not_before, Some(until));
        waits.push(between(at(1), until));
    }
    assert_eq!(waits[..3], [30, 60, 120].map(Duration::from_secs));
    assert!(waits.is_sorted());
    assert_eq!(waits.last(), Some(&LONGEST_REFUSAL));
}

#[test]
fn a_worker_that_cannot_start_is_a_failure_of_its_job() {
    let (state, live) = world(1, launching());
    let error = Outcome::LaunchFailed { error: "no such program".to_owned() };
    let first = job_after(state.clone(), end(&state, &live, error.clone(), now(1)));
    assert_eq!(first.errors, 1);
    assert!(matches!(first.state, JobState::Waiting { .. }), "one failure is allowed");
    let mut tried = state;
    tried.jobs.get_mut(&live.id.job).unwrap().errors = 1;
    let last = job_after(tried.clone(), end(&tried, &live, error, now(1)));
    assert!(matches!(last.state, JobState::Failed { .. }), "{:?}", last.state);
}

#[test]
fn a_cancelled_job_that_cannot_be_launched_is_cancelled() {
    let (mut state, live) = world(1, launching());
    state.jobs.get_mut(&live.id.job).unwrap().cancel_asked = Some(at(1));
    let after = job_after(state.clone(), put_off(&state, &live, "no capacity".into(), now(1)));
    assert!(matches!(after.state, JobState::Cancelled { .. }), "{:?}", after.state);
}

/// The rest of a gang is told to stop when a member is gone; that a command does not
/// survive SIGTERM is not a failure of its own.
#[test]
fn a_broken_gang_counts_only_failures_of_before_the_order() {
    let order = StopOrder { reason: StopReason::GangBroken, at: now(3), reclaim_wall: None };
    let ran = AttemptState::Running { placed: None, launched: now(1), since: now(1) };
    let ends = |first: (Now, Exit), second: (Now, Exit)| {
        let (mut state, mut live) = world(1, ran.clone());
        let mut second_node = live.nodes[0].clone();
        live.nodes[0].exited = Some(first);
        second_node.exited = Some(second);
        live.nodes.push(second_node);
        live.stop = Some(order);
        state.attempts.insert(live.clone());
        let outcome = outcome_of(&state, &live).unwrap();
        job_after(state.clone(), end(&state, &live, outcome, now(5))).errors
    };
    let (gone, killed) = (Exit::Code(EXIT_REQUEUE), Exit::Signal(15));
    assert_eq!(ends((now(3), gone), (now(4), killed)), 0, "it was told to end");
    assert_eq!(ends((now(2), Exit::Code(1)), (now(4), killed)), 1, "it failed first");
}

/// Nobody led from hour 2 to hour 5, and its money lasted until hour 3: its worker
/// had stopped by then, and its job pays for no more.
#[test]
fn what_is_heard_later_than_its_money_lasted_had_ended_by_then() {
    let ran = AttemptState::Running { placed: None, launched: now(1), since: now(1) };
    let ended = |cutoff: Option<BudgetCutoff>, outcome: Outcome| {
        let (mut state, mut live) = world(1, ran.clone());
        live.cutoff = cutoff;
        state.attempts.insert(live.clone());
        let changes = end(&state, &live, outcome, now(5));
        let ended = changes.into_iter().find_map(|change| match change {
            Change::Attempt(attempt) => attempt.state.ended(),
            _ => None,
        });
        ended.unwrap()
    };
    let cutoff = |hour| Some(BudgetCutoff { stop_at: now(hour).wall, gone_by: now(hour) });
    for outcome in [Outcome::Lost, Outcome::Succeeded, Outcome::Interrupted] {
        assert_eq!(ended(cutoff(3), outcome.clone()), now(3));
        assert_eq!(ended(cutoff(6), outcome.clone()), now(5), "it had money");
        assert_eq!(ended(None, outcome), now(5), "it has no budget");
    }
}

/// The job after this many consecutive attempts with this outcome, each of which has saved
/// what `saves` says.
fn after_in_a_row(
    times: u32,
    outcome: &Outcome,
    saves: impl Fn(u32) -> Option<CheckpointRef>,
) -> Job {
    let ran = AttemptState::Running { placed: None, launched: now(1), since: now(1) };
    let (mut state, mut live) = world(1, ran.clone());
    for number in 1..=times {
        live.id.number = number;
        live.state = ran.clone();
        live.checkpoint = saves(number);
        let owner = state.jobs.get_mut(&live.id.job).unwrap();
        live.restore = owner.checkpoint;
        if live.checkpoint.is_some() {
            owner.checkpoint = live.checkpoint;
        }
        owner.state = JobState::Active { since: at(1), attempt: live.id };
        state.attempts.insert(live.clone());
        for mut change in end(&state, &live, outcome.clone(), now(2)) {
            state.apply(&mut change);
        }
        if state.jobs[&live.id.job].state.is_terminal() {
            break;
        }
    }
    state.jobs.into_values().next().unwrap()
}

fn at_step(number: u32, step: Option<u64>) -> Option<CheckpointRef> {
    let attempt = AttemptId { job: JobId(1), number };
    let progress = Progress { step, ..Progress::default() };
    Some(CheckpointRef { attempt, sequence: 1, progress, bytes: 1, at: at(1) })
}

#[test]
fn what_asks_to_be_run_again_and_saves_nothing_waits_ever_longer_and_is_given_up() {
    for saves in [|_| None, |number| at_step(number, Some(5))] {
        let waits = (1..MOST_FRUITLESS).map(|times| {
            let after = after_in_a_row(times, &Outcome::Requeued, saves);
            match after.state {
                JobState::Waiting { why: WaitReason::Backoff { until, .. }, .. } => {
                    assert_eq!(after.not_before, Some(until));
                    between(at(2), until).as_secs()
                }
                // The first that saves step 5 has saved something.
                JobState::Waiting { why: WaitReason::Queued, .. } => 0,
                other => panic!("{times}: {other:?}"),
            }
        });
        let waits: Vec<u64> = waits.collect();
        let fruitless: Vec<u64> = waits.iter().copied().filter(|wait| *wait > 0).collect();
        assert!(fruitless.starts_with(&[30, 60, 120, 240]), "{waits:?}");
        let last = after_in_a_row(MOST_FRUITLESS + 1, &Outcome::Requeued, saves);
        let JobState::Failed { why, .. } = last.state else { panic!("{:?}", last.state) };
        assert_eq!(why, FailReason::NothingNew { attempts: MOST_FRUITLESS });
        assert!(why.to_string().contains("save a checkpoint"));
        assert_eq!((last.errors, last.interruptions), (0, 0), "neither of them");
    }
}

#[test]
fn what_gets_on_or_is_only_unlucky_is_never_given_up() {
    // A step more each time; nothing said, but an hour of work saved each time.
    for saves in [|number| at_step(number, Some(number.into())), |number| at_step(number, None)] {
        let after = after_in_a_row(40, &Outcome::Requeued, saves);
        assert!(matches!(after.state, JobState::Waiting { why: WaitReason::Queued, .. }));
        assert_eq!(after.fruitless, 0);
    }
    let moved = Outcome::Stopped { reason: StopReason::Moved };
    for outcome in [Outcome::Interrupted, Outcome::Lost, moved] {
        let after = after_in_a_row(40, &outcome, |_| None);
        assert!(matches!(after.state, JobState::Waiting { .. }), "{outcome:?}: {:?}", after.state);
        assert_eq!(after.fruitless, 0, "{outcome:?}");
    }
}
