//! How long a planning round takes, how near it comes to what is proven, and
//! what the plain integer program on HiGHS does with the same round in the same
//! run: `cargo bench -p spotwise-solver --bench planning`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod rounds;

use std::time::{Duration, Instant};

use spotwise_solver::{PlanInput, plain_program, plan, worth};

/// Seeds of the rounds: the planner was worked on with the first three, the others
/// were only measured.
const SEEDS: [u64; 8] = [20_261_121, 7, 1_000_003, 11, 424_242, 31_337, 987_654_321, 2_718_281];
/// Jobs and offers of the rounds, with the time limit of each in seconds and how
/// many of the seeds it gets.
const SIZES: [(u64, u64, u64, usize); 3] =
    [(1_000, 100, 1, 8), (10_000, 300, 10, 3), (100_000, 1_000, 10, 3)];
/// Jobs and offers of the curve of growth.
const CURVE: [(u64, u64); 8] = [
    (100, 20),
    (300, 60),
    (1_000, 100),
    (3_000, 150),
    (10_000, 300),
    (20_000, 450),
    (40_000, 600),
    (100_000, 1_000),
];
/// Pairs beyond which the plain program is not built: at the next size it would
/// have 1.5 million columns.
const MOST_PLAIN: usize = 30_000;
/// Seconds that the plain program gets.
const PLAIN_SECONDS: u64 = 20;

fn main() {
    println!("Eight shapes, every job distinct in work and deadline, machines for 60 % of demand.");
    println!("Gap: the plan's cost above the prices' bound, both reckoned anew by `worth`.\n");
    println!("## Rounds\n");
    head();
    for (jobs, offers, limit, seeds) in SIZES {
        for seed in SEEDS.into_iter().take(seeds) {
            one(rounds::round(jobs, offers, seed), offers, seed, Duration::from_secs(limit));
        }
    }
    println!("\n## Rounds under twelve limits on machines\n");
    head();
    for (jobs, offers, limit, seeds) in SIZES {
        for seed in SEEDS.into_iter().take(seeds) {
            one(
                rounds::limited_round(jobs, offers, seed),
                offers,
                seed,
                Duration::from_secs(limit),
            );
        }
    }
    println!("\n## The plain integer program on HiGHS, limit {PLAIN_SECONDS} s\n");
    println!("| jobs | offers | seed | seconds | gap to our bound % | its own proof |");
    println!("|---:|---:|---:|---:|---:|---|");
    for (jobs, offers, ..) in SIZES {
        plain(jobs, offers, SEEDS[0]);
    }
    println!("\n## Growth, seed {}\n", SEEDS[0]);
    head();
    for (jobs, offers) in CURVE {
        let seed = SEEDS[0];
        one(rounds::round(jobs, offers, seed), offers, seed, Duration::from_secs(10));
    }
}

/// The head of a table of rounds.
fn head() {
    println!(
        "| jobs | offers | seed | pairs | seconds | CPU seconds | gap % | with HiGHS's bound % | cost / greedy | peak MB | checked |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|");
}

/// Plans a round and prints what came of it. The peak of memory is this
/// process's up to the end of the plan, inputs and all.
fn one(round: PlanInput, offers: u64, seed: u64, limit: Duration) {
    let input = PlanInput { time_limit: limit, ..round };
    let jobs = input.jobs.len();
    reset_peak();
    let (begun, cpu_begun) = (Instant::now(), cpu_seconds());
    let (plan, report) = plan(&input);
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu_begun;
    let peak = peak_mb();
    let gap = worth(&input, &plan, &report.prices).gap();
    let gap = gap.map_or("-".to_owned(), |gap| format!("{:.2}", gap * 100.0));
    let proven = 100.0 * (report.objective - report.bound) / report.objective;
    let ratio = report.objective / report.greedy_objective;
    println!(
        "| {jobs} | {offers} | {seed} | {} | {seconds:.2} | {cpu:.2} | {gap} | {proven:.2} | {ratio:.3} | {peak} | {} |",
        report.candidates, report.checked
    );
}

/// The whole round as one program, from greedy's plan, without prices.
fn plain(jobs: u64, offers: u64, seed: u64) {
    let limit = Duration::from_secs(PLAIN_SECONDS);
    let input = PlanInput { time_limit: limit, ..rounds::round(jobs, offers, seed) };
    let (_, report) = plan(&input);
    if report.candidates > MOST_PLAIN {
        println!("| {jobs} | {offers} | {seed} | - | - | not built: {} pairs |", report.candidates);
        return;
    }
    let begun = Instant::now();
    let answer = plain_program(&input);
    let seconds = begun.elapsed().as_secs_f64();
    let gap = 100.0 * (answer.objective - report.bound) / answer.objective;
    let proof = match answer.bound {
        Some(bound) => format!("{:.2} %", 100.0 * (answer.objective - bound) / answer.objective),
        None => "none".to_owned(),
    };
    println!("| {jobs} | {offers} | {seed} | {seconds:.2} | {gap:.2} | {proof} |");
}

/// Lets the kernel count the peak anew (Linux).
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// CPU time of all threads of this process, in hundredths (Linux): what the
/// clock shows where nothing else runs, divided by the cores that were busy.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most memory that this process has held, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}
