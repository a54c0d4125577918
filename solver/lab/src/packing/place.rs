//! Where the next pod goes. Placed pods never move, and whatever fits is taken.

use std::collections::{BTreeMap, HashMap};

use super::host::{Host, Pod};
use super::workload::Workload;

/// How a place is chosen; ties by machine, then by GPU. All but
/// [`Heuristic::Leftover`] are baselines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heuristic {
    /// The first machine, and its first GPU.
    FirstFit,
    /// The machine with the least left, summed over its resources as parts of
    /// the largest machine's; on it the GPU with the least left.
    BestFit,
    /// The least growth of what the expected pod cannot use: fragmentation
    /// gradient descent (Weng et al., ATC 2023).
    Fragmentation,
    /// The same, scored from 0 to 100 as its authors' scheduler plug-in does, so
    /// that places which differ little are equal and the first is taken.
    FragmentationScored,
    /// The least growth of what stays free at the end, by [`Workload`].
    Leftover,
}

/// A place for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Position of the machine.
    pub host: usize,
    /// The GPU that a part is taken of; 0 for whole ones.
    pub gpu: usize,
}

/// Costs closer than this are equal: sums of the same terms in another order.
const SAME: f64 = 1e-9;
/// Values of machines that are remembered at most, about 100 bytes each.
const REMEMBERED: usize = 200_000;

/// The best place on one machine: cost and GPU; `None` if the pod does not fit.
type Offer = Option<(f64, usize)>;

/// Machines, and the pods placed on them so far.
#[derive(Clone, Debug)]
pub struct Packer {
    heuristic: Heuristic,
    hosts: Vec<Host>,
    largest: Host,
    workload: Workload,
    /// For each pod seen, what each machine offers; unknown until asked.
    offers: BTreeMap<Pod, Vec<Option<Offer>>>,
    /// Never iterated.
    values: HashMap<Host, f64>,
}

impl Packer {
    /// Empty machines and the workload to expect.
    pub fn new(heuristic: Heuristic, hosts: Vec<Host>, workload: Workload) -> Self {
        let largest = Host {
            cpu_milli: hosts.iter().map(|host| host.cpu_milli).max().unwrap_or(0),
            memory_mib: hosts.iter().map(|host| host.memory_mib).max().unwrap_or(0),
            gpus: hosts
                .iter()
                .map(|h| &h.gpus)
                .max_by_key(|g| g.len())
                .cloned()
                .unwrap_or_default(),
        };
        Self {
            heuristic,
            hosts,
            largest,
            workload,
            offers: BTreeMap::new(),
            values: HashMap::new(),
        }
    }

    /// What is left of each machine.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Places a pod; `None` if no machine holds it.
    pub fn place(&mut self, pod: &Pod) -> Option<Slot> {
        let machines = self.hosts.len();
        let mut offers = self.offers.remove(pod).unwrap_or_else(|| vec![None; machines]);
        let mut best: Option<(f64, Slot)> = None;
        for (host, slot) in offers.iter_mut().enumerate() {
            let offer = *slot.get_or_insert_with(|| self.offer(host, pod));
            let Some((cost, gpu)) = offer else { continue };
            if best.is_none_or(|(least, _)| cost < least - SAME) {
                best = Some((cost, Slot { host, gpu }));
            }
            if self.heuristic == Heuristic::FirstFit {
                break;
            }
        }
        self.offers.insert(*pod, offers);
        let (_, slot) = best?;
        let taken = self.hosts.get_mut(slot.host).is_some_and(|host| host.take(pod, slot.gpu));
        self.forget(slot.host);
        taken.then_some(slot)
    }

    /// Replaces what is left of a machine.
    pub(super) fn set(&mut self, at: usize, left: Host) {
        if let Some(host) = self.hosts.get_mut(at) {
            *host = left;
        }
        self.forget(at);
    }

    /// A machine has changed: what it offered does not hold any more.
    fn forget(&mut self, host: usize) {
        for offers in self.offers.values_mut() {
            if let Some(offer) = offers.get_mut(host) {
                *offer = None;
            }
        }
    }

    /// The best place of a machine.
    fn offer(&mut self, host: usize, pod: &Pod) -> Offer {
        let before = self.hosts.get(host)?.clone();
        let mut best: Offer = None;
        for gpu in before.options(pod) {
            let mut after = before.clone();
            if !after.take(pod, gpu) {
                continue;
            }
            let cost = self.cost(&before, &after, gpu);
            if best.is_none_or(|(least, _)| cost < least - SAME) {
                best = Some((cost, gpu));
            }
        }
        best
    }

    fn cost(&mut self, before: &Host, after: &Host, gpu: usize) -> f64 {
        match self.heuristic {
            Heuristic::FirstFit => 0.0,
            Heuristic::BestFit => {
                let left_on_gpu = before.gpus.get(gpu).copied().unwrap_or(0);
                // A thousandth of a GPU counts for less than any difference of machines.
                self.left(before) + f64::from(left_on_gpu) * 1e-9
            }
            Heuristic::Fragmentation | Heuristic::Leftover => {
                self.value(after) - self.value(before)
            }
            Heuristic::FragmentationScored => {
                let growth = (self.value(after) - self.value(before)) / 1_000.0;
                -(100.0 / (1.0 + growth.exp())).floor()
            }
        }
    }

    /// What is left of a machine, as parts of the largest.
    fn left(&self, host: &Host) -> f64 {
        let part = |left: u64, of: u64| if of == 0 { 0.0 } else { left as f64 / of as f64 };
        part(host.cpu_milli, self.largest.cpu_milli)
            + part(host.memory_mib, self.largest.memory_mib)
            + part(host.gpu_free(), self.largest.gpu_free())
    }

    /// What is lost of a machine, whose GPUs are alike.
    fn value(&mut self, host: &Host) -> f64 {
        let mut alike = host.clone();
        alike.gpus.sort_unstable();
        if let Some(value) = self.values.get(&alike) {
            return *value;
        }
        let value = match self.heuristic {
            Heuristic::Leftover => self.workload.leftover(&alike),
            _ => self.workload.unusable(&alike),
        };
        if self.values.len() >= REMEMBERED {
            self.values.clear();
        }
        self.values.insert(alike, value);
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEURISTICS: [Heuristic; 5] = [
        Heuristic::FirstFit,
        Heuristic::BestFit,
        Heuristic::Fragmentation,
        Heuristic::FragmentationScored,
        Heuristic::Leftover,
    ];

    fn pod(cpu_milli: u64, gpus: u32, gpu_milli: u32) -> Pod {
        Pod { cpu_milli, memory_mib: 1, gpus, gpu_milli }
    }

    fn host(cpu_milli: u64, gpus: usize) -> Host {
        Host { cpu_milli, memory_mib: 100, gpus: vec![1_000; gpus] }
    }

    fn pods() -> impl Strategy<Value = Vec<Pod>> {
        let any = (0..6_u64, 0..3_u32, prop::sample::select(vec![300, 500, 700, 1_000]))
            .prop_map(|(cpu, gpus, milli)| pod(cpu, gpus, if gpus == 1 { milli } else { 1_000 }));
        prop::collection::vec(any, 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        /// Whatever fits is placed, nothing is overfilled, and what is
        /// remembered of machines is what a fresh look finds.
        #[test]
        fn what_fits_is_placed_and_books_agree(
            heuristic in prop::sample::select(HEURISTICS.to_vec()),
            pods in pods(),
        ) {
            let hosts = vec![host(20, 2), host(10, 4), host(8, 1)];
            let workload = Workload::of(&pods);
            let mut packer = Packer::new(heuristic, hosts.clone(), workload.clone());
            let mut placed = vec![Vec::new(); hosts.len()];
            for pod in &pods {
                let fits = packer.hosts().iter().any(|host| host.fits(pod));
                let fresh = Packer::new(heuristic, packer.hosts().to_vec(), workload.clone()).place(pod);
                let slot = packer.place(pod);
                prop_assert_eq!(slot.is_some(), fits);
                if heuristic != Heuristic::BestFit {
                    prop_assert_eq!(slot, fresh);
                }
                if let Some(slot) = slot {
                    placed[slot.host].push(*pod);
                }
            }
            for ((host, left), pods) in hosts.iter().zip(packer.hosts()).zip(&placed) {
                let cpu: u64 = pods.iter().map(|pod: &Pod| pod.cpu_milli).sum();
                let gpu: u64 = pods.iter().map(Pod::gpu_total).sum();
                prop_assert_eq!(left.cpu_milli + cpu, host.cpu_milli);
                prop_assert_eq!(left.gpu_free() + gpu, host.gpu_free());
            }
        }
    }

    #[test]
    fn each_rule_has_its_own_idea() {
        let hosts = || vec![host(100, 2), host(10, 1)];
        let whole = pod(1, 1, 1_000);
        // The second machine's CPUs are of no use to a pod of 50.
        let workload = Workload::of(&[pod(50, 1, 500)]);
        let first = |heuristic| Packer::new(heuristic, hosts(), workload.clone()).place(&whole);
        assert_eq!(first(Heuristic::FirstFit), Some(Slot { host: 0, gpu: 0 }));
        assert_eq!(first(Heuristic::BestFit), Some(Slot { host: 1, gpu: 0 }));
        assert_eq!(first(Heuristic::Fragmentation), Some(Slot { host: 1, gpu: 0 }));
        assert_eq!(first(Heuristic::FragmentationScored), Some(Slot { host: 1, gpu: 0 }));
        assert_eq!(first(Heuristic::Leftover), Some(Slot { host: 1, gpu: 0 }));
    }

    #[test]
    fn nothing_fits_nowhere() {
        for heuristic in HEURISTICS {
            let mut packer = Packer::new(heuristic, Vec::new(), Workload::of(&[]));
            assert_eq!(packer.place(&pod(1, 1, 500)), None);
            let mut packer = Packer::new(heuristic, vec![host(0, 1)], Workload::of(&[]));
            assert_eq!(packer.place(&pod(1, 1, 500)), None);
            assert_eq!(packer.place(&pod(0, 1, 500)), Some(Slot { host: 0, gpu: 0 }));
        }
    }
}
