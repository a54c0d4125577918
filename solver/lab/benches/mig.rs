//! Slices on 32 GPUs under churn and without, by first-fit, best-fit,
//! fragmentation and expected loss; and how long a repack takes:
//! `cargo bench -p spotwise-solver-lab --bench mig`.
//!
//! Churn: requests of a fixed mix arrive as a Poisson stream, each stays for an
//! exponential lifetime of mean 1, what does not fit is lost, the first quarter
//! of the requests is not counted. Loss is 1 - accepted compute x time / that of a
//! greedy that may lay out all GPUs afresh at each arrival.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod chance;
mod shift;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use chance::{Chance, mean_and_deviation};
use spotwise_model::gpu::{MIG_COMPUTE_SLICES, MigProfile};
use spotwise_model::mig::fit_afresh;
use spotwise_solver::mig::{Demand, Geometry, PerProfile, State};
use spotwise_solver_lab::mig::{Heuristic, Placer, Repack, Sliced, repack};

/// Not the seeds that the placement's constants were chosen on.
const SEEDS: std::ops::RangeInclusive<u64> = 101..=108;
const REQUESTS: usize = 20_000;

/// Weights of 1g, 1g-double, 2g, 3g, 4g, 7g.
const MIXES: [(&str, [f64; 6]); 4] = [
    ("mid", [0.2, 0.0, 0.4, 0.3, 0.1, 0.0]),
    ("uniform", [1.0 / 6.0; 6]),
    ("small", [0.5, 0.1, 0.3, 0.1, 0.0, 0.0]),
    ("large", [0.1, 0.0, 0.2, 0.3, 0.2, 0.2]),
];

const WAYS: [(&str, Heuristic, Known); 6] = [
    ("first-fit", Heuristic::FirstFit, Known::Yes),
    ("best-fit", Heuristic::BestFit, Known::Yes),
    ("fragmentation, mix known", Heuristic::Fragmentation, Known::Yes),
    ("fragmentation, mix learnt", Heuristic::Fragmentation, Known::No),
    ("expected loss, mix learnt", Heuristic::Expected, Known::No),
    ("expected loss, mix known", Heuristic::Expected, Known::Yes),
];

#[derive(Clone, Copy, PartialEq)]
enum Known {
    Yes,
    No,
}

fn main() {
    churn();
    sizes_and_loads();
    arrivals_only();
    standing_layouts();
    repacking();
}

fn placer(heuristic: Heuristic, known: Known, mix: [f64; 6]) -> Placer {
    match known {
        Known::Yes => Placer::knowing(heuristic, Demand::known(PerProfile(mix))),
        Known::No => Placer::learning(heuristic),
    }
}

#[derive(Clone, Copy)]
struct Request {
    at: f64,
    profile: MigProfile,
    life: f64,
}

/// Evenly from 0 up to, but not including, 1.
fn unit(chance: &mut Chance) -> f64 {
    (chance.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

fn profile_of(mix: [f64; 6], mut point: f64) -> MigProfile {
    for (profile, share) in MigProfile::ALL.into_iter().zip(mix) {
        point -= share;
        if point < 0.0 {
            return profile;
        }
    }
    // Rounding at the very end: the last profile that has any share.
    let mut has = MigProfile::ALL.into_iter().zip(mix).filter(|(_, share)| *share > 0.0);
    has.next_back().expect("a mix has weights").0
}

fn requests(mix: [f64; 6], gpus: usize, load: f64, seed: u64) -> Vec<Request> {
    let mut chance = Chance(seed);
    let mean: f64 =
        MigProfile::ALL.iter().zip(mix).map(|(p, m)| m * f64::from(p.compute_slices())).sum();
    let rate = load * f64::from(MIG_COMPUTE_SLICES) * gpus as f64 / mean;
    let mut at = 0.0;
    let mut next = || {
        at += -(1.0 - unit(&mut chance)).ln() / rate;
        let profile = profile_of(mix, unit(&mut chance));
        Request { at, profile, life: -(1.0 - unit(&mut chance)).ln() }
    };
    (0..REQUESTS).map(|_| next()).collect()
}

fn work(request: &Request) -> f64 {
    f64::from(request.profile.compute_slices()) * request.life
}

/// When something happens.
struct At(f64);

impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for At {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for At {}

/// What is to happen, the earliest first.
type Queue<T> = BinaryHeap<Reverse<(At, T)>>;

/// Accepted work of a greedy that may move everything at each arrival.
fn free_migration(requests: &[Request], gpus: usize) -> f64 {
    let mut live = [0_u32; 6];
    let mut ends: Queue<usize> = BinaryHeap::new();
    let mut accepted = 0.0;
    for (n, request) in requests.iter().enumerate() {
        while let Some(Reverse((_, gone))) = ends.pop_if_before(request.at) {
            live[gone] -= 1;
        }
        let which = request.profile.index();
        live[which] += 1;
        if !fit_afresh(live, gpus as u32) {
            live[which] -= 1;
            continue;
        }
        ends.push(Reverse((At(request.at + request.life), which)));
        accepted += if n >= REQUESTS / 4 { work(request) } else { 0.0 };
    }
    accepted
}

/// Accepted work of a placer.
fn placed(requests: &[Request], gpus: usize, placer: &mut Placer) -> f64 {
    let mut states = vec![State::EMPTY; gpus];
    let mut ends: Queue<(usize, usize, u8)> = BinaryHeap::new();
    let mut accepted = 0.0;
    for (n, request) in requests.iter().enumerate() {
        while let Some(Reverse((_, (gpu, profile, start)))) = ends.pop_if_before(request.at) {
            let layout = placer.geometry().layout(states[gpu]);
            let without = layout.without(MigProfile::ALL[profile], start);
            states[gpu] = placer.geometry().state(without.expect("a running slice never moves"));
        }
        let Some(slot) = placer.place(&states, request.profile) else { continue };
        states[slot.gpu] = slot.after;
        let instance = (slot.gpu, request.profile.index(), slot.start);
        ends.push(Reverse((At(request.at + request.life), instance)));
        accepted += if n >= REQUESTS / 4 { work(request) } else { 0.0 };
    }
    accepted
}

trait PopBefore<T> {
    fn pop_if_before(&mut self, time: f64) -> Option<Reverse<(At, T)>>;
}

impl<T: Ord> PopBefore<T> for Queue<T> {
    fn pop_if_before(&mut self, time: f64) -> Option<Reverse<(At, T)>> {
        if self.peek()?.0.0.0 <= time { self.pop() } else { None }
    }
}

/// Loss in % of each seed.
fn losses(mix: [f64; 6], gpus: usize, load: f64, heuristic: Heuristic, known: Known) -> Vec<f64> {
    let one = |seed| {
        let requests = requests(mix, gpus, load, seed);
        let reference = free_migration(&requests, gpus);
        100.0 * (1.0 - placed(&requests, gpus, &mut placer(heuristic, known, mix)) / reference)
    };
    SEEDS.map(one).collect()
}

fn churn() {
    println!("## Churn: 32 GPUs, load 1.0, {REQUESTS} requests, seeds {SEEDS:?}");
    println!("Compute x time lost against free migration, %: mean (standard deviation).\n");
    print!("| placement |");
    MIXES.iter().for_each(|(name, _)| print!(" {name} |"));
    println!("\n|---|---|---|---|---|");
    let mut by_way: Vec<Vec<Vec<f64>>> = Vec::new();
    for (name, heuristic, known) in WAYS {
        let by_mix: Vec<Vec<f64>> =
            MIXES.iter().map(|(_, mix)| losses(*mix, 32, 1.0, heuristic, known)).collect();
        print!("| {name} |");
        for sample in &by_mix {
            let (mean, deviation) = mean_and_deviation(sample);
            print!(" {mean:.2} ({deviation:.2}) |");
        }
        println!();
        by_way.push(by_mix);
    }
    print!("| paired: learnt expected loss - learnt fragmentation |");
    for (ours, theirs) in by_way[4].iter().zip(&by_way[3]) {
        let paired: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
        let (mean, deviation) = mean_and_deviation(&paired);
        let worst = paired.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        print!(" {mean:+.2} ({deviation:.2}; worst seed {worst:+.2}) |");
    }
    println!("\n");
}

fn sizes_and_loads() {
    println!("## Churn, mid mix: other sizes and loads, loss in %\n");
    println!(
        "| GPUs | load | first-fit | best-fit | fragmentation, learnt | expected loss, learnt |"
    );
    println!("|---|---|---|---|---|---|");
    for (gpus, load) in [(8, 1.0), (32, 0.8), (32, 1.0), (32, 1.2), (128, 1.0)] {
        print!("| {gpus} | {load:.1} |");
        for (_, heuristic, known) in [WAYS[0], WAYS[1], WAYS[3], WAYS[4]] {
            let (mean, _) = mean_and_deviation(&losses(MIXES[0].1, gpus, load, heuristic, known));
            print!(" {mean:.2} |");
        }
        println!();
    }
    println!();
}

/// GPUs beyond the fewest that hold 200 requests, in %.
fn arrivals_only() {
    const TRIALS: u64 = 100;
    println!("## Arrivals only: 200 requests, a GPU more where none fits, {TRIALS} trials");
    println!("GPUs beyond the offline optimum, %.\n");
    println!("| placement | mid | uniform | small | large |\n|---|---|---|---|---|");
    for (name, heuristic, known) in WAYS {
        print!("| {name} |");
        for (_, mix) in MIXES {
            let base = placer(heuristic, known, mix);
            let one = |seed| extra_gpus(mix, seed, base.clone());
            let sample: Vec<f64> = (1_000..1_000 + TRIALS).map(one).collect();
            print!(" {:.2} |", mean_and_deviation(&sample).0);
        }
        println!();
    }
    println!();
}

fn extra_gpus(mix: [f64; 6], seed: u64, mut placer: Placer) -> f64 {
    let mut chance = Chance(seed);
    let (mut states, mut counts) = (Vec::new(), [0_u32; 6]);
    for _ in 0..200 {
        let profile = profile_of(mix, unit(&mut chance));
        counts[profile.index()] += 1;
        if !states.iter().any(|state| placer.geometry().layout(*state).fits(profile)) {
            states.push(State::EMPTY);
        }
        let slot = placer.place(&states, profile).expect("an empty GPU holds any slice");
        states[slot.gpu] = slot.after;
    }
    let least = (0..).find(|gpus| fit_afresh(counts, *gpus)).expect("one GPU a request is enough");
    100.0 * (states.len() as f64 / f64::from(least) - 1.0)
}

/// Layouts that only a repartition of a whole, idle GPU changes.
fn standing_layouts() {
    const TRIALS: std::ops::RangeInclusive<u64> = 101..=104;
    println!("## Standing layouts: 32 GPUs, mid mix, load 1.0, seeds {TRIALS:?}");
    println!(
        "Exact sizes only; a repartition waits until its GPU is idle and takes 0.02 lifetimes.\n"
    );
    println!("| layouts | lost, % | repartitions |\n|---|---|---|");
    let geometry = Geometry::new();
    let mid = MIXES[0].1;
    for (name, cut_for, repacks) in [
        ("cut for the small mix, never again", MIXES[2].1, false),
        ("cut for the small mix, repacked by the program", MIXES[2].1, true),
        ("cut for the mid mix, never again", mid, false),
        ("cut for the mid mix, repacked by the program", mid, true),
    ] {
        let cuts = shift::cut_for(&geometry, cut_for, 32);
        let (mut lost, mut made) = (Vec::new(), Vec::new());
        for seed in TRIALS {
            let requests = requests(mid, 32, 1.0, seed);
            let reference = free_migration(&requests, 32);
            let (done, repartitions) = shift::standing(&geometry, &requests, &cuts, mid, repacks);
            lost.push(100.0 * (1.0 - done / reference));
            made.push(repartitions as f64);
        }
        let (mean, _) = mean_and_deviation(&lost);
        println!("| {name} | {mean:.1} | {:.0} |", mean_and_deviation(&made).0);
    }
    println!();
}

/// Random GPUs and a queue that wants other slices than they are cut into.
fn repacking() {
    println!("## Repacking: integer program over the 28 maximal multisets\n");
    println!("| GPUs | waiting | repartitions | worth untouched | worth | seconds | proven |");
    println!("|---|---|---|---|---|---|---|");
    let geometry = Geometry::new();
    let maximal = geometry.maximal();
    for gpus in [8_usize, 32, 128] {
        let mut chance = Chance(7);
        let sliced = (0..gpus).map(|_| {
            let cut = maximal[chance.bits() as usize % maximal.len()];
            let running = PerProfile(cut.0.map(|n| chance.bits() as u32 % (n + 1)));
            let busy = running.0.iter().any(|n| *n > 0);
            let idle_in =
                Duration::from_secs(if busy { 600 * (1 + chance.bits() % 24) } else { 0 });
            Sliced { cut, running, idle_in }
        });
        let asked = Repack {
            gpus: sliced.collect(),
            waiting: PerProfile(
                [0.2, 0.0, 0.4, 0.3, 0.1, 0.0].map(|s| (s * 3.0 * gpus as f64) as u32),
            ),
            repartition: Duration::from_secs(120),
            horizon: Duration::from_secs(8 * 3_600),
            time_limit: Duration::from_secs(10),
        };
        let begun = Instant::now();
        let answer = repack(&geometry, &asked);
        println!(
            "| {gpus} | {} | {} | {:.0} | {:.0} | {:.3} | {} |",
            asked.waiting.0.iter().sum::<u32>(),
            answer.repartitions.len(),
            answer.worth_untouched,
            answer.worth,
            begun.elapsed().as_secs_f64(),
            answer.proven
        );
    }
}
