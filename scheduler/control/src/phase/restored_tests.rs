use spotwise_model::attempt::{CheckpointRef, Progress};
use spotwise_model::plan::WaitReason;
use spotwise_model::spec::{Format, parse};
use spotwise_model::{AttemptState, CapacityType, JobId, JobState};

use super::*;
use crate::core::State;
use crate::fixture::{at, attempt, job, machine, now, state_of};
use crate::phase::admit::{ArrayLoad, obstacle};

/// What happens to job 1, and what its history says.
fn told(state: &mut State, leftovers: &Leftovers) -> Vec<String> {
    let config = Config::default();
    let mut working = WorkingState { state, changes: Vec::new() };
    record_gaps(&mut working, leftovers, &config, now(3), now(5));
    let words = working.changes.into_iter().filter_map(|change| match change {
        Change::Event(event) => Some(event.message),
        _ => None,
    });
    words.collect()
}

/// A job that saves checkpoints, after this many attempts.
fn saving(attempts: u32) -> Job {
    let text = "name: x\ncommand: [x]\nwork: {duration: 1h}\ncheckpoint: {interval: 10m}\n";
    let spec = parse(text.as_bytes(), Format::Yaml).unwrap().jobs.remove(0);
    Job { attempts, spec: spec.into(), ..job(1, "training") }
}

fn leftovers(attempt: u32) -> Leftovers {
    let mut leftovers = Leftovers::default();
    leftovers.note(JobId(1), attempt);
    leftovers
}

#[test]
fn an_attempt_that_left_traces_is_not_numbered_again() {
    let mut state = state_of(vec![saving(2).into()]);
    let words = told(&mut state, &leftovers(4));
    assert!(words[0].contains("attempts up to j1.4 are not in it"), "{words:?}");
    let job = state.jobs[&JobId(1)].clone();
    let known = job.restore_gap.unwrap();
    assert_eq!((job.attempts, known.attempt), (4, 4));
    assert!(job.may_have_saved_more());
    let lease = Config::default().lease;
    assert!(known.over > after(now(5).market, lease), "somebody may still run");
    let why = obstacle(&state, &job, &ArrayLoad::default(), now(5));
    assert_eq!(why, Some(WaitReason::FormerWorkers { until: known.over }));
    for leftovers in [leftovers(4), leftovers(3)] {
        assert!(told(&mut state, &leftovers).is_empty(), "once");
    }
    assert_eq!(state.jobs[&JobId(1)], job);
}

#[test]
fn an_attempt_of_the_backup_may_have_saved_more_since() {
    let mut state = state_of(vec![saving(2).into()]);
    let words = told(&mut state, &Leftovers::default());
    assert!(words[0].contains("since is not in it"), "{words:?}");
    let job = state.jobs[&JobId(1)].clone();
    assert_eq!(job.attempts, 2);
    assert!(job.may_have_saved_more());
    let saved = |number| CheckpointRef {
        attempt: AttemptId { job: JobId(1), number },
        sequence: 1,
        progress: Progress::default(),
        bytes: 0,
        at: at(5),
    };
    for (number, more) in [(2, true), (3, false)] {
        let job = Job { checkpoint: Some(saved(number)), ..job.clone() };
        assert_eq!(job.may_have_saved_more(), more, "{number}");
    }
}

#[test]
fn an_attempt_that_was_followed_is_over_and_the_last_one_is_not() {
    let bought = machine(1, "a", CapacityType::Spot);
    let runs = AttemptState::Running { placed: None, launched: now(1), since: now(1) };
    for (highest, live) in [(2, false), (1, true)] {
        let running = attempt(1, &[&bought], 8, runs.clone());
        let owner = Job { attempts: 1, ..job(1, "training") };
        let mut state = state_of(vec![owner.into(), bought.clone().into(), running.into()]);
        told(&mut state, &leftovers(highest));
        assert_eq!(state.live_attempt(JobId(1)).is_some(), live, "{highest}");
        let ended = state.attempts.values().next().unwrap().state.ended();
        assert_eq!(ended, (!live).then_some(now(3)), "no more is known of it");
    }
}

#[test]
fn who_never_ran_or_is_over_is_known_whole() {
    let fresh = Job { attempts: 0, ..job(1, "training") };
    let mut state = state_of(vec![fresh.into()]);
    assert!(told(&mut state, &Leftovers::default()).is_empty());
    let over = Job { attempts: 2, state: JobState::Succeeded { at: at(1) }, ..job(1, "training") };
    assert!(told(&mut state_of(vec![over.into()]), &leftovers(4)).is_empty());
}
