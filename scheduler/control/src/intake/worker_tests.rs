use spotwise_model::attempt::Outcome;
use spotwise_model::job::RestoreGap;
use spotwise_model::policy::Policy;
use spotwise_model::spec::{Format, parse};
use spotwise_model::{AttemptId, CapacityType, JobState};

use super::*;
use crate::Command;
use crate::fixture::{at, attempt, job, machine, now, state_of};
use crate::intake::answer;
use crate::phase::attempt_end::EXIT_REQUEUE;
use crate::phase::observe::observe;

fn config() -> Config {
    let second = Duration::from_secs(1);
    let policy = Policy { changeover: second, ..Policy::default() };
    Config { policy, default_grace: second, max_live_jobs: 9, ..Config::default() }
}

/// A gang of two whose commands run, or a single one.
fn running(nodes: usize) -> (State, AttemptId) {
    let both = [machine(1, "a", CapacityType::Spot), machine(2, "a", CapacityType::Spot)];
    let used: Vec<_> = both.iter().take(nodes).collect();
    let runs = AttemptState::Running { placed: None, launched: now(0), since: now(0) };
    let live = attempt(1, &used, 8, runs);
    let mut owner = job(1, "training");
    owner.state = JobState::Active { since: at(0), attempt: live.id };
    let [one, two] = both.clone();
    (state_of(vec![owner.into(), one.into(), two.into(), live.clone().into()]), live.id)
}

fn take(state: &mut State, command: Command, at: Now) {
    let (changes, _) = answer(state, command, &config(), at).unwrap();
    for mut change in changes {
        state.apply(&mut change);
    }
}

fn gone(attempt: AttemptId, rank: u32) -> Command {
    Command::WorkerGone { worker: WorkerId { attempt, rank } }
}

#[test]
fn nothing_follows_a_gang_before_its_last_member_has_ended() {
    let (mut state, id) = running(2);
    take(&mut state, gone(id, 0), now(1));
    let attempt = &state.attempts[&id];
    assert!(attempt.state.is_live(), "the rest still runs: {:?}", attempt.state);
    assert_eq!(attempt.stop.map(|order| order.reason), Some(StopReason::GangBroken));
    assert_eq!(attempt.nodes[0].exited, Some((now(1), Exit::Code(EXIT_REQUEUE))));
    assert!(matches!(state.jobs[&id.job].state, JobState::Active { .. }), "no place for another");
    // Said again it changes nothing.
    let before = state.attempts[&id].clone();
    take(&mut state, gone(id, 0), now(1));
    assert_eq!(state.attempts[&id], before);

    // The rest obeys, and dies of SIGTERM: that is no failure of the job.
    let worker = WorkerId { attempt: id, rank: 1 };
    take(
        &mut state,
        Command::Exited { worker, exit: Exit::Signal(15), told: Told::Stop, step: None },
        now(2),
    );
    let config = crate::config::Config::default();
    for mut change in observe(&state, &config, now(2)) {
        state.apply(&mut change);
    }
    let reason = StopReason::GangBroken;
    assert_eq!(state.attempts[&id].state.outcome(), Some(&Outcome::Stopped { reason }));
    let owner = &state.jobs[&id.job];
    assert!(matches!(owner.state, JobState::Waiting { .. }), "{:?}", owner.state);
    assert_eq!((owner.errors, owner.interruptions), (0, 0));
}

/// Seed 1437: another worker of a rank that was taken for gone ran its command, and nobody
/// waited for its end.
#[test]
fn who_was_taken_for_gone_is_not_let_in() {
    let (mut state, id) = running(2);
    take(&mut state, gone(id, 0), now(1));
    let comes = |rank| Command::Register {
        worker: WorkerId { attempt: id, rank },
        handle: "7".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        key: crate::command::WorkerKey::of_start("own"),
    };
    let refused = answer(&mut state, comes(0), &config(), now(1)).unwrap_err();
    assert_eq!(refused, Refusal::Fenced { attempt: id });
    assert!(answer(&mut state, comes(1), &config(), now(1)).is_ok());
}

/// What a worker is started with is good once: for who binds a key by it.
#[test]
fn a_start_is_shown_once_and_late_is_too_late() {
    let (mut state, id) = running(1);
    let worker = WorkerId { attempt: id, rank: 0 };
    let comes = |hash: &str, is_started| Command::Register {
        worker,
        handle: "7".to_owned(),
        address: String::new(),
        key: WorkerKey { hash: hash.to_owned(), is_started },
    };
    let (_, reply) = answer(&mut state, comes("own", false), &config(), now(1)).unwrap();
    assert_eq!(reply, Reply::NotTheWorker, "too late");
    assert_eq!(state.attempts[&id].nodes[0].key, None);
    take(&mut state, comes("own", true), now(1));
    assert_eq!(state.attempts[&id].nodes[0].key.as_deref(), Some("own"));
    for started in [true, false] {
        let (_, reply) = answer(&mut state, comes("own", started), &config(), now(2)).unwrap();
        assert!(matches!(reply, Reply::Assigned(Some(_))), "it asks again: {reply:?}");
    }
    let before = state.attempts[&id].clone();
    let (heard, reply) = answer(&mut state, comes("other", true), &config(), now(3)).unwrap();
    assert_eq!(reply, Reply::NotTheWorker);
    assert!(
        matches!(heard.as_slice(), [Change::Event(event)] if event.message.contains("refused"))
    );
    let (heard, _) = answer(&mut state, comes("third", true), &config(), now(4)).unwrap();
    assert!(heard.is_empty(), "it is said once");
    assert_eq!(state.attempts[&id], before);
}

#[test]
fn the_last_worker_that_goes_ends_the_attempt() {
    let (mut state, id) = running(1);
    take(&mut state, gone(id, 0), now(1));
    assert_eq!(state.attempts[&id].state.outcome(), Some(&Outcome::Lost));

    let (mut state, id) = running(2);
    take(&mut state, gone(id, 1), now(1));
    take(&mut state, gone(id, 0), now(1));
    assert!(!state.attempts[&id].state.is_live(), "both are gone");
    assert_eq!(state.jobs[&id.job].errors, 0);
}

#[test]
fn a_refusal_of_the_pool_is_no_failure_unless_it_is_for_good() {
    for (retryable, errors) in [(true, 0), (false, 1)] {
        let (mut state, id) = running(1);
        let launching = AttemptState::Planned { at: now(0) }.launch(now(0)).unwrap();
        state.attempts.get_mut(&id).unwrap().state = launching;
        let worker = WorkerId { attempt: id, rank: 0 };
        let message = "no".to_owned();
        take(&mut state, Command::LaunchFailed { worker, message, retryable }, now(1));
        assert_eq!(state.jobs[&id.job].errors, errors);
        assert!(!state.attempts[&id].state.is_live());
    }
}

/// Attempt 1 was lost on a machine that another job still uses, so that its charges are
/// open and it is still in memory; attempt 2 is running elsewhere.
fn replaced() -> (State, WorkerId) {
    let shared = machine(1, "a", CapacityType::Spot);
    let other = machine(2, "a", CapacityType::Spot);
    let runs = |hour| AttemptState::Running { placed: None, launched: now(hour), since: now(hour) };
    let old = attempt(1, &[&shared], 4, runs(0).end(now(1), Outcome::Lost).unwrap());
    let mut new = attempt(1, &[&other], 4, runs(2));
    new.id.number = 2;
    new.progress = Progress::of_step(70, Some(100));
    let beside = attempt(2, &[&shared], 4, runs(0));
    let mut owner = job(1, "training");
    owner.state = JobState::Active { since: at(2), attempt: new.id };
    owner.progress = new.progress;
    let worker = WorkerId { attempt: old.id, rank: 0 };
    let things = vec![owner.into(), job(2, "training").into(), shared.into(), other.into()];
    let attempts = [old, new, beside].map(Change::from);
    (state_of(things.into_iter().chain(attempts).collect()), worker)
}

/// The fence. In the simulator no late report finds its attempt in memory, unless its
/// machine is shared or on notice: what is settled is dropped at once.
#[test]
fn an_attempt_that_is_over_is_heard_no_more() {
    let step = Some((90, 100));
    let message = "late".to_owned();
    let (_, worker) = replaced();
    let words = [
        Command::Register {
            worker,
            handle: "9".to_owned(),
            address: String::new(),
            key: crate::command::WorkerKey::of_start("own"),
        },
        Command::Heartbeat { worker, step, memory: None },
        Command::Started { worker, restored: None, rejected_checkpoints: 0 },
        Command::Checkpointed { worker, sequence: 1, bytes: 1, step },
        Command::Exited { worker, exit: Exit::Code(0), told: Told::Nothing, step },
        Command::Exited { worker, exit: Exit::Code(1), told: Told::Nothing, step },
        Command::StartFailed { worker, message: message.clone() },
        Command::LaunchFailed { worker, message: message.clone(), retryable: true },
        Command::LaunchFailed { worker, message, retryable: false },
        Command::LaunchUnknown { worker },
        Command::WorkerGone { worker },
    ];
    for word in words {
        let said = format!("{word:?}");
        let (mut state, _) = replaced();
        let before = state.clone();
        let answer = answer(&mut state, word, &config(), now(3));
        assert_eq!(answer, Err(Refusal::Fenced { attempt: worker.attempt }), "{said}");
        assert_eq!(state.seen.heartbeats, before.seen.heartbeats, "{said}");
        assert_eq!(state.seen.progress, before.seen.progress, "{said}");
    }
}

/// A job that has saved one checkpoint in its first attempt; its third, launched at hour 1,
/// is to resume from that.
fn resumed(known: Option<RestoreGap>) -> (State, WorkerId, CheckpointRef) {
    let (mut state, first) = running(1);
    let text = "name: x\ncommand: [x]\nwork: {steps: 100}\ncheckpoint: {interval: 10m}\n";
    let spec = parse(text.as_bytes(), Format::Yaml).unwrap().jobs.remove(0);
    let progress = Progress::of_step(10, Some(100));
    let saved = CheckpointRef { attempt: first, sequence: 1, progress, bytes: 5, at: at(0) };
    let id = AttemptId { number: 3, ..first };
    let launched =
        AttemptState::Launching { placed: None, since: now(1), certainty: Certainty::Known };
    let live =
        Attempt { id, restore: Some(saved), state: launched, ..state.attempts[&first].clone() };
    let mut owner = state.jobs[&id.job].clone();
    owner.spec = spec.into();
    owner.checkpoint = Some(saved);
    owner.restore_gap = known;
    owner.state = JobState::Active { since: at(1), attempt: id };
    for mut change in [owner.into(), live.into()] {
        state.apply(&mut change);
    }
    (state, WorkerId { attempt: id, rank: 0 }, saved)
}

/// Whether the worker is told to look for the newest checkpoint.
fn looks(state: &mut State, worker: WorkerId) -> bool {
    let register = Command::Register {
        worker,
        handle: "9".to_owned(),
        address: String::new(),
        key: crate::command::WorkerKey::of_start("own"),
    };
    match answer(state, register, &config(), now(1)).unwrap().1 {
        Reply::Assigned(Some(assigned)) => assigned.newest_saved,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_checkpoint_is_looked_for_where_it_may_not_be_known() {
    let known = |attempt| Some(RestoreGap { attempt, over: at(0), uncertain_since: None });
    for (known, newest) in [(None, false), (known(2), true), (known(1), true), (known(3), false)] {
        let (mut state, worker, _) = resumed(known);
        assert_eq!(looks(&mut state, worker), newest, "{known:?}");
    }
    // Its own checkpoint is newer than all that is not known.
    let (mut state, worker, saved) = resumed(known(2));
    state.jobs.get_mut(&worker.attempt.job).unwrap().checkpoint =
        Some(CheckpointRef { attempt: worker.attempt, ..saved });
    assert!(!looks(&mut state, worker));
}

#[test]
fn a_job_is_as_far_as_what_was_really_loaded() {
    let (mut state, worker, saved) = resumed(None);
    looks(&mut state, worker);
    let same = Loaded { step: None, ..saved.into() };
    let newer = Loaded { sequence: 9, bytes: 7, step: Some((40, 0)), ..same };
    let unsaid = Loaded { step: None, ..newer };
    for (loaded, step, ppm) in
        [(same, Some(10), 100_000), (newer, Some(40), 400_000), (unsaid, None, 0)]
    {
        let mut state = state.clone();
        let restored = Some(loaded);
        take(&mut state, Command::Started { worker, restored, rejected_checkpoints: 0 }, now(1));
        let job = &state.jobs[&worker.attempt.job];
        let known = job.checkpoint.unwrap();
        assert_eq!((known.sequence, known.bytes), (loaded.sequence, loaded.bytes));
        assert_eq!((known.progress.step, known.progress.done_ppm), (step, ppm));
        assert_eq!(state.attempts[&worker.attempt].restore, job.checkpoint);
    }
}

#[test]
fn a_worker_of_before_a_restore_that_speaks_is_known_again() {
    let words = |worker| {
        [
            Command::Heartbeat { worker, step: None, memory: None },
            Command::Checkpointed { worker, sequence: 1, bytes: 1, step: None },
            Command::Exited { worker, exit: Exit::Code(0), told: Told::Nothing, step: None },
        ]
    };
    for word in 0..3 {
        let (mut state, id) = running(1);
        let known = RestoreGap { attempt: 1, over: at(0), uncertain_since: Some(now(1)) };
        state.jobs.get_mut(&id.job).unwrap().restore_gap = Some(known);
        let unheard = state.clone();
        assert_eq!(state.jobs[&id.job].uncertain_since(id), Some(now(1)));
        let said = words(WorkerId { attempt: id, rank: 0 }).into_iter().nth(word).unwrap();
        take(&mut state, said, now(5));
        assert_eq!(state.jobs[&id.job].uncertain_since(id), None);
        let end = |state: &State| {
            let changes = attempt_end::end(state, &state.attempts[&id], Outcome::Lost, now(6));
            changes.into_iter().find_map(|change| match change {
                Change::Attempt(attempt) => attempt.state.ended(),
                _ => None,
            })
        };
        assert_eq!((end(&unheard), end(&state)), (Some(now(1)), Some(now(6))));
    }
}

#[test]
fn what_a_worker_says_of_files_is_an_event_once() {
    let (mut state, id) = running(2);
    let say = |state: &mut State, rank, number, message: &str| {
        let worker = WorkerId { attempt: id, rank };
        let command = Command::Note { worker, number, message: message.to_owned() };
        let (changes, _) = answer(state, command, &config(), now(1)).unwrap();
        let events = changes.into_iter().map(|change| match change {
            Change::Event(event) if event.kind == EventKind::Warning => event.message,
            other => panic!("{other:?}"),
        });
        events.collect::<Vec<_>>()
    };
    assert_eq!(say(&mut state, 0, 1, "a link is left out"), ["a link is left out"]);
    assert_eq!(say(&mut state, 0, 1, "a link is left out"), [""; 0], "its answer was lost");
    assert_eq!(say(&mut state, 0, 2, "and a pipe"), ["and a pipe"]);
    assert_eq!(say(&mut state, 1, 1, "a link"), ["node 1: a link"]);
    assert_eq!(say(&mut state, 0, MOST_NOTES + 1, "on and on"), [""; 0]);
    let worker = WorkerId { attempt: AttemptId { number: 7, ..id }, rank: 0 };
    let late = Command::Note { worker, number: 1, message: String::new() };
    assert!(matches!(answer(&mut state, late, &config(), now(1)), Err(Refusal::Fenced { .. })));
}
