//! The openb trace at 130 % arrived: GPUs allocated by first-fit, best-fit,
//! fragmentation gradient descent, ours, and after packing the whole list anew:
//! `cargo bench -p spotwise-solver-lab --bench openb -- ../shared/data` (or the
//! folder in `SPOTWISE_TEST_DATA`).
//!
//! Pods of the list are redrawn at random until they ask for 1.3 x the cluster's
//! GPUs, and arrive in that order; each that fits is placed, none ever leaves.
//! Every placement sees the same draws.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod chance;

use std::path::{Path, PathBuf};
use std::time::Instant;

use chance::{Chance, mean_and_deviation};
use spotwise_solver_lab::packing::{Heuristic, Host, Packer, Pod, Workload, repack};

/// Not the seeds that the placement's constants were chosen on.
const SEEDS: std::ops::RangeInclusive<u64> = 101..=108;

const HEURISTICS: [(&str, Heuristic, &str); 5] = [
    ("first-fit", Heuristic::FirstFit, ""),
    ("best-fit", Heuristic::BestFit, "93.1"),
    ("fragmentation gradient descent, exact", Heuristic::Fragmentation, ""),
    ("fragmentation gradient descent, scored 0-100", Heuristic::FragmentationScored, "95.4"),
    ("ours: expected leftover", Heuristic::Leftover, ""),
];

fn main() {
    let Some(folder) = folder() else {
        println!("skipped: name the data folder (its cluster/openb_*.csv is read) as an argument");
        return;
    };
    let hosts = hosts(&folder.join("cluster/openb_node_list_gpu_node.csv"));
    let pods = pods(&folder.join("cluster/openb_pod_list_default.csv"));
    let workload = Workload::of(&pods);
    let capacity: u64 = hosts.iter().map(Host::gpu_free).sum();
    let draws: Vec<Vec<Pod>> = SEEDS.map(|seed| arrivals(&pods, capacity, seed)).collect();

    println!(
        "## openb: {} machines, {} GPUs, 130 % arrived, seeds {SEEDS:?}\n",
        hosts.len(),
        capacity / 1_000
    );
    println!(
        "| placement | allocated GPU, % | deviation | worst, best seed | published | pods placed, % | seconds a seed |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut results: Vec<Vec<f64>> = Vec::new();
    let mut packed: Vec<Outcome> = Vec::new();
    for (name, heuristic, published) in HEURISTICS {
        let begun = Instant::now();
        let outcomes: Vec<Outcome> =
            draws.iter().map(|draw| place(heuristic, &hosts, &workload, draw)).collect();
        let seconds = begun.elapsed().as_secs_f64() / draws.len() as f64;
        results.push(row(name, &outcomes, published, capacity, seconds));
        packed = outcomes;
    }
    let begun = Instant::now();
    let moving: Vec<Outcome> =
        draws.iter().map(|draw| place_moving(&hosts, &workload, draw)).collect();
    let seconds = begun.elapsed().as_secs_f64() / draws.len() as f64;
    results.push(row("ours, moving one pod where none fits", &moving, "", capacity, seconds));
    // From what ours has packed without moving any.
    let begun = Instant::now();
    let again: Vec<Outcome> = packed
        .iter()
        .map(|outcome| {
            let packing = repack(&hosts, &outcome.placed, &outcome.out);
            verify(&hosts, &packing.placed, &packing.left);
            let out = packing.out.iter().flat_map(|(pod, n)| vec![*pod; *n as usize]).collect();
            Outcome { placed: packing.placed, left: packing.left, out }
        })
        .collect();
    let seconds = begun.elapsed().as_secs_f64() / draws.len() as f64;
    results.push(row("ours, whole list repacked", &again, "", capacity, seconds));

    println!("\n| paired difference, points | mean | deviation | worst seed |\n|---|---|---|---|");
    for (name, ours, theirs) in [
        ("ours - first-fit", 4, 0),
        ("ours - FGD exact", 4, 2),
        ("ours - FGD scored", 4, 3),
        ("ours moving one - ours", 5, 4),
        ("ours repacked - ours", 6, 4),
    ] {
        let paired: Vec<f64> =
            results[ours].iter().zip(&results[theirs]).map(|(a, b)| a - b).collect();
        let (mean, deviation) = mean_and_deviation(&paired);
        let worst = paired.iter().copied().fold(f64::INFINITY, f64::min);
        println!("| {name} | {mean:+.2} | {deviation:.2} | {worst:+.2} |");
    }
}

struct Outcome {
    placed: Vec<Vec<Pod>>,
    left: Vec<Host>,
    out: Vec<Pod>,
}

fn row(name: &str, outcomes: &[Outcome], published: &str, capacity: u64, seconds: f64) -> Vec<f64> {
    let allocated = |outcome: &Outcome| {
        let free: u64 = outcome.left.iter().map(Host::gpu_free).sum();
        100.0 * (1.0 - free as f64 / capacity as f64)
    };
    let sample: Vec<f64> = outcomes.iter().map(allocated).collect();
    let placed: Vec<f64> = outcomes
        .iter()
        .map(|outcome| {
            let placed: usize = outcome.placed.iter().map(Vec::len).sum();
            100.0 * placed as f64 / (placed + outcome.out.len()) as f64
        })
        .collect();
    let (mean, deviation) = mean_and_deviation(&sample);
    let low = sample.iter().copied().fold(f64::INFINITY, f64::min);
    let high = sample.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (served, _) = mean_and_deviation(&placed);
    println!(
        "| {name} | {mean:.2} | {deviation:.2} | {low:.2}, {high:.2} | {published} | {served:.1} | {seconds:.1} |"
    );
    sample
}

fn place(heuristic: Heuristic, hosts: &[Host], workload: &Workload, draw: &[Pod]) -> Outcome {
    let mut packer = Packer::new(heuristic, hosts.to_vec(), workload.clone());
    let mut placed = vec![Vec::new(); hosts.len()];
    let mut out = Vec::new();
    for pod in draw {
        match packer.place(pod) {
            Some(slot) => placed[slot.host].push(*pod),
            None => out.push(*pod),
        }
    }
    let left = packer.hosts().to_vec();
    verify(hosts, &placed, &left);
    Outcome { placed, left, out }
}

/// Ours; where a pod fits nowhere, another may move to make room for it. What has
/// been placed stays placed.
fn place_moving(hosts: &[Host], workload: &Workload, draw: &[Pod]) -> Outcome {
    let mut packer = Packer::new(Heuristic::Leftover, hosts.to_vec(), workload.clone());
    let mut placed = vec![Vec::new(); hosts.len()];
    let mut out = Vec::new();
    for pod in draw {
        match packer.place(pod) {
            Some(slot) => placed[slot.host].push(*pod),
            None if packer.make_room(hosts, &mut placed, pod) => {}
            None => out.push(*pod),
        }
    }
    let left = packer.hosts().to_vec();
    verify(hosts, &placed, &left);
    Outcome { placed, left, out }
}

/// What is taken and what is left is what was there.
fn verify(hosts: &[Host], placed: &[Vec<Pod>], left: &[Host]) {
    for ((host, pods), left) in hosts.iter().zip(placed).zip(left) {
        assert_eq!(host.gpu_free(), left.gpu_free() + pods.iter().map(Pod::gpu_total).sum::<u64>());
        assert_eq!(host.cpu_milli, left.cpu_milli + pods.iter().map(|p| p.cpu_milli).sum::<u64>());
        assert_eq!(
            host.memory_mib,
            left.memory_mib + pods.iter().map(|p| p.memory_mib).sum::<u64>()
        );
    }
}

fn arrivals(pods: &[Pod], capacity: u64, seed: u64) -> Vec<Pod> {
    let mut chance = Chance(seed);
    let (mut drawn, mut asked) = (Vec::new(), 0);
    while asked < capacity * 13 / 10 {
        let pod = pods[(chance.bits() % pods.len() as u64) as usize];
        asked += pod.gpu_total();
        drawn.push(pod);
    }
    drawn
}

/// The first argument that cargo did not add, else the environment's.
fn folder() -> Option<PathBuf> {
    let named = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let named = named.or_else(|| std::env::var("SPOTWISE_TEST_DATA").ok())?;
    // Cargo runs a benchmark in its package's folder; a path is meant from the
    // workspace's.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join(&named);
    let folder = if workspace.is_dir() { workspace } else { PathBuf::from(named) };
    folder.join("cluster").is_dir().then_some(folder)
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let fields = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().skip(1).map(fields).collect()
}

fn number<T: std::str::FromStr>(row: &[String], at: usize) -> T {
    let text = row.get(at).map_or("", |text| text.as_str());
    // A pod without GPUs may leave its share empty.
    text.parse().or_else(|_| "0".parse()).unwrap_or_else(|_| unreachable!("0 is a number"))
}

fn hosts(path: &Path) -> Vec<Host> {
    let host = |row: Vec<String>| Host {
        cpu_milli: number(&row, 1),
        memory_mib: number(&row, 2),
        gpus: vec![1_000; number(&row, 3)],
    };
    rows(path).into_iter().map(host).collect()
}

fn pods(path: &Path) -> Vec<Pod> {
    let pod = |row: Vec<String>| Pod {
        cpu_milli: number(&row, 1),
        memory_mib: number(&row, 2),
        gpus: number(&row, 3),
        gpu_milli: number(&row, 4),
    };
    rows(path).into_iter().map(pod).collect()
}
