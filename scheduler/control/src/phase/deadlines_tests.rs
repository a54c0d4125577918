use std::sync::Arc;

use spotwise_model::attempt::{Outcome, Progress};
use spotwise_model::spec::Work;
use spotwise_model::{AttemptState, CapacityType, Condition, JobState};

use super::*;
use crate::fixture::{at, attempt, chained, machine, now, state_of};
use spotwise_model::Measured;

/// Ten minutes.
const CHANGEOVER: Duration = Duration::from_secs(600);

/// One look at the state, taken in: who is told what.
fn look(state: &mut State, hour: i64) -> Vec<(u64, EventKind, String)> {
    let mut told = Vec::new();
    for mut change in deadlines(state, CHANGEOVER, now(hour)) {
        state.apply(&mut change);
        if let Change::Event(event) = change {
            told.push((event.job.0, event.kind, event.message));
        }
    }
    assert!(deadlines(state, CHANGEOVER, now(hour)).is_empty(), "said once");
    told
}

fn who(told: &[(u64, EventKind, String)]) -> Vec<(u64, EventKind)> {
    told.iter().map(|(job, kind, _)| (*job, *kind)).collect()
}

#[test]
fn it_is_told_once_when_the_last_start_has_passed() {
    let mut state = state_of(vec![chained(1, 5, &[]).into()]);
    assert_eq!(look(&mut state, 0), []);
    assert_eq!(look(&mut state, 2), [], "ten minutes and two hours fit into three");
    let told = look(&mut state, 3);
    assert_eq!(who(&told), [(1, EventKind::DeadlineLost)]);
    assert!(
        told[0].2.contains("can no longer be met") && told[0].2.ends_with("10m late"),
        "{told:?}"
    );
    assert_eq!(state.jobs[&JobId(1)].deadline_lost, Some(at(5)));
    assert_eq!(look(&mut state, 4), []);
}

#[test]
fn the_jobs_that_it_waits_for_count() {
    // Three times two hours and ten minutes; the last has six hours.
    let chain = [chained(1, 99, &[]), chained(2, 99, &[1]), chained(3, 6, &[2])];
    let mut state = state_of(chain.map(Into::into).to_vec());
    assert_eq!(who(&look(&mut state, 0)), [(3, EventKind::DeadlineLost)]);
    // One of them is done: what is left fits.
    let mut first = state.jobs[&JobId(1)].clone();
    first.state = JobState::Succeeded { at: at(0) };
    state.apply(&mut first.into());
    let told = look(&mut state, 1);
    assert_eq!(who(&told), [(3, EventKind::DeadlineBack)]);
    assert_eq!(state.jobs[&JobId(3)].deadline_lost, None);
    assert_eq!(who(&look(&mut state, 2)), [(3, EventKind::DeadlineLost)], "and is late again");
}

#[test]
fn a_job_that_waits_for_a_failure_may_start_at_once() {
    let mut handler = chained(2, 3, &[1]);
    handler.on.insert(JobId(1), Condition::Failed);
    let mut state = state_of(vec![chained(1, 99, &[]).into(), handler.into()]);
    assert_eq!(look(&mut state, 0), []);
    assert_eq!(who(&look(&mut state, 2)), [(2, EventKind::DeadlineLost)]);
}

#[test]
fn another_deadline_is_judged_anew() {
    let mut state = state_of(vec![chained(1, 1, &[]).into()]);
    assert_eq!(who(&look(&mut state, 0)), [(1, EventKind::DeadlineLost)]);
    let edit = |state: &mut State, deadline: i64| {
        let mut job = state.jobs[&JobId(1)].clone();
        job.deadline = at(deadline);
        state.apply(&mut job.into());
    };
    edit(&mut state, 2);
    assert_eq!(who(&look(&mut state, 0)), [(1, EventKind::DeadlineLost)], "too early as well");
    edit(&mut state, 50);
    assert_eq!(who(&look(&mut state, 0)), [(1, EventKind::DeadlineBack)]);
    let passed = look(&mut state, 50);
    assert_eq!(who(&passed), [(1, EventKind::DeadlineLost)]);
}

#[test]
fn a_job_that_runs_is_judged_by_what_is_left_of_it() {
    let bought = machine(1, "a", CapacityType::Spot);
    let runs = AttemptState::Running { placed: None, launched: now(0), since: now(0) };
    let live = attempt(1, &[&bought], 8, runs);
    let mut running = chained(1, 3, &[]);
    running.state = JobState::Active { since: at(0), attempt: live.id };
    let mut state = state_of(vec![running.into(), live.clone().into(), bought.into()]);
    for hour in 0..3 {
        assert_eq!(look(&mut state, hour), [], "it says nothing of its progress: {hour}");
    }
    // Measured, it takes eight hours; a quarter is done after two.
    let mut slow = state.jobs[&JobId(1)].clone();
    slow.measured = Measured::once(None, Duration::from_secs(8 * 3_600));
    state.apply(&mut slow.into());
    let quarter = Progress { done_ppm: Progress::WHOLE / 4, ..Progress::default() };
    state.seen.progress.insert(live.id, (at(2), quarter));
    assert_eq!(who(&look(&mut state, 2)), [(1, EventKind::DeadlineLost)]);
    // It catches up.
    let most = Progress { done_ppm: Progress::WHOLE / 16 * 15, ..Progress::default() };
    state.seen.progress.insert(live.id, (at(2), most));
    assert_eq!(who(&look(&mut state, 2)), [(1, EventKind::DeadlineBack)]);
    let mut over = state.jobs[&JobId(1)].clone();
    over.state = over.state.fail(at(2), spotwise_model::job::FailReason::TimedOut).unwrap();
    state.apply(&mut over.into());
    let mut ended = live;
    ended.state = ended.state.end(now(2), Outcome::Succeeded).unwrap();
    state.apply(&mut ended.into());
    assert_eq!(look(&mut state, 9), [], "nothing is said of what is over");
}

#[test]
fn an_assumed_duration_makes_no_deadline_impossible() {
    let mut unknown = chained(1, 1, &[]);
    Arc::make_mut(&mut unknown.spec).work = Work::Unknown;
    let mut state = state_of(vec![unknown.into()]);
    assert_eq!(look(&mut state, 0), []);
    assert_eq!(who(&look(&mut state, 1)), [(1, EventKind::DeadlineLost)], "not even a start fits");
}
