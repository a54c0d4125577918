//! A whole list packed anew: any pod may move, and any may be left out for
//! others.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::host::{Host, Pod};

/// Passes over all machines at most; the openb list needs about five.
const PASSES: usize = 20;

/// Pods on machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// The pods of each machine.
    pub placed: Vec<Vec<Pod>>,
    /// What is left of each machine.
    pub left: Vec<Host>,
    /// Pods that are on none.
    pub out: BTreeMap<Pod, u32>,
}

/// Improves a packing of a list on empty machines: as long as it fills more of
/// the GPUs, one or two pods of a machine are exchanged for pods that are out. `placed`
/// is where the list is now (by machine), `out` the rest of it. Never worse than
/// what it is given.
pub fn repack(hosts: &[Host], placed: &[Vec<Pod>], out: &[Pod]) -> Packing {
    let mut packing = Packing::default();
    for pod in out {
        *packing.out.entry(*pod).or_default() += 1;
    }
    for (at, host) in hosts.iter().enumerate() {
        let pods = placed.get(at).cloned().unwrap_or_default();
        let (left, misfits) = filled(host, &pods);
        for pod in &misfits {
            *packing.out.entry(*pod).or_default() += 1;
        }
        let pods = pods_without(&pods, &misfits);
        packing.left.push(left);
        packing.placed.push(pods);
    }
    for _ in 0..PASSES {
        let mut better = false;
        for (at, host) in hosts.iter().enumerate() {
            while packing.improve(at, host) {
                better = true;
            }
        }
        if !better {
            break;
        }
    }
    packing
}

/// Puts pods on an empty machine, largest first; answers what did not fit.
pub(super) fn filled(host: &Host, pods: &[Pod]) -> (Host, Vec<Pod>) {
    let (mut left, mut order) = (host.clone(), pods.to_vec());
    order.sort_by_key(|pod| Reverse((pod.gpus, pod.gpu_milli)));
    let misfits = order.into_iter().filter(|pod| left.take_tightest(pod).is_none()).collect();
    (left, misfits)
}

/// Pods less others, one for one.
pub(super) fn pods_without(pods: &[Pod], gone: &[Pod]) -> Vec<Pod> {
    let mut kept = pods.to_vec();
    for pod in gone {
        if let Some(at) = kept.iter().position(|kept| kept == pod) {
            kept.swap_remove(at);
        }
    }
    kept
}

impl Packing {
    /// Fills a machine with more GPU, if an exchange of up to two pods does.
    fn improve(&mut self, at: usize, host: &Host) -> bool {
        let Some(free) = self.left.get(at).map(Host::gpu_free).filter(|free| *free > 0) else {
            return false;
        };
        let pods = self.placed.get(at).cloned().unwrap_or_default();
        let mut best: Option<(u64, Vec<Pod>, Host, Vec<Pod>)> = None;
        for gone in exchanges(&pods) {
            let kept = pods_without(&pods, &gone);
            let (mut left, misfits) = filled(host, &kept);
            if !misfits.is_empty() {
                continue;
            }
            let come = self.fill(&mut left, &gone);
            let now = left.gpu_free();
            if now < best.as_ref().map_or(free, |(least, ..)| *least) {
                best = Some((now, gone, left, come));
            }
        }
        let Some((_, gone, left, come)) = best else { return false };
        let mut kept = pods_without(&pods, &gone);
        for pod in come {
            if let Some(n) = self.out.get_mut(&pod) {
                *n -= 1;
            }
            kept.push(pod);
        }
        self.out.retain(|_, n| *n > 0);
        for pod in gone {
            *self.out.entry(pod).or_default() += 1;
        }
        if let (Some(old), Some(pods)) = (self.left.get_mut(at), self.placed.get_mut(at)) {
            *old = left;
            *pods = kept;
        }
        true
    }

    /// Pods that are out and fill most of what is left of a machine: most GPU
    /// first, of those that with the least CPU; once beginning with each size
    /// that is out. None of `barred` comes back.
    fn fill(&self, left: &mut Host, barred: &[Pod]) -> Vec<Pod> {
        let mut order: Vec<(Pod, u32)> = self.out.iter().map(|(pod, n)| (*pod, *n)).collect();
        order.retain(|(pod, _)| pod.gpus > 0 && !barred.contains(pod) && left.fits(pod));
        order.sort_by_key(|(pod, _)| (Reverse(pod.gpu_total()), pod.cpu_milli));
        let mut best = (left.clone(), Vec::new());
        let mut begun = None;
        for (at, (pod, _)) in order.iter().enumerate() {
            if best.0.gpu_free() == 0 {
                break;
            }
            if begun.replace(pod.gpu_total()) == Some(pod.gpu_total()) {
                continue;
            }
            let mut with = left.clone();
            let mut come = Vec::new();
            let wrapped = order.iter().skip(at).chain(order.iter().take(at));
            for (pod, n) in wrapped {
                let fitting = (0..*n).take_while(|_| with.take_tightest(pod).is_some()).count();
                come.extend(std::iter::repeat_n(*pod, fitting));
            }
            if with.gpu_free() < best.0.gpu_free() {
                best = (with, come);
            }
        }
        *left = best.0;
        best.1
    }
}

/// Nothing, each kind of pod, and each pair of kinds.
fn exchanges(pods: &[Pod]) -> Vec<Vec<Pod>> {
    let mut sorted = pods.to_vec();
    sorted.sort_unstable();
    let mut ways = vec![Vec::new()];
    for (at, first) in sorted.iter().enumerate() {
        ways.push(vec![*first]);
        ways.extend(sorted.iter().skip(at + 1).map(|second| vec![*first, *second]));
    }
    ways.sort_unstable();
    ways.dedup();
    ways.sort_by_key(Vec::len);
    ways
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(cpu_milli: u64, gpu_milli: u32) -> Pod {
        Pod { cpu_milli, memory_mib: 1, gpus: 1, gpu_milli }
    }

    fn host(cpu_milli: u64, gpus: usize) -> Host {
        Host { cpu_milli, memory_mib: 100, gpus: vec![1_000; gpus] }
    }

    #[test]
    fn what_leaves_a_gap_is_exchanged_for_what_does_not() {
        let packing = repack(&[host(9, 1)], &[vec![pod(1, 810)]], &[pod(1, 600), pod(1, 400)]);
        assert_eq!(packing.left, [Host { cpu_milli: 7, memory_mib: 98, gpus: vec![0] }]);
        assert_eq!(packing.out, BTreeMap::from([(pod(1, 810), 1)]));
    }

    /// The most GPU that any choice of pods fills on one machine.
    fn most(host: &Host, pods: &[Pod]) -> u64 {
        let Some((first, rest)) = pods.split_first() else { return 0 };
        let mut best = most(host, rest);
        for gpu in host.options(first) {
            let mut with = host.clone();
            assert!(with.take(first, gpu));
            best = best.max(first.gpu_total() + most(&with, rest));
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// On one GPU with two pods at most, exchanging two pods is enough for
        /// the optimum; on any machines it is never worse than before, places
        /// what it says and loses nothing.
        #[test]
        fn repacking_is_never_worse_and_exact_where_it_can_be(
            list in prop::collection::vec((1..4_u64, 4..=10_u32), 1..8),
            gpus in 1..3_usize,
            cpus in 2..9_u64,
        ) {
            let pods: Vec<Pod> =
                list.iter().map(|(cpu, tenths)| pod(*cpu, tenths * 100)).collect();
            let hosts = vec![host(cpus, gpus)];
            let mut left = hosts[0].clone();
            let mut placed = Vec::new();
            let mut out = Vec::new();
            for pod in &pods {
                if left.take_tightest(pod).is_some() { placed.push(*pod) } else { out.push(*pod) }
            }
            let packing = repack(&hosts, &[placed], &out);
            prop_assert!(packing.left[0].gpu_free() <= left.gpu_free());
            let mut listed: Vec<Pod> = packing.placed[0].clone();
            listed.extend(packing.out.iter().flat_map(|(pod, n)| vec![*pod; *n as usize]));
            listed.sort_unstable();
            let mut wanted = pods.clone();
            wanted.sort_unstable();
            prop_assert_eq!(listed, wanted);
            let (refilled, misfits) = filled(&hosts[0], &packing.placed[0]);
            prop_assert!(misfits.is_empty());
            prop_assert_eq!(refilled.gpu_free(), packing.left[0].gpu_free());
            let taken = hosts[0].gpu_free() - packing.left[0].gpu_free();
            let best = most(&hosts[0], &pods);
            prop_assert!(taken <= best);
            if gpus == 1 && cpus == 8 {
                // Three pods of a GPU need parts of at most 333: there are none.
                prop_assert_eq!(taken, best);
            }
        }
    }
}
