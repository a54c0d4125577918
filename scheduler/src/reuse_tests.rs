use spotwise_control::core::Change;
use spotwise_control::fixture::{attempt, job, machine, now, state_of};
use spotwise_model::job::ArrayPlace;
use spotwise_model::{AttemptState, CapacityType, Job};

use super::*;

/// An element of an array of three, from job 1 on.
fn element(id: u64, reuse_workers: bool) -> Job {
    let index = u32::try_from(id - 1).unwrap();
    let first = JobId(1);
    let place = ArrayPlace { first, index, size: 3, max_parallel: None, reuse_workers };
    Job { array: Some(place), ..job(id, "inference") }
}

fn id(job: u64) -> AttemptId {
    AttemptId { job: JobId(job), number: 1 }
}

/// Where an element's attempt is, and how far.
type Placed = (u64, u64, AttemptState);

fn running() -> AttemptState {
    AttemptState::Planned { at: now(1) }.launch(now(1)).unwrap().run(now(1)).unwrap()
}

fn starting() -> AttemptState {
    AttemptState::Planned { at: now(2) }.launch(now(2)).unwrap()
}

fn ended(outcome: Outcome) -> AttemptState {
    running().end(now(2), outcome).unwrap()
}

/// The three elements, and these attempts of them.
fn state(reuse: bool, placed: &[Placed]) -> State {
    let jobs = (1..=3).map(|id| Change::from(element(id, reuse)));
    let attempts = placed.iter().map(|(job, on, state)| {
        let machine = machine(*on, "a", CapacityType::Spot);
        Change::from(attempt(*job, &[&machine], 1, state.clone()))
    });
    state_of(jobs.chain(attempts).collect())
}

fn told(answer: Option<(Next, JobId)>) -> Option<AttemptId> {
    answer?.0.try_recv().ok()
}

#[test]
fn a_worker_that_asks_first_is_told_when_the_next_element_is_placed() {
    let (reuse, begun) = (WorkerReuse::default(), Instant::now());
    reuse.note(&state(true, &[(1, 7, running())]), begun);
    reuse.note(&state(true, &[(1, 7, ended(Outcome::Succeeded))]), begun);
    let (mut next, array) = reuse.ask(id(1), begun).expect("it is known");
    assert_eq!((next.try_recv().ok(), array), (None, JobId(1)));
    let elsewhere = state(true, &[(2, 8, starting())]);
    assert!(matches!(reuse.starter(&elsewhere, id(2)), Starter::New), "another machine");
    let here = state(true, &[(2, 7, starting())]);
    let Starter::Idle(idle) = reuse.starter(&here, id(2)) else { panic!("it waits here") };
    reuse.go_on(idle, id(2));
    assert_eq!(next.try_recv().ok(), Some(id(2)));
    // An answer that was lost is given again, as long as nobody has carried it out.
    reuse.note(&here, begun);
    assert_eq!(told(reuse.ask(id(1), begun)), Some(id(2)));
    reuse.note(&state(true, &[(2, 7, ended(Outcome::Succeeded))]), begun);
    assert!(reuse.ask(id(1), begun).is_none(), "its time is over");
}

#[test]
fn an_element_waits_for_the_worker_that_has_just_ended_on_its_machine() {
    let (reuse, begun) = (WorkerReuse::default(), Instant::now());
    reuse.note(&state(true, &[(1, 7, running())]), begun);
    let after =
        state(true, &[(1, 7, ended(Outcome::Succeeded)), (2, 7, starting()), (3, 7, starting())]);
    reuse.note(&after, begun);
    let Starter::Expected(mut asks, _) = reuse.starter(&after, id(2)) else { panic!("expected") };
    assert!(matches!(reuse.starter(&after, id(3)), Starter::New), "one has ended, not two");
    let (mut next, _) = reuse.ask(id(1), begun).unwrap();
    reuse.go_on(asks.try_recv().expect("it has asked"), id(2));
    assert_eq!(next.try_recv().ok(), Some(id(2)));
}

#[test]
fn nobody_is_expected_after_a_failure_after_too_long_or_where_it_is_not_asked_for() {
    let begun = Instant::now();
    let after = |reuses: bool, outcome: Outcome, passed: Duration| {
        let reuse = WorkerReuse::default();
        reuse.note(&state(reuses, &[(1, 7, running())]), begun);
        let after = state(reuses, &[(1, 7, ended(outcome)), (2, 7, starting())]);
        reuse.note(&after, begun);
        reuse.note(&after, begun + passed);
        reuse.starter(&after, id(2))
    };
    let expected = after(true, Outcome::Succeeded, Duration::ZERO);
    assert!(matches!(expected, Starter::Expected(..)), "{expected:?}");
    assert!(matches!(after(false, Outcome::Succeeded, Duration::ZERO), Starter::New));
    assert!(matches!(after(true, Outcome::Requeued, Duration::ZERO), Starter::New));
    assert!(matches!(after(true, Outcome::Succeeded, EXPECTED), Starter::New));
}

#[test]
fn a_worker_whose_connection_is_gone_is_not_given_anything() {
    let (reuse, begun) = (WorkerReuse::default(), Instant::now());
    reuse.note(&state(true, &[(1, 7, running())]), begun);
    reuse.note(&state(true, &[(1, 7, ended(Outcome::Succeeded))]), begun);
    drop(reuse.ask(id(1), begun));
    let here = state(true, &[(2, 7, starting())]);
    assert!(matches!(reuse.starter(&here, id(2)), Starter::New));
    assert!(reuse.ask(id(9), begun).is_none(), "nobody knows that one");
}

#[test]
fn an_array_waits_while_one_of_its_elements_does() {
    let mut all = state(true, &[]);
    assert!(is_any_waiting(&all, JobId(1)));
    all.jobs.retain(|id, _| *id == JobId(3));
    assert!(is_any_waiting(&all, JobId(1)), "the last one");
    all.jobs.clear();
    all.jobs.insert(JobId(4), job(4, "inference"));
    assert!(!is_any_waiting(&all, JobId(1)), "one of another");
}
