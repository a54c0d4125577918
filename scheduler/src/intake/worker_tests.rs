use spotwise_model::attempt::Outcome;
use spotwise_model::{CapacityType, JobState};

use super::*;
use crate::handle::Command;
use crate::intake::answer;
use crate::phase::ending::EXIT_REQUEUE;
use crate::phase::observe::observe;
use crate::phase::shares::tests::{at, attempt, job, machine, now, state_of};

fn terms() -> Terms {
    let second = Duration::from_secs(1);
    Terms { changeover: second, default_grace: second, max_live_jobs: 9 }
}

/// A gang of two whose commands run, or a single one.
fn running(nodes: usize) -> (State, AttemptId) {
    let both = [machine(1, "a", CapacityType::Spot), machine(2, "a", CapacityType::Spot)];
    let used: Vec<_> = both.iter().take(nodes).collect();
    let runs = AttemptState::Running { launched: now(0), since: now(0) };
    let live = attempt(1, &used, 8, runs);
    let mut owner = job(1, "training");
    owner.state = JobState::Active { since: at(0), attempt: live.id };
    let [one, two] = both.clone();
    (state_of(vec![owner.into(), one.into(), two.into(), live.clone().into()]), live.id)
}

fn take(state: &mut State, command: Command, at: Now) {
    let (changes, _) = answer(state, command, &terms(), at).unwrap();
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
    take(&mut state, Command::Exited { worker, exit: Exit::Signal(15), step: None }, now(2));
    let config = crate::config::Config::new("/data".into(), "spotwise".into());
    for mut change in observe(&state, &config, now(2)) {
        state.apply(&mut change);
    }
    let reason = StopReason::GangBroken;
    assert_eq!(state.attempts[&id].state.outcome(), Some(&Outcome::Stopped { reason }));
    let owner = &state.jobs[&id.job];
    assert!(matches!(owner.state, JobState::Waiting { .. }), "{:?}", owner.state);
    assert_eq!((owner.errors, owner.interruptions), (0, 0));
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
