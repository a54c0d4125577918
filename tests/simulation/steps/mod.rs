//! Tests of the catalogue of faults that do something at every step in turn:
//! everything twice, a cancel in every state, two hundred budgets at once.

mod fixture;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_control::{Refusal, Reply, WorkerId};
use spotwise_model::attempt::{Certainty, Exit};
use spotwise_model::{AttemptState, InstanceState, JobId, JobState, Money};

use fixture::{Fixture, submission};
use scripts::{SCRIPTS, Script};

/// The script up to a step.
fn played(script: &Script, steps: usize, twice: bool) -> Fixture {
    let mut fixture = Fixture::new(twice);
    for step in script.2.iter().take(steps) {
        step(&mut fixture);
    }
    fixture
}

/// Commands, rounds, commits and effects, each of them twice: the second time
/// nothing changes (`Fixture` looks after every one), and the end is the same.
#[test]
fn repeat_each_step() {
    for script in SCRIPTS {
        let once = played(script, usize::MAX, false);
        let twice = played(script, usize::MAX, true);
        once.check_books();
        assert_eq!(once.tables(), twice.tables(), "{}", script.0);
        assert_eq!(once.pool, twice.pool, "{}", script.0);
    }
}

/// Where a job is, with all that a cancel may find.
fn stand(fixture: &Fixture, job: JobId) -> String {
    let attempt = fixture.state.live_attempt(job);
    let mut attempts = fixture.state.attempts_of(job);
    let job = fixture.job(job);
    let mut words = vec![job.state.name().to_owned()];
    if let JobState::Waiting { why, .. } = &job.state {
        let named = format!("{why:?}");
        words.push(named.split([' ', '{']).next().unwrap_or_default().to_lowercase());
    }
    if let Some(attempt) = attempt {
        words.push(attempt.state.name().to_owned());
        if let AttemptState::Launching { certainty: Certainty::Unknown, .. } = attempt.state {
            words.push("unknown".to_owned());
        }
        let some = |what: bool, word: &str| what.then(|| word.to_owned());
        words.extend(some(attempt.nodes.iter().any(|n| n.registered.is_some()), "registered"));
        words.extend(some(attempt.nodes.iter().any(|n| n.exited.is_some()), "exited"));
        words.extend(attempt.stop.map(|order| format!("{:?}", order.reason).to_lowercase()));
    }
    let ended = attempts.any(|a| matches!(a.state, AttemptState::Ended { .. }));
    words.extend(ended.then(|| "unsettled".to_owned()));
    words.join(" ")
}

/// What the pool's workers do until everything is over. Those of the job `deaf`
/// hear and say nothing any more.
fn play_on(fixture: &mut Fixture, deaf: Option<JobId>) {
    let mut beats: BTreeMap<WorkerId, u64> = BTreeMap::new();
    for _ in 0..6_000 {
        if fixture.is_over() {
            return;
        }
        fixture.wait(20);
        fixture.plan();
        for worker in fixture.pool.clone() {
            if deaf == Some(worker.attempt.job) {
                continue;
            }
            act(fixture, worker, 30, &mut beats);
        }
    }
    let jobs = &fixture.store.tables.jobs;
    panic!("it is not over: {:?} {:?}", jobs.values().map(|j| &j.state), fixture.pool);
}

/// What a worker does whose command is done after so many heartbeats.
fn act(fixture: &mut Fixture, worker: WorkerId, long: u64, beats: &mut BTreeMap<WorkerId, u64>) {
    let times = beats.entry(worker).or_default();
    *times += 1;
    let answer = match *times {
        1 => fixture.register(worker).map(drop),
        2 => fixture.register(worker).map(drop).and_then(|()| fixture.start(worker).map(drop)),
        _ => match fixture.beat(worker, 40) {
            Ok(Reply::Orders(orders)) => {
                let told = orders.stop.is_some() || orders.reclaim_in.is_some();
                if told || *times > long {
                    fixture.exit(worker, Exit::Code(if told { 143 } else { 0 }));
                }
                Ok(())
            }
            other => other.map(drop),
        },
    };
    if let Err(refusal) = answer {
        // A worker that is superseded ends by itself.
        assert!(matches!(refusal, Refusal::Fenced { .. }), "{refusal:?}");
        fixture.pool.remove(&worker);
    }
}

/// A cancel in every state that the scripts go through, with workers that obey
/// and with workers that are never heard of again: the job ends as cancelled,
/// nothing of it is left, everything is charged once, and it is never tried again.
#[test]
fn cancel_during_recovery() {
    let mut seen = BTreeSet::new();
    for script in SCRIPTS {
        for steps in 1..=script.2.len() {
            for (deaf, restarts) in [(false, false), (true, false), (false, true)] {
                let mut fixture = played(script, steps, false);
                let stand = stand(&fixture, script.1);
                let what = format!("{} after step {steps}: {stand}, deaf {deaf}", script.0);
                cancel(&mut fixture, script.1, deaf, restarts, &what);
                seen.insert(stand);
            }
        }
    }
    for stand in STANDS {
        assert!(seen.contains(*stand), "no cancel came to a job that is {stand}: {seen:#?}");
    }
}

/// Every state, and every order that may stand beside it.
const STANDS: &[&str] = &[
    "active launching",
    "active launching registered",
    "active launching unknown",
    "active launching unknown registered",
    "active running registered",
    "active running registered budget",
    "active running registered exited",
    "active running registered exited gangbroken",
    "active running registered interrupted",
    "active running registered moved",
    "active running registered timedout",
    "failed",
    "held",
    "succeeded",
    "waiting backoff",
    "waiting dependencies",
    "waiting overbudget",
    "waiting queued",
    "waiting queued unsettled",
];

fn cancel(fixture: &mut Fixture, job: JobId, deaf: bool, restarts: bool, what: &str) {
    let before = fixture.job(job).clone();
    let attempts = fixture.attempts(job);
    let done = |fixture: &Fixture| {
        let live = fixture.state.live_attempt(job);
        live.is_some_and(|a| a.nodes.iter().all(|n| n.exited.is_some_and(|e| e.1 == Exit::Code(0))))
    };
    let has_succeeded = done(fixture);
    fixture.twice = true;
    let answer = fixture.cancel(job);
    fixture.twice = false;
    if restarts {
        fixture.restart();
    }
    play_on(fixture, deaf.then_some(job));
    fixture.check_books();
    match (&before.state, &fixture.job(job).state) {
        (over, now) if over.is_terminal() => assert_eq!(now, over, "{what}"),
        (_, JobState::Succeeded { .. }) if has_succeeded => {}
        (_, JobState::Cancelled { .. }) => assert!(answer.is_ok(), "{what}: {answer:?}"),
        (_, other) => panic!("{what}: it ended as {other:?}"),
    }
    assert_eq!(fixture.attempts(job), attempts, "{what}: it was tried again");
    let left = fixture.store.tables.instances.values();
    let left = left.filter(|i| !matches!(i.state, InstanceState::Gone { settled: true, .. }));
    assert_eq!(left.count(), 0, "{what}");
}

/// Two hundred submitters, each with a budget that its work may or may not fit,
/// each submission made twice, on machines that come and go, beside cancels,
/// deaths and restarts of the scheduler. `Fixture` looks at every budget after every
/// round: spent and held never exceed it. In the end nothing is held.
#[test]
fn budget_race() {
    const SUBMITTERS: u64 = 200;
    for seed in [54, 55, 56] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut fixture = Fixture::with_machines(false, 60);
        for n in 0..SUBMITTERS {
            let document = scripts::budgeted(n, rng.random_range(10..70), rng.random_range(5..20));
            fixture.twice = true;
            let reply = fixture.say(|| submission(&document)).expect("it is accepted");
            fixture.twice = false;
            assert!(matches!(reply, Reply::Submitted { replayed: false, .. }));
            if rng.random_range(0..10) == 0 {
                fixture.wait(1);
            }
        }
        storm(&mut fixture, &mut rng);
        fixture.check_books();
        let tables = &fixture.store.tables;
        assert_eq!(tables.jobs.len() as u64, SUBMITTERS);
        let ended = |name: &str| tables.jobs.values().filter(|j| j.state.name() == name).count();
        let (held, succeeded) = (ended("held"), ended("succeeded"));
        assert!(held > 10 && succeeded > 10, "{held} held, {succeeded} done: no race");
        assert!(tables.attempts.values().all(|a| a.hold == Money::ZERO), "a hold is left");
    }
}

/// Workers live their lives, some die, some jobs are cancelled, the scheduler
/// comes and goes.
fn storm(fixture: &mut Fixture, rng: &mut ChaCha8Rng) {
    let mut beats: BTreeMap<WorkerId, u64> = BTreeMap::new();
    for round in 0..3_000 {
        if round > 100 && fixture.is_over() {
            return;
        }
        // What a stop may cost holds for longer, as the workers obey at once.
        fixture.skip(20);
        if round % 3 == 0 {
            fixture.plan();
        }
        if rng.random_range(0..25) == 0 {
            fixture.restart();
        }
        if rng.random_range(0..20) == 0 {
            let _ = fixture.cancel(JobId(rng.random_range(1..=200)));
        }
        for worker in fixture.pool.clone() {
            if rng.random_range(0..300) == 0 && fixture.state.attempts.contains_key(&worker.attempt)
            {
                fixture.pool.remove(&worker);
                let _ = fixture.say(|| spotwise_control::Command::WorkerGone { worker });
            } else {
                // Up to half an hour, whatever its document says.
                act(fixture, worker, 3 + worker.attempt.job.0 % 90, &mut beats);
            }
        }
    }
    let open = fixture.store.tables.jobs.values().filter(|job| !job.state.is_terminal());
    panic!("it is not over: {:?}", open.map(|job| (job.id, &job.state)).collect::<Vec<_>>());
}
