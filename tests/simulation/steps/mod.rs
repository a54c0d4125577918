//! Tests of the catalogue of faults that do something at every step in turn:
//! everything twice, a cancel in every state, two hundred budgets at once.

mod scene;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_control::{Refusal, Reply, WorkerId};
use spotwise_model::attempt::{Certainty, Exit};
use spotwise_model::{AttemptState, InstanceState, JobId, JobState, Money};

use scene::{Scene, submission};
use scripts::{SCRIPTS, Script};

/// The script up to a step.
fn played(script: &Script, steps: usize, twice: bool) -> Scene {
    let mut scene = Scene::new(twice);
    for step in script.2.iter().take(steps) {
        step(&mut scene);
    }
    scene
}

/// Commands, rounds, commits and effects, each of them twice: the second time
/// nothing changes (`Scene` looks after every one), and the end is the same.
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
fn stand(scene: &Scene, job: JobId) -> String {
    let attempt = scene.state.live_attempt(job);
    let mut attempts = scene.state.attempts_of(job);
    let job = scene.job(job);
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
fn play_on(scene: &mut Scene, deaf: Option<JobId>) {
    let mut beats: BTreeMap<WorkerId, u64> = BTreeMap::new();
    for _ in 0..6_000 {
        if scene.is_over() {
            return;
        }
        scene.wait(20);
        scene.plan();
        for worker in scene.pool.clone() {
            if deaf == Some(worker.attempt.job) {
                continue;
            }
            act(scene, worker, 30, &mut beats);
        }
    }
    let jobs = &scene.store.tables.jobs;
    panic!("it is not over: {:?} {:?}", jobs.values().map(|j| &j.state), scene.pool);
}

/// What a worker does whose command is done after so many heartbeats.
fn act(scene: &mut Scene, worker: WorkerId, long: u64, beats: &mut BTreeMap<WorkerId, u64>) {
    let times = beats.entry(worker).or_default();
    *times += 1;
    let answer = match *times {
        1 => scene.register(worker).map(drop),
        2 => scene.register(worker).map(drop).and_then(|()| scene.start(worker).map(drop)),
        _ => match scene.beat(worker, 40) {
            Ok(Reply::Orders(orders)) => {
                let told = orders.stop.is_some() || orders.reclaim_at.is_some();
                if told || *times > long {
                    scene.exit(worker, Exit::Code(if told { 143 } else { 0 }));
                }
                Ok(())
            }
            other => other.map(drop),
        },
    };
    if let Err(refusal) = answer {
        // A worker that is superseded ends by itself.
        assert!(matches!(refusal, Refusal::Fenced { .. }), "{refusal:?}");
        scene.pool.remove(&worker);
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
                let mut scene = played(script, steps, false);
                let stand = stand(&scene, script.1);
                let what = format!("{} after step {steps}: {stand}, deaf {deaf}", script.0);
                cancel(&mut scene, script.1, deaf, restarts, &what);
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

fn cancel(scene: &mut Scene, job: JobId, deaf: bool, restarts: bool, what: &str) {
    let before = scene.job(job).clone();
    let attempts = scene.attempts(job);
    let done = |scene: &Scene| {
        let live = scene.state.live_attempt(job);
        live.is_some_and(|a| a.nodes.iter().all(|n| n.exited.is_some_and(|e| e.1 == Exit::Code(0))))
    };
    let has_succeeded = done(scene);
    scene.twice = true;
    let answer = scene.cancel(job);
    scene.twice = false;
    if restarts {
        scene.restart();
    }
    play_on(scene, deaf.then_some(job));
    scene.check_books();
    match (&before.state, &scene.job(job).state) {
        (over, now) if over.is_terminal() => assert_eq!(now, over, "{what}"),
        (_, JobState::Succeeded { .. }) if has_succeeded => {}
        (_, JobState::Cancelled { .. }) => assert!(answer.is_ok(), "{what}: {answer:?}"),
        (_, other) => panic!("{what}: it ended as {other:?}"),
    }
    assert_eq!(scene.attempts(job), attempts, "{what}: it was tried again");
    let left = scene.store.tables.instances.values();
    let left = left.filter(|i| !matches!(i.state, InstanceState::Ended { settled: true, .. }));
    assert_eq!(left.count(), 0, "{what}");
}

/// Two hundred submitters, each with a budget that its work may or may not fit,
/// each submission made twice, on machines that come and go, beside cancels,
/// deaths and restarts of the scheduler. `Scene` looks at every budget after every
/// round: spent and held never exceed it. In the end nothing is held.
#[test]
fn budget_race() {
    const SUBMITTERS: u64 = 200;
    for seed in [54, 55, 56] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut scene = Scene::with_machines(false, 60);
        for n in 0..SUBMITTERS {
            let document = scripts::budgeted(n, rng.random_range(10..70), rng.random_range(5..20));
            scene.twice = true;
            let reply = scene.say(|| submission(&document)).expect("it is accepted");
            scene.twice = false;
            assert!(matches!(reply, Reply::Submitted { replayed: false, .. }));
            if rng.random_range(0..10) == 0 {
                scene.wait(1);
            }
        }
        storm(&mut scene, &mut rng);
        scene.check_books();
        let tables = &scene.store.tables;
        assert_eq!(tables.jobs.len() as u64, SUBMITTERS);
        let ended = |name: &str| tables.jobs.values().filter(|j| j.state.name() == name).count();
        let (held, succeeded) = (ended("held"), ended("succeeded"));
        assert!(held > 10 && succeeded > 10, "{held} held, {succeeded} done: no race");
        assert!(tables.attempts.values().all(|a| a.hold == Money::ZERO), "a hold is left");
    }
}

/// Workers live their lives, some die, some jobs are cancelled, the scheduler
/// comes and goes.
fn storm(scene: &mut Scene, rng: &mut ChaCha8Rng) {
    let mut beats: BTreeMap<WorkerId, u64> = BTreeMap::new();
    for round in 0..3_000 {
        if round > 100 && scene.is_over() {
            return;
        }
        // What a stop may cost holds for longer, as the workers obey at once.
        scene.skip(20);
        if round % 3 == 0 {
            scene.plan();
        }
        if rng.random_range(0..25) == 0 {
            scene.restart();
        }
        if rng.random_range(0..20) == 0 {
            let _ = scene.cancel(JobId(rng.random_range(1..=200)));
        }
        for worker in scene.pool.clone() {
            if rng.random_range(0..300) == 0 && scene.state.attempts.contains_key(&worker.attempt) {
                scene.pool.remove(&worker);
                let _ = scene.say(|| spotwise_control::Command::WorkerGone { worker });
            } else {
                // Up to half an hour, whatever its document says.
                act(scene, worker, 3 + worker.attempt.job.0 % 90, &mut beats);
            }
        }
    }
    let open = scene.store.tables.jobs.values().filter(|job| !job.state.is_terminal());
    panic!("it is not over: {:?}", open.map(|job| (job.id, &job.state)).collect::<Vec<_>>());
}
