use std::time::Duration;

use spotwise_model::attempt::CheckpointRef;
use spotwise_model::job::FailReason;
use spotwise_model::policy::Policy;
use spotwise_model::{AttemptId, Ending, JobState, Money};

use super::*;
use crate::fixture::{at, job, now, state_of};

fn config() -> Config {
    let policy = Policy { changeover: Duration::from_secs(60), ..Policy::default() };
    Config { policy, default_grace: Duration::from_secs(1), max_live_jobs: 9, ..Config::default() }
}

fn failed(id: u64) -> Job {
    let mut job = job(id, "training");
    let text = "name: x\ncommand: [x]\nwork: {duration: 1h}\ncheckpoint: {interval: 1m}\n";
    let spec = spotwise_model::spec::parse(text.as_bytes(), spotwise_model::spec::Format::Yaml);
    job.spec = Arc::new(spec.unwrap().jobs.remove(0));
    let progress = Progress::of_step(10, Some(12));
    job.checkpoint = Some(CheckpointRef {
        attempt: AttemptId { job: JobId(id), number: 2 },
        sequence: 3,
        progress,
        bytes: 5,
        at: at(0),
    });
    job.state = JobState::Failed { at: at(1), why: FailReason::TimedOut };
    job
}

fn again(old: Job, goes_on: bool) -> ResubmittedJob {
    ResubmittedJob { spec: (*old.spec).clone(), goes_on, replaces: Vec::new(), old }
}

fn made(state: &State, request: &Resubmit) -> Result<Vec<Job>, Refusal> {
    match resubmit(&mut state.clone(), request, &config(), now(5))?.1 {
        Reply::Submitted { made, .. } => Ok(made),
        other => panic!("{other:?}"),
    }
}

fn world() -> State {
    State { last_job: 20, ..state_of(Vec::new()) }
}

#[test]
fn a_chain_comes_back_with_its_new_numbers_its_checkpoint_and_its_folder() {
    let first = failed(7);
    let mut second = Job { after: vec![JobId(3), JobId(7)], ..failed(8) };
    second.on.insert(JobId(7), Condition::Ended);
    let request = Resubmit {
        jobs: vec![again(first, true), again(second, false)],
        ended_parents: vec![(JobId(3), Ending::Succeeded)],
        ..Resubmit::default()
    };
    let made = made(&world(), &request).unwrap();
    let [first, second] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!((first.id, first.group), (JobId(21), JobId(21)));
    assert_eq!(first.saved_progress().step, Some(10), "where the old one was saved");
    assert_eq!((first.attempts, first.errors, first.spent), (0, 0, Money::ZERO));
    let from = first.resubmission.as_ref().unwrap();
    assert_eq!((from.of, first.shared()), (JobId(7), JobId(7)));
    assert_eq!(from.lineage, [JobId(7)]);
    assert_eq!(second.after, [JobId(3), JobId(21)], "met, and by its new number");
    assert_eq!(second.condition(JobId(21)), Condition::Ended);
    assert_eq!((second.checkpoint, second.progress), (None, Progress::default()), "fresh");
    assert!(second.resubmission.as_ref().unwrap().lineage.is_empty());
}

#[test]
fn a_resubmission_of_a_resubmission_keeps_the_whole_line() {
    let mut old = failed(9);
    let before = Resubmission {
        of: JobId(4),
        shared: JobId(2),
        lineage: vec![JobId(4), JobId(3)],
        may_have_more: false,
    };
    old.resubmission = Some(before);
    let request = Resubmit { jobs: vec![again(old, true)], ..Resubmit::default() };
    let made = made(&world(), &request).unwrap();
    let from = made[0].resubmission.as_ref().unwrap();
    assert_eq!(from.lineage, [JobId(9), JobId(4), JobId(3)]);
    assert_eq!((from.of, made[0].shared()), (JobId(9), JobId(2)));
}

#[test]
fn nothing_comes_back_twice_or_behind_what_never_comes() {
    let code = |state: &State, request: &Resubmit| match made(state, request) {
        Err(Refusal::Invalid { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let request = Resubmit { jobs: vec![again(failed(7), true)], ..Resubmit::default() };
    let mut twin = job(12, "training");
    let from =
        Resubmission { of: JobId(7), shared: JobId(7), lineage: Vec::new(), may_have_more: false };
    twin.resubmission = Some(from);
    let state = State { last_job: 20, ..state_of(vec![twin.into()]) };
    assert_eq!(code(&state, &request), "resubmitted_already");
    let orphan = Job { after: vec![JobId(3)], ..failed(8) };
    let mut request = Resubmit { jobs: vec![again(orphan, true)], ..Resubmit::default() };
    assert_eq!(code(&world(), &request), "unknown_dependency");
    request.ended_parents = vec![(JobId(3), Ending::Failed)];
    assert_eq!(code(&world(), &request), "failed_dependency");
    request.heads.insert(JobId(3), JobId(15));
    request.ended_parents = vec![(JobId(15), Ending::Succeeded)];
    assert_eq!(made(&world(), &request).unwrap()[0].after, [JobId(15)], "it came back before");
    let running = State { last_job: 20, ..state_of(vec![job(7, "training").into()]) };
    let request = Resubmit { jobs: vec![again(failed(7), true)], ..Resubmit::default() };
    assert_eq!(code(&running, &request), "job_not_ended");
}

#[test]
fn elements_keep_their_place() {
    let element = |id: u64, index: u32| {
        let array = ArrayPlace {
            first: JobId(3),
            index,
            size: 9,
            max_parallel: Some(1),
            reuse_workers: false,
        };
        again(Job { array: Some(array), ..failed(id) }, true)
    };
    let request = Resubmit { jobs: vec![element(5, 2), element(8, 5)], ..Resubmit::default() };
    let places: Vec<_> = made(&world(), &request).unwrap().iter().map(|job| job.array).collect();
    let place = |index| ArrayPlace {
        first: JobId(21),
        index,
        size: 9,
        max_parallel: Some(1),
        reuse_workers: false,
    };
    assert_eq!(places, [Some(place(2)), Some(place(5))]);
}
