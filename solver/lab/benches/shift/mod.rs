//! Layouts that stand, as mig-parted makes them: slices of an exact size only, a
//! repartition clears a whole GPU. The GPUs are cut for one mix, and another
//! comes.

use std::cmp::Reverse;
use std::time::Duration;

use spotwise_model::gpu::{MIG_COMPUTE_SLICES, MigProfile};
use spotwise_solver::mig::{Geometry, PerProfile};
use spotwise_solver_lab::mig::{Repack, Sliced, repack};

use crate::{At, PopBefore, Queue, REQUESTS, Request, work};

/// A lifetime is an hour here; a repartition takes 72 s of it.
const LIFETIME: Duration = Duration::from_secs(3_600);
const REPARTITION: Duration = Duration::from_secs(72);
/// Lifetimes between two looks at the layouts.
const LOOK: f64 = 0.25;

struct Gpu {
    cut: PerProfile<u32>,
    running: PerProfile<u32>,
    /// What it is to become; nothing more is started on it.
    closing: Option<PerProfile<u32>>,
}

/// What happens at a time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends { gpu: usize, profile: usize },
    Recut { gpu: usize },
}

/// Slices wanted for a mix at a load, for each profile.
pub(crate) fn wanted(mix: [f64; 6], gpus: usize, load: f64) -> PerProfile<u32> {
    let compute = MigProfile::ALL.map(|p| f64::from(p.compute_slices()));
    let mean: f64 = mix.iter().zip(compute).map(|(m, c)| m * c).sum();
    let requests = load * f64::from(MIG_COMPUTE_SLICES) * gpus as f64 / mean;
    PerProfile(mix.map(|share| (share * requests).round() as u32))
}

/// GPUs cut for a mix while they are idle.
pub(crate) fn cut_for(geometry: &Geometry, mix: [f64; 6], gpus: usize) -> Vec<PerProfile<u32>> {
    let whole = PerProfile([0, 0, 0, 0, 0, 1]);
    let idle = Sliced { cut: whole, running: PerProfile::default(), idle_in: Duration::ZERO };
    let answer = repack(geometry, &asked(vec![idle; gpus], wanted(mix, gpus, 1.0)));
    let mut cuts = vec![whole; gpus];
    for repartition in answer.repartitions {
        cuts[repartition.gpu] = repartition.into;
    }
    cuts
}

fn asked(gpus: Vec<Sliced>, waiting: PerProfile<u32>) -> Repack {
    Repack {
        gpus,
        waiting,
        repartition: REPARTITION,
        horizon: 8 * LIFETIME,
        time_limit: Duration::from_secs(2),
    }
}

/// Accepted work, and repartitions made, with GPUs that begin as `cuts`; laid out
/// anew for `mix` as the program says, if `repacks`.
pub(crate) fn standing(
    geometry: &Geometry,
    requests: &[Request],
    cuts: &[PerProfile<u32>],
    mix: [f64; 6],
    repacks: bool,
) -> (f64, usize) {
    let fresh =
        |cut: &PerProfile<u32>| Gpu { cut: *cut, running: PerProfile::default(), closing: None };
    let mut gpus: Vec<Gpu> = cuts.iter().map(fresh).collect();
    let mut events: Queue<Event> = Queue::new();
    let (mut accepted, mut repartitions, mut next_look) = (0.0, 0, LOOK);
    for (n, request) in requests.iter().enumerate() {
        while let Some(Reverse((At(time), event))) = events.pop_if_before(request.at) {
            settle(&mut gpus, &mut events, time, &event);
        }
        if repacks && request.at >= next_look {
            next_look += LOOK;
            let closed = look(geometry, &mut gpus, mix);
            repartitions += closed.len();
            for gpu in closed {
                recut_if_idle(&gpus, &mut events, request.at, gpu);
            }
        }
        let free = |gpu: &Gpu| {
            gpu.closing.is_none() && gpu.running.get(request.profile) < gpu.cut.get(request.profile)
        };
        let busiest = gpus.iter().enumerate().filter(|(_, gpu)| free(gpu));
        let busiest = busiest.max_by_key(|(at, g)| (g.running.0.iter().sum::<u32>(), Reverse(*at)));
        let Some((gpu, _)) = busiest else { continue };
        *gpus[gpu].running.get_mut(request.profile) += 1;
        let ends = Event::Ends { gpu, profile: request.profile.index() };
        events.push(Reverse((At(request.at + request.life), ends)));
        accepted += if n >= REQUESTS / 4 { work(request) } else { 0.0 };
    }
    (accepted, repartitions)
}

fn settle(gpus: &mut [Gpu], events: &mut Queue<Event>, time: f64, event: &Event) {
    match *event {
        Event::Ends { gpu, profile } => {
            gpus[gpu].running.0[profile] -= 1;
            recut_if_idle(gpus, events, time, gpu);
        }
        Event::Recut { gpu } => {
            if let Some(cut) = gpus[gpu].closing.take() {
                gpus[gpu].cut = cut;
            }
        }
    }
}

/// A closing GPU that has become idle is laid out anew, which takes its time.
fn recut_if_idle(gpus: &[Gpu], events: &mut Queue<Event>, time: f64, gpu: usize) {
    let idle = gpus[gpu].running.0.iter().all(|n| *n == 0);
    if idle && gpus[gpu].closing.is_some() {
        let takes = REPARTITION.as_secs_f64() / LIFETIME.as_secs_f64();
        events.push(Reverse((At(time + takes), Event::Recut { gpu })));
    }
}

/// Closes the GPUs that the program wants to lay out anew.
fn look(geometry: &Geometry, gpus: &mut [Gpu], mix: [f64; 6]) -> Vec<usize> {
    let mut waiting = wanted(mix, gpus.len(), 1.0);
    let mut open = Vec::new();
    let mut sliced = Vec::new();
    for (at, gpu) in gpus.iter().enumerate() {
        if let Some(cut) = &gpu.closing {
            let left = PerProfile::of(|p| waiting.get(p).saturating_sub(*cut.get(p)));
            waiting = left;
            continue;
        }
        open.push(at);
        // The last of n exponential lifetimes ends after 1 + 1/2 + ... + 1/n.
        let running = gpu.running.0.iter().sum::<u32>();
        let idle_in = LIFETIME.mul_f64((1..=running).map(|n| 1.0 / f64::from(n)).sum());
        sliced.push(Sliced { cut: gpu.cut, running: gpu.running, idle_in });
    }
    let answer = repack(geometry, &asked(sliced, waiting));
    let mut closed = Vec::new();
    for repartition in answer.repartitions {
        let at = open[repartition.gpu];
        gpus[at].closing = Some(repartition.into);
        closed.push(at);
    }
    closed
}
