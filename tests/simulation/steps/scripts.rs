//! Lives of jobs that go through every state there is, as lists of steps.

use spotwise_control::{Command, Reply, WorkerId};
use spotwise_model::attempt::{Exit, Told};
use spotwise_model::plan::PlacementRule;
use spotwise_model::{JobId, Plan};

use super::fixture::Fixture;

/// The first job of a script.
const JOB: JobId = JobId(1);
/// The second: it waits for the first.
const OTHER: JobId = JobId(2);

pub(crate) type Step = fn(&mut Fixture);

/// A name, the job that it is about, and what is done.
pub(crate) type Script = (&'static str, JobId, &'static [Step]);

pub(crate) const SCRIPTS: &[Script] = &[
    ("one", JOB, ONE),
    ("gang", JOB, GANG),
    ("budget", JOB, BUDGET),
    ("timeout", JOB, TIMEOUT),
    ("waits", OTHER, WAITS),
];

/// The document of the first job of each script, under its own name.
fn document(name: &str, more: &str) -> String {
    format!(
        "name: {name}\nclass: training\ncommand: [x]\nwork: {{duration: 2h}}\ndeadline: 30h\n\
         resources: {{gpus: \"V100:1\", cpus: 1, memory: 1GB}}\nretries: {{errors: 9}}\n\
         checkpoint: {{interval: 10m, grace: 30s}}\n{more}"
    )
}

fn submit(fixture: &mut Fixture, name: &str, more: &str) {
    let reply = fixture.submit(&document(name, more)).expect("it is accepted");
    assert!(matches!(reply, Reply::Submitted { .. }), "{reply:?}");
}

fn place(fixture: &mut Fixture) {
    fixture.place(JOB);
}

fn worker(fixture: &Fixture) -> WorkerId {
    fixture.worker(JOB, 0)
}

fn register(fixture: &mut Fixture) {
    let worker = worker(fixture);
    fixture.register(worker).expect("it may");
}

fn start(fixture: &mut Fixture) {
    let worker = worker(fixture);
    fixture.start(worker).expect("it may");
    fixture.round(None);
}

fn run(fixture: &mut Fixture) {
    let worker = worker(fixture);
    fixture.run(worker);
}

fn placed_and_running(fixture: &mut Fixture) {
    place(fixture);
    run(fixture);
}

fn exit(fixture: &mut Fixture, code: i32) {
    let worker = worker(fixture);
    fixture.exit(worker, Exit::Code(code));
}

fn requeue(fixture: &mut Fixture) {
    exit(fixture, 75);
}

fn gone(fixture: &mut Fixture) {
    let worker = worker(fixture);
    fixture.die(worker);
}

fn moved(fixture: &mut Fixture) {
    let moves = [(JOB, PlacementRule::Cheapest)].into_iter().collect();
    fixture.round(Some(Plan { moves, ..Plan::empty() }));
}

/// Beats every five minutes, for so many.
fn beats(fixture: &mut Fixture, minutes: u64, step: u64) {
    for _ in 0..minutes / 5 {
        fixture.wait(300);
        let workers: Vec<WorkerId> = fixture.pool.iter().copied().collect();
        for worker in workers.into_iter().filter(|worker| worker.attempt.job == JOB) {
            // It may have been told to end meanwhile: that is the script's to say.
            let _ = fixture.beat(worker, step);
        }
    }
}

/// Spot is gone after fifty minutes, back after two hours.
fn notice(fixture: &mut Fixture) {
    for _ in 0..40 {
        beats(fixture, 5, 30);
        if fixture.state.live_attempt(JOB).is_some_and(|attempt| attempt.stop.is_some()) {
            return;
        }
    }
    panic!("no notice came");
}

/// It works until it is told to end.
fn told_to_end(fixture: &mut Fixture) {
    for _ in 0..400 {
        fixture.wait(10);
        let worker = worker(fixture);
        fixture.beat(worker, 20).expect("it may");
        if fixture.state.live_attempt(JOB).is_some_and(|attempt| attempt.stop.is_some()) {
            return;
        }
    }
    panic!("nobody told it");
}

/// One job on one machine: a lost answer, a notice, a refusal, a death, a move,
/// an error, silence, and success.
const ONE: &[Step] = &[
    |fixture| submit(fixture, "one", ""),
    place,
    |fixture| {
        let worker = worker(fixture);
        fixture.say(|| Command::LaunchUnknown { worker }).expect("it may");
    },
    |fixture| fixture.wait(6),
    register,
    start,
    |fixture| beats(fixture, 10, 10),
    |fixture| fixture.save(fixture.worker(JOB, 0), 1, 11),
    notice,
    |fixture| fixture.save(fixture.worker(JOB, 0), 2, 31),
    requeue,
    place,
    |fixture| {
        let worker = worker(fixture);
        let message = || "insufficient capacity".to_owned();
        let word = || Command::LaunchFailed { worker, message: message(), retryable: true };
        fixture.say(word).expect("it may");
        fixture.pool.remove(&worker);
        fixture.round(None);
    },
    placed_and_running,
    gone,
    placed_and_running,
    moved,
    requeue,
    place,
    |fixture| {
        let worker = worker(fixture);
        let message = || "no such program".to_owned();
        fixture.say(|| Command::StartFailed { worker, message: message() }).expect("it may");
        fixture.pool.remove(&worker);
        fixture.round(None);
    },
    placed_and_running,
    |fixture| exit(fixture, 1),
    placed_and_running,
    // Nobody hears of it any more.
    |fixture| {
        fixture.wait(600);
        assert_eq!(
            fixture.state.live_attempt(JOB),
            None,
            "it was silent for longer than its lease"
        );
    },
    placed_and_running,
    |fixture| beats(fixture, 20, 90),
    |fixture| {
        let worker = worker(fixture);
        let word = || Command::Exited {
            worker,
            exit: Exit::Code(0),
            told: Told::Nothing,
            step: Some((100, 100)),
        };
        fixture.say(word).expect("it may");
        fixture.pool.remove(&worker);
    },
    |fixture| fixture.round(None),
];

/// A gang of two: half registered, half started, one gone, one failed.
const GANG: &[Step] = &[
    |fixture| {
        let gang = "resources: {gpus: \"V100:1\", cpus: 1, memory: 1GB, nodes: 2}";
        let alone = "resources: {gpus: \"V100:1\", cpus: 1, memory: 1GB}";
        let document = document("gang", "").replace(alone, gang);
        fixture.submit(&document).expect("it is accepted");
    },
    place,
    register,
    |fixture| drop(fixture.register(fixture.worker(JOB, 1)).expect("it may")),
    start,
    |fixture| drop(fixture.start(fixture.worker(JOB, 1)).expect("it may")),
    gone,
    |fixture| fixture.exit(fixture.worker(JOB, 1), Exit::Signal(15)),
    |fixture| {
        place(fixture);
        register(fixture);
        fixture.run(fixture.worker(JOB, 1));
        start(fixture);
    },
    |fixture| fixture.exit(fixture.worker(JOB, 1), Exit::Code(3)),
    requeue,
    |fixture| {
        place(fixture);
        register(fixture);
        fixture.run(fixture.worker(JOB, 1));
        start(fixture);
    },
    |fixture| fixture.exit(fixture.worker(JOB, 1), Exit::Code(0)),
    |fixture| exit(fixture, 0),
];

/// Its budget is used up.
const BUDGET: &[Step] = &[
    |fixture| {
        // Its work takes longer than it says.
        let document = document("budget", "budget_usd: \"0.60\"\n").replace("2h", "30m");
        fixture.submit(&document).expect("it is accepted");
    },
    placed_and_running,
    told_to_end,
    requeue,
    |fixture| fixture.wait(120),
];

/// It takes too long.
const TIMEOUT: &[Step] = &[
    |fixture| submit(fixture, "timeout", "timeout: 20m\n"),
    placed_and_running,
    told_to_end,
    requeue,
];

/// It waits for another, and then for money that it does not have.
const WAITS: &[Step] = &[
    |fixture| {
        submit(fixture, "first", "");
        submit(fixture, "second", "after: [j1]\nbudget_usd: \"0.10\"\n");
    },
    placed_and_running,
    |fixture| exit(fixture, 0),
    |fixture| fixture.plan(),
];

/// A job of so many minutes with so many cents to spend.
pub(crate) fn budgeted(number: u64, cents: u32, minutes: u32) -> String {
    format!(
        "name: job-{number}\nclass: training\ncommand: [x]\nwork: {{duration: {minutes}m}}\n\
         deadline: 20h\nresources: {{gpus: \"V100:1\", cpus: 1, memory: 1GB}}\n\
         retries: {{errors: 2}}\ncheckpoint: {{interval: 10m, grace: 30s}}\n\
         budget_usd: \"{}.{:02}\"\n",
        cents / 100,
        cents % 100
    )
}
