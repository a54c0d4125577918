//! What is submitted: documents of many shapes.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How the commands of a submission behave, whatever their documents say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandBehaviour {
    /// Ends at once, with this exit code.
    pub(crate) exits_at_once: Option<i32>,
    /// Takes so many hundredths of what the document says.
    pub(crate) length_percent: u64,
    /// Fails at the end.
    pub(crate) fails_late: bool,
    /// Does not end when told to: only SIGKILL ends it.
    pub(crate) ignores_term: bool,
    /// Returns 0 when told to, done or not, as many trainers do.
    pub(crate) returns_0: bool,
}

/// A document of one to a few jobs, and how its commands behave. Its names are
/// of this submission alone.
pub(crate) fn invent(
    rng: &mut ChaCha8Rng,
    number: usize,
    sliced: bool,
) -> (String, CommandBehaviour) {
    let mut behaviour = CommandBehaviour { length_percent: 100, ..CommandBehaviour::default() };
    let name = format!("s{number}");
    if sliced {
        behaviour.ignores_term = rng.random_range(0..8) == 0;
        behaviour.returns_0 = number.is_multiple_of(3);
        return (slices(rng, &name), behaviour);
    }
    let document = match rng.random_range(0..20) {
        0..6 => one(rng, &name, ""),
        6..9 => {
            let budget = budget(rng, 0.05);
            one(rng, &name, &budget)
        }
        9..11 => {
            let size = rng.random_range(2..6);
            let array = format!("array: {{size: {size}, max_parallel: {}}}\n", size - 1);
            one(rng, &name, &array)
        }
        11..13 => gang(rng, &name),
        13..15 => pair(rng, &name),
        15 => {
            behaviour.exits_at_once = Some(1);
            one(rng, &name, "retries: {errors: 3}\n")
        }
        16 => {
            behaviour.length_percent = rng.random_range(120..300);
            let budget = budget(rng, 0.5);
            one(rng, &name, &budget)
        }
        17 => {
            behaviour.length_percent = 300;
            one(rng, &name, "timeout: 45m\n")
        }
        18 => {
            behaviour.ignores_term = true;
            one(rng, &name, "")
        }
        _ => {
            behaviour.fails_late = true;
            one(rng, &name, "retries: {errors: 1}\n")
        }
    };
    behaviour.returns_0 = number.is_multiple_of(3);
    (document, behaviour)
}

fn budget(rng: &mut ChaCha8Rng, least: f64) -> String {
    format!("budget_usd: \"{:.2}\"\n", rng.random_range(least..6.0))
}

fn one(rng: &mut ChaCha8Rng, name: &str, more: &str) -> String {
    let gpus = ["V100:1", "T4:2", "1", "V100:1"][rng.random_range(0..4)];
    let minutes = length(rng);
    let deadline = minutes * rng.random_range(15..60) / 10 + 30;
    let class = ["training", "inference", "dev"][rng.random_range(0..3)];
    let retries = if more.contains("retries") { "" } else { "retries: {errors: 5}\n" };
    format!(
        "name: {name}\nclass: {class}\ncommand: [train]\n\
         resources: {{gpus: \"{gpus}\", cpus: 1, memory: 1GB}}\n\
         work: {{duration: {minutes}m}}\ndeadline: {deadline}m\n{}{retries}{more}",
        saves(rng)
    )
}

/// A few jobs that ask for a slice each, all of one profile.
fn slices(rng: &mut ChaCha8Rng, name: &str) -> String {
    let profiles = ["1g.5gb", "1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"];
    let profile = profiles[rng.random_range(0..profiles.len())];
    let minutes = length(rng);
    let deadline = minutes * rng.random_range(15..60) / 10 + 30;
    let size = rng.random_range(1..4);
    let many = if size > 1 { format!("array: {{size: {size}}}\n") } else { String::new() };
    format!(
        "name: {name}\nclass: training\ncommand: [train]\n\
         resources: {{mig: {profile}, cpus: 0.5, memory: 1GB}}\n\
         work: {{duration: {minutes}m}}\ndeadline: {deadline}m\nretries: {{errors: 5}}\n{}{many}",
        saves(rng)
    )
}

fn gang(rng: &mut ChaCha8Rng, name: &str) -> String {
    let minutes = length(rng);
    let nodes = rng.random_range(2..4);
    format!(
        "name: {name}\nclass: training\ncommand: [train]\n\
         resources: {{gpus: \"V100:1\", cpus: 1, memory: 1GB, nodes: {nodes}}}\n\
         work: {{duration: {minutes}m}}\nretries: {{errors: 5}}\n{}",
        saves(rng)
    )
}

fn pair(rng: &mut ChaCha8Rng, name: &str) -> String {
    let first = one(rng, &format!("{name}a"), "").replace('\n', "\n    ");
    let second = one(rng, &format!("{name}b"), "").replace('\n', "\n    ");
    let (first, second) = (first.trim_end(), second.trim_end());
    let after = match rng.random_range(0..6) {
        0 => format!("{{job: {name}a, on: failed}}"),
        1 => format!("{{job: {name}a, on: ended}}"),
        2 => {
            let array = "array: {size: 3}";
            let after = format!("{{job: {name}a, elementwise: true}}");
            return format!(
                "jobs:\n  - {first}\n    {array}\n  - {second}\n    {array}\n    after: [{after}]\n"
            );
        }
        _ => format!("{name}a"),
    };
    format!("jobs:\n  - {first}\n  - {second}\n    after: [{after}]\n")
}

/// Minutes: many short, some of half a day.
fn length(rng: &mut ChaCha8Rng) -> u64 {
    match rng.random_range(0..10) {
        0..3 => rng.random_range(2..15),
        3..9 => rng.random_range(15..180),
        _ => rng.random_range(180..600),
    }
}

fn saves(rng: &mut ChaCha8Rng) -> &'static str {
    match rng.random_range(0..6) {
        0 => "",
        1 => "interruptible: false\n",
        2 => "checkpoint: {interval: 15m, grace: 90s}\n",
        _ => "checkpoint: {interval: 20m, grace: 30s}\n",
    }
}
