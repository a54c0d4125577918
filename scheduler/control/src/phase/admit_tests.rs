use std::collections::BTreeMap;

use spotwise_model::freeze::Freeze;
use spotwise_model::job::{CancelReason, FailReason};
use spotwise_model::{Condition, Unmet};

use super::*;
use crate::fixture::{at, job, now, state_of};

/// A job that waits for others in these ways.
fn child(id: u64, on: &[(u64, Condition)]) -> Job {
    Job {
        after: on.iter().map(|(parent, _)| JobId(*parent)).collect(),
        on: on.iter().map(|(parent, on)| (JobId(*parent), *on)).collect(),
        ..job(id, "dev")
    }
}

fn over(id: u64, ending: Ending) -> Job {
    let at = at(1);
    let unmet = Unmet { job: JobId(99), on: Condition::Failed, ended: Ending::Succeeded };
    let state = match ending {
        Ending::Succeeded => JobState::Succeeded { at },
        Ending::Failed => JobState::Failed { at, why: FailReason::TimedOut },
        Ending::Cancelled => JobState::Cancelled { at, why: CancelReason::Owner },
        Ending::Skipped => JobState::Skipped { at, why: unmet },
    };
    Job { state, ..job(id, "dev") }
}

/// The jobs' states by name, after one look.
fn after_one_look(jobs: Vec<Job>) -> BTreeMap<u64, (&'static str, String)> {
    let mut state = state_of(jobs.into_iter().map(Change::from).collect());
    let mut words = BTreeMap::new();
    for mut change in admit(&state, now(2)) {
        if let Change::Event(event) = &change {
            words.insert(event.job, event.message.clone());
        }
        state.apply(&mut change);
    }
    let told = |id: &JobId| words.get(id).cloned().unwrap_or_default();
    state.jobs.iter().map(|(id, job)| (id.0, (job.state.name(), told(id)))).collect()
}

/// Also where a plan from before still has a place for it.
#[test]
fn nothing_is_started_while_buying_is_frozen() {
    let mut state = state_of(vec![job(1, "dev").into()]);
    let free = |state: &State| {
        obstacle(state, &state.jobs[&JobId(1)], &ArrayLoad::default(), now(2)).is_none()
    };
    assert!(free(&state));
    let freeze = Freeze { by: "fay".to_owned(), since: at(1), reason: "June".to_owned() };
    state.apply(&mut Change::Freeze(Some(freeze)));
    assert!(!free(&state));
    let told = admit(&state, now(2)).into_iter().find_map(|change| match change {
        Change::Event(event) => Some(event.message),
        _ => None,
    });
    let told = told.expect("its owner is told");
    assert!(told.contains("fay froze all buying") && told.contains("June"), "{told}");
    state.apply(&mut Change::Freeze(None));
    assert!(free(&state));
}

#[test]
fn what_becomes_of_a_job_by_its_condition_and_what_it_waits_for() {
    let (ok, not_ok, any) = (Condition::Succeeded, Condition::Failed, Condition::Ended);
    let table = [
        (Ending::Succeeded, [(ok, "waiting"), (not_ok, "skipped"), (any, "waiting")]),
        (Ending::Failed, [(ok, "cancelled"), (not_ok, "waiting"), (any, "waiting")]),
        (Ending::Cancelled, [(ok, "cancelled"), (not_ok, "cancelled"), (any, "waiting")]),
        (Ending::Skipped, [(ok, "skipped"), (not_ok, "skipped"), (any, "waiting")]),
    ];
    for (ending, cells) in table {
        for (on, expected) in cells {
            let seen = after_one_look(vec![over(1, ending), child(2, &[(1, on)])]);
            assert_eq!(seen[&2].0, expected, "{ending:?} {on:?}: {}", seen[&2].1);
            let state = state_of(vec![over(1, ending).into(), child(2, &[(1, on)]).into()]);
            let load = ArrayLoad::default();
            let runs = obstacle(&state, &state.jobs[&JobId(2)], &load, now(2)).is_none();
            assert_eq!(runs, on.is_met_by(ending), "{ending:?} {on:?}");
        }
    }
}

/// Slurm's afternotok of an array: all of it has ended, and at least one element has
/// failed.
#[test]
fn one_failure_is_enough_in_an_array() {
    use Ending::{Cancelled, Failed, Skipped, Succeeded};
    let table = [
        ([Some(Succeeded), Some(Failed), Some(Succeeded)], "waiting", 0),
        ([Some(Failed), Some(Failed), Some(Failed)], "waiting", 0),
        ([Some(Failed), Some(Cancelled), Some(Skipped)], "waiting", 0),
        ([Some(Failed), None, Some(Succeeded)], "waiting", 1),
        ([Some(Succeeded), None, Some(Cancelled)], "waiting", 1),
        ([Some(Succeeded), Some(Succeeded), Some(Succeeded)], "skipped", 3),
        ([Some(Succeeded), Some(Cancelled), Some(Succeeded)], "cancelled", 3),
    ];
    for (endings, expected, open) in table {
        let mut child = child(9, &[1, 2, 3].map(|id| (id, Condition::Failed)));
        child.one_of = [1, 2, 3].map(|id| (JobId(id), JobId(1))).into();
        let element = |(id, ending): (u64, Option<Ending>)| match ending {
            Some(ending) => over(id, ending),
            None => job(id, "dev"),
        };
        let jobs = (1..).zip(endings).map(element).chain([child]).collect::<Vec<_>>();
        let state = state_of(jobs.iter().cloned().map(Change::from).collect());
        let still = state.jobs[&JobId(9)].open(|id| state.parent_ending(id));
        assert_eq!(still.len(), open, "{endings:?}");
        assert_eq!(after_one_look(jobs)[&9].0, expected, "{endings:?}");
    }
}

#[test]
fn what_is_given_up_takes_all_behind_it_along_at_once() {
    let ok = Condition::Succeeded;
    let chain = (2..=400).map(|id| child(id, &[(id - 1, ok)]));
    let seen = after_one_look([over(1, Ending::Failed)].into_iter().chain(chain).collect());
    assert!(seen.iter().skip(1).all(|(_, (state, _))| *state == "cancelled"));
    assert_eq!(
        seen[&2].1,
        "cancelled: j1 has failed, and it was to run only after the success of that job"
    );
    assert!(seen[&400].1.contains("j399 was cancelled"), "{}", seen[&400].1);
}

#[test]
fn nothing_to_regret_is_skipped_all_the_way_and_a_failure_beside_it_counts_more() {
    let seen = after_one_look(vec![
        over(1, Ending::Succeeded),
        over(2, Ending::Failed),
        child(3, &[(1, Condition::Failed)]),
        child(4, &[(3, Condition::Succeeded)]),
        child(5, &[(1, Condition::Failed), (2, Condition::Succeeded)]),
        child(6, &[(3, Condition::Ended)]),
    ]);
    assert_eq!((seen[&3].0, seen[&4].0), ("skipped", "skipped"));
    assert_eq!(seen[&5].0, "cancelled");
    assert_eq!(seen[&6].0, "waiting", "it ended");
    let told = "skipped: j1 has succeeded, and it was to run only after a failure of that job";
    assert_eq!(seen[&3].1, told);
}

#[test]
fn a_held_job_does_not_outlive_what_it_waits_for() {
    use spotwise_model::job::HoldReason;
    let mut held = child(2, &[(1, Condition::Succeeded)]);
    held.state = JobState::Held { since: at(0), why: HoldReason::Approval };
    assert_eq!(after_one_look(vec![over(1, Ending::Failed), held])[&2].0, "cancelled");
}
