//! Lives of jobs that go through every state there is, as lists of steps.

use spotwise_control::{Command, Reply, WorkerId};
use spotwise_model::attempt::{Exit, Told};
use spotwise_model::plan::Rule;
use spotwise_model::{JobId, Plan};

use super::scene::Scene;

/// The first job of a script.
const JOB: JobId = JobId(1);
/// The second: it waits for the first.
const OTHER: JobId = JobId(2);

pub(crate) type Step = fn(&mut Scene);

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

fn submit(scene: &mut Scene, name: &str, more: &str) {
    let reply = scene.submit(&document(name, more)).expect("it is accepted");
    assert!(matches!(reply, Reply::Submitted { .. }), "{reply:?}");
}

fn place(scene: &mut Scene) {
    scene.place(JOB);
}

fn worker(scene: &Scene) -> WorkerId {
    scene.worker(JOB, 0)
}

fn register(scene: &mut Scene) {
    let worker = worker(scene);
    scene.register(worker).expect("it may");
}

fn start(scene: &mut Scene) {
    let worker = worker(scene);
    scene.start(worker).expect("it may");
    scene.round(None);
}

fn run(scene: &mut Scene) {
    let worker = worker(scene);
    scene.run(worker);
}

fn placed_and_running(scene: &mut Scene) {
    place(scene);
    run(scene);
}

fn exit(scene: &mut Scene, code: i32) {
    let worker = worker(scene);
    scene.exit(worker, Exit::Code(code));
}

fn requeue(scene: &mut Scene) {
    exit(scene, 75);
}

fn gone(scene: &mut Scene) {
    let worker = worker(scene);
    scene.die(worker);
}

fn moved(scene: &mut Scene) {
    let moves = [(JOB, Rule::Cheapest)].into_iter().collect();
    scene.round(Some(Plan { moves, ..Plan::empty() }));
}

/// Beats every five minutes, for so many.
fn beats(scene: &mut Scene, minutes: u64, step: u64) {
    for _ in 0..minutes / 5 {
        scene.wait(300);
        let workers: Vec<WorkerId> = scene.pool.iter().copied().collect();
        for worker in workers.into_iter().filter(|worker| worker.attempt.job == JOB) {
            // It may have been told to end meanwhile: that is the script's to say.
            let _ = scene.beat(worker, step);
        }
    }
}

/// Spot is gone after fifty minutes, back after two hours.
fn notice(scene: &mut Scene) {
    for _ in 0..40 {
        beats(scene, 5, 30);
        if scene.state.live_attempt(JOB).is_some_and(|attempt| attempt.stop.is_some()) {
            return;
        }
    }
    panic!("no notice came");
}

/// It works until it is told to end.
fn told_to_end(scene: &mut Scene) {
    for _ in 0..400 {
        scene.wait(10);
        let worker = worker(scene);
        scene.beat(worker, 20).expect("it may");
        if scene.state.live_attempt(JOB).is_some_and(|attempt| attempt.stop.is_some()) {
            return;
        }
    }
    panic!("nobody told it");
}

/// One job on one machine: a lost answer, a notice, a refusal, a death, a move,
/// an error, silence, and success.
const ONE: &[Step] = &[
    |scene| submit(scene, "one", ""),
    place,
    |scene| {
        let worker = worker(scene);
        scene.say(|| Command::LaunchUnknown { worker }).expect("it may");
    },
    |scene| scene.wait(6),
    register,
    start,
    |scene| beats(scene, 10, 10),
    |scene| scene.save(scene.worker(JOB, 0), 1, 11),
    notice,
    |scene| scene.save(scene.worker(JOB, 0), 2, 31),
    requeue,
    place,
    |scene| {
        let worker = worker(scene);
        let message = || "insufficient capacity".to_owned();
        let word = || Command::LaunchFailed { worker, message: message(), retryable: true };
        scene.say(word).expect("it may");
        scene.pool.remove(&worker);
        scene.round(None);
    },
    placed_and_running,
    gone,
    placed_and_running,
    moved,
    requeue,
    place,
    |scene| {
        let worker = worker(scene);
        let message = || "no such program".to_owned();
        scene.say(|| Command::StartFailed { worker, message: message() }).expect("it may");
        scene.pool.remove(&worker);
        scene.round(None);
    },
    placed_and_running,
    |scene| exit(scene, 1),
    placed_and_running,
    // Nobody hears of it any more.
    |scene| {
        scene.wait(600);
        assert_eq!(scene.state.live_attempt(JOB), None, "it was silent for longer than its lease");
    },
    placed_and_running,
    |scene| beats(scene, 20, 90),
    |scene| {
        let worker = worker(scene);
        let word = || Command::Exited {
            worker,
            exit: Exit::Code(0),
            told: Told::Nothing,
            step: Some((100, 100)),
        };
        scene.say(word).expect("it may");
        scene.pool.remove(&worker);
    },
    |scene| scene.round(None),
];

/// A gang of two: half registered, half started, one gone, one failed.
const GANG: &[Step] = &[
    |scene| {
        let gang = "resources: {gpus: \"V100:1\", cpus: 1, memory: 1GB, nodes: 2}";
        let alone = "resources: {gpus: \"V100:1\", cpus: 1, memory: 1GB}";
        let document = document("gang", "").replace(alone, gang);
        scene.submit(&document).expect("it is accepted");
    },
    place,
    register,
    |scene| drop(scene.register(scene.worker(JOB, 1)).expect("it may")),
    start,
    |scene| drop(scene.start(scene.worker(JOB, 1)).expect("it may")),
    gone,
    |scene| scene.exit(scene.worker(JOB, 1), Exit::Signal(15)),
    |scene| {
        place(scene);
        register(scene);
        scene.run(scene.worker(JOB, 1));
        start(scene);
    },
    |scene| scene.exit(scene.worker(JOB, 1), Exit::Code(3)),
    requeue,
    |scene| {
        place(scene);
        register(scene);
        scene.run(scene.worker(JOB, 1));
        start(scene);
    },
    |scene| scene.exit(scene.worker(JOB, 1), Exit::Code(0)),
    |scene| exit(scene, 0),
];

/// Its budget is used up.
const BUDGET: &[Step] = &[
    |scene| {
        // Its work takes longer than it says.
        let document = document("budget", "budget_usd: \"0.60\"\n").replace("2h", "30m");
        scene.submit(&document).expect("it is accepted");
    },
    placed_and_running,
    told_to_end,
    requeue,
    |scene| scene.wait(120),
];

/// It takes too long.
const TIMEOUT: &[Step] =
    &[|scene| submit(scene, "timeout", "timeout: 20m\n"), placed_and_running, told_to_end, requeue];

/// It waits for another, and then for money that it does not have.
const WAITS: &[Step] = &[
    |scene| {
        submit(scene, "first", "");
        submit(scene, "second", "after: [j1]\nbudget_usd: \"0.10\"\n");
    },
    placed_and_running,
    |scene| exit(scene, 0),
    |scene| scene.plan(),
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
