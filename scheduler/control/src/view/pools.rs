//! What each pool has left, with parts of GPUs in units of [`GPU_UNITS`] per GPU: the
//! measures used by the solver's audit too.

use spotwise_model::id::PoolName;
use spotwise_model::mig::MEASURES;
use spotwise_model::resources::GPU_UNITS;
use spotwise_model::spec::Resources;
use spotwise_model::{Attempt, NodeShape, Pool, PoolSet, Share};
use spotwise_solver::PoolLimit;

use crate::core::State;

/// What one pool has left over all its machines together.
#[derive(Clone, Debug)]
pub(crate) struct PoolHeadroom {
    pool: PoolName,
    cpu_milli: u64,
    memory_mib: u64,
    /// `None` if accelerators are simulated.
    gpu_units: Option<[u64; MEASURES]>,
}

/// Every pool, less what is running on it.
pub(crate) fn left(state: &State) -> Vec<PoolHeadroom> {
    let headroom_of = |total: &PoolLimit| {
        let mut headroom = PoolHeadroom::new(total);
        for attempt in state.attempts.values().filter(|attempt| attempt.state.is_live()) {
            if attempt.offer.pool == headroom.pool {
                let nodes = attempt.instances.len() as u64;
                headroom.take(&attempt.share, shape_of(state, attempt), nodes);
            }
        }
        headroom
    };
    totals(&state.pools).iter().map(headroom_of).collect()
}

/// The real room of each pool that has some: the machine behind borrowed names.
pub fn totals(pools: &PoolSet) -> Vec<PoolLimit> {
    let host = |pool: &Pool| {
        let host = pool.limits.host?;
        Some(PoolLimit {
            pool: pool.name.clone(),
            cpu_milli: host.cpu_milli,
            memory_mib: host.memory_mib,
            gpus: host.gpus,
        })
    };
    pools.pools.values().filter_map(host).collect()
}

/// Why a job waits indefinitely, however little else is running: no pool has what all its
/// nodes need together. `None` if one has.
pub fn too_small(pools: &PoolSet, resources: &Resources) -> Option<String> {
    let totals = totals(pools);
    // A pool without a machine of its own opens as many as it takes.
    if totals.len() < pools.pools.len() {
        return None;
    }
    let nodes = u64::from(resources.nodes);
    let cpu_milli = resources.cpu_milli.saturating_mul(nodes);
    let memory_mib = resources.memory_mib.saturating_mul(nodes);
    let holds = |pool: &PoolLimit| pool.cpu_milli >= cpu_milli && pool.memory_mib >= memory_mib;
    let largest = totals.iter().max_by_key(|pool| (pool.cpu_milli, pool.memory_mib))?;
    let cpus = |milli: u64| milli as f64 / 1_000.0;
    (!totals.iter().any(holds)).then(|| {
        format!(
            "it needs {} CPUs and {memory_mib} MiB, and pool `{}` has {} CPUs and {} MiB in all; \
             ask for less, or let the scheduler use more (serve --cpus, --memory)",
            cpus(cpu_milli),
            largest.pool,
            cpus(largest.cpu_milli),
            largest.memory_mib
        )
    })
}

/// What the machines of an attempt have.
fn shape_of<'s>(state: &'s State, attempt: &Attempt) -> Option<&'s NodeShape> {
    attempt.instances.first().and_then(|id| state.instances.get(id)).map(|one| &one.shape)
}

impl PoolHeadroom {
    fn new(total: &PoolLimit) -> Self {
        Self {
            pool: total.pool.clone(),
            cpu_milli: total.cpu_milli,
            memory_mib: total.memory_mib,
            gpu_units: total.gpus.map(|gpus| [u64::from(gpus) * GPU_UNITS; MEASURES]),
        }
    }

    pub(crate) const fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// The limit as given to the solver: only GPUs with nothing on them count, since a
    /// limit does not say which parts of the others are left.
    pub(crate) fn limit(&self) -> PoolLimit {
        let whole = |units: u64| u32::try_from(units / GPU_UNITS).unwrap_or(u32::MAX);
        let gpus = |left: [u64; MEASURES]| left.into_iter().map(whole).min().unwrap_or(0);
        PoolLimit {
            pool: self.pool.clone(),
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            gpus: self.gpu_units.map(gpus),
        }
    }

    /// Whether there is room for this many nodes' shares. If the machine is unknown, a part
    /// by memory counts as a whole GPU.
    pub(crate) fn holds(&self, share: &Share, shape: Option<&NodeShape>, nodes: u64) -> bool {
        let (cpu, memory, gpus) = need(share, shape, nodes);
        let enough =
            |have: [u64; MEASURES]| have.iter().zip(gpus).all(|(have, gpus)| *have >= gpus);
        self.cpu_milli >= cpu && self.memory_mib >= memory && self.gpu_units.is_none_or(enough)
    }

    /// Takes this many nodes' shares: down to nothing if there is less.
    pub(crate) fn take(&mut self, share: &Share, shape: Option<&NodeShape>, nodes: u64) {
        let (cpu, memory, gpus) = need(share, shape, nodes);
        self.cpu_milli = self.cpu_milli.saturating_sub(cpu);
        self.memory_mib = self.memory_mib.saturating_sub(memory);
        for (have, gpus) in self.gpu_units.iter_mut().flatten().zip(gpus) {
            *have = have.saturating_sub(gpus);
        }
    }
}

/// CPU, memory, and GPUs by each measure.
fn need(share: &Share, shape: Option<&NodeShape>, nodes: u64) -> (u64, u64, [u64; MEASURES]) {
    let unknown = NodeShape::default();
    let units = share.gpu_measures(shape.unwrap_or(&unknown));
    let all = |of_one: u64| of_one.saturating_mul(nodes);
    (all(share.cpu_milli), all(share.memory_mib), units.map(all))
}

#[cfg(test)]
mod tests {
    use spotwise_model::gpu::MigProfile;
    use std::time::Duration;

    use spotwise_model::id::Accelerator;
    use spotwise_model::pool::{HostLimits, PoolKind};
    use spotwise_model::sharing::SoftSharing;
    use spotwise_model::spec::GpuRequest;

    use super::*;

    fn headroom(gpus: u32) -> PoolHeadroom {
        let pool = PoolName::new("local");
        PoolHeadroom::new(&PoolLimit {
            pool,
            cpu_milli: 8_000,
            memory_mib: 9_000,
            gpus: Some(gpus),
        })
    }

    fn t4() -> NodeShape {
        let accelerator = Some(Accelerator::new("T4"));
        NodeShape { accelerator, gpus: 1, gpu_memory_mib: 16_384, ..NodeShape::default() }
    }

    fn soft(sharing: SoftSharing) -> Share {
        let shared = sharing.of(t4().accelerator.as_ref());
        Share { shared: Some(shared), cpu_milli: 1_000, ..Share::default() }
    }

    /// How often a share fits, and the GPUs that are then left whole.
    fn fits(gpus: u32, share: &Share, shape: Option<&NodeShape>) -> (u32, Option<u32>) {
        let mut headroom = headroom(gpus);
        let mut times = 0;
        while headroom.holds(share, shape, 1) {
            headroom.take(share, shape, 1);
            times += 1;
        }
        (times, headroom.limit().gpus)
    }

    #[test]
    fn parts_of_gpus_are_taken_from_a_pool() {
        let (turns, mps) =
            (SoftSharing::TimeSlicing { jobs: 3 }, SoftSharing::Mps { memory_mib: 8_192 });
        assert_eq!(fits(1, &soft(turns), Some(&t4())), (3, Some(0)));
        assert_eq!(fits(2, &soft(mps), Some(&t4())), (4, Some(0)));
        assert_eq!(fits(2, &soft(mps), None), (2, Some(0)), "the machine is not known");
        let slice = Share { mig: Some(MigProfile::G3), cpu_milli: 1_000, ..Share::default() };
        assert_eq!(fits(3, &slice, Some(&t4())), (6, Some(0)));
        assert_eq!(fits(9, &soft(turns), Some(&t4())), (8, Some(6)), "no CPU is left");
    }

    #[test]
    fn the_solver_hears_of_whole_gpus_only() {
        let mut headroom = headroom(2);
        let turns = soft(SoftSharing::TimeSlicing { jobs: 4 });
        headroom.take(&turns, Some(&t4()), 1);
        assert_eq!(headroom.limit().gpus, Some(1));
        assert!(headroom.holds(&turns, Some(&t4()), 7) && !headroom.holds(&turns, Some(&t4()), 8));
        let whole = Share { gpus: 1, ..Share::default() };
        assert!(headroom.holds(&whole, None, 1) && !headroom.holds(&whole, None, 2));
        headroom.take(&whole, None, 5);
        assert!(!headroom.holds(&turns, Some(&t4()), 1));
    }

    #[test]
    fn a_job_larger_than_every_pool_is_told_that_it_waits_for_ever() {
        let host = HostLimits { cpu_milli: 8_000, memory_mib: 9_000, gpus: None };
        let pool =
            Pool::of_host(PoolName::new("pool"), PoolKind::Local, host, Duration::from_secs(1));
        let mut cloud = Pool { name: PoolName::new("cloud"), ..pool.clone() };
        cloud.limits.host = None;
        let asks = |cpu_milli, nodes| Resources {
            gpus: GpuRequest::None,
            cpu_milli,
            memory_mib: 1_000,
            nodes,
        };
        assert_eq!(too_small(&PoolSet::of([pool.clone()]), &asks(8_000, 1)), None);
        let why = too_small(&PoolSet::of([pool.clone()]), &asks(3_000, 3))
            .expect("three nodes need nine");
        assert!(why.starts_with("it needs 9 CPUs and 3000 MiB, and pool `pool` has 8"), "{why}");
        assert_eq!(too_small(&PoolSet::default(), &asks(3_000, 3)), None, "no pool is known yet");
        assert_eq!(
            too_small(&PoolSet::of([pool, cloud]), &asks(3_000, 3)),
            None,
            "the other opens machines"
        );
    }
}
