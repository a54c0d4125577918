//! Room for a pod that fits nowhere, by moving others. Nothing is given up.

use std::collections::BTreeMap;

use super::host::{Host, Pod};
use super::place::Packer;
use super::repack::{filled, pods_without};

impl Packer {
    /// Places a pod that fits nowhere: the pods of one machine are laid out anew
    /// on its GPUs, or one of them also moves to another machine. The first
    /// machine where that helps; answers whether there is one. `empty` is what
    /// the machines have, `placed` what is on them; both by machine.
    pub fn make_room(&mut self, empty: &[Host], placed: &mut [Vec<Pod>], pod: &Pod) -> bool {
        let mut homes: BTreeMap<Pod, [Option<usize>; 2]> = BTreeMap::new();
        for (at, machine) in empty.iter().enumerate() {
            let Some(pods) = placed.get(at).cloned() else { continue };
            let mut movable = pods.clone();
            movable.sort_unstable();
            movable.dedup();
            let ways = std::iter::once(None).chain(movable.into_iter().map(Some));
            for gone in ways {
                let other = match gone {
                    None => None,
                    Some(gone) => {
                        let found = *homes.entry(gone).or_insert_with(|| self.two_that_hold(&gone));
                        let Some(other) = found.into_iter().flatten().find(|to| *to != at) else {
                            continue;
                        };
                        Some(other)
                    }
                };
                let Some(left) = with_instead(machine, &pods, gone, pod) else { continue };
                self.commit(placed, (at, left), gone.zip(other), pod);
                return true;
            }
        }
        false
    }

    /// The first two machines that hold a pod as they are.
    fn two_that_hold(&self, pod: &Pod) -> [Option<usize>; 2] {
        let mut holding = self.hosts().iter().enumerate().filter(|(_, host)| host.fits(pod));
        [holding.next(), holding.next()].map(|found| found.map(|(at, _)| at))
    }

    fn commit(
        &mut self,
        placed: &mut [Vec<Pod>],
        (at, left): (usize, Host),
        moved: Option<(Pod, usize)>,
        pod: &Pod,
    ) {
        self.set(at, left);
        if let Some(here) = placed.get_mut(at) {
            *here =
                pods_without(here, &moved.map(|(gone, _)| gone).into_iter().collect::<Vec<_>>());
            here.push(*pod);
        }
        if let Some((gone, to)) = moved
            && let Some(mut other) = self.hosts().get(to).cloned()
            && other.take_tightest(&gone).is_some()
        {
            self.set(to, other);
            if let Some(there) = placed.get_mut(to) {
                there.push(gone);
            }
        }
    }
}

/// What is left of a machine with `pod` on it instead of `gone`; `None` if it
/// does not fit even so.
fn with_instead(machine: &Host, pods: &[Pod], gone: Option<Pod>, pod: &Pod) -> Option<Host> {
    let mut now = pods_without(pods, &gone.into_iter().collect::<Vec<_>>());
    now.push(*pod);
    let takes = |part: fn(&Pod) -> u64| now.iter().map(part).sum::<u64>();
    let too_much = takes(Pod::gpu_total) > machine.gpu_free()
        || takes(|pod| pod.cpu_milli) > machine.cpu_milli
        || takes(|pod| pod.memory_mib) > machine.memory_mib;
    if too_much {
        return None;
    }
    let (left, misfits) = filled(machine, &now);
    misfits.is_empty().then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::{Heuristic, Workload};

    fn pod(cpu_milli: u64, gpu_milli: u32) -> Pod {
        Pod { cpu_milli, memory_mib: 1, gpus: 1, gpu_milli }
    }

    fn host(cpu_milli: u64, gpus: usize) -> Host {
        Host { cpu_milli, memory_mib: 100, gpus: vec![1_000; gpus] }
    }

    fn packer(hosts: &[Host], placed: &[Vec<Pod>]) -> Packer {
        let mut packer = Packer::new(Heuristic::FirstFit, hosts.to_vec(), Workload::of(&[]));
        for (at, pods) in placed.iter().enumerate() {
            packer.set(at, filled(&hosts[at], pods).0);
        }
        packer
    }

    #[test]
    fn a_pod_moves_to_make_room_and_none_is_lost() {
        // The light pod sits on the machine with the CPUs that the heavy needs.
        let hosts = [host(9, 1), host(2, 1)];
        let mut placed = vec![vec![pod(1, 1_000)], Vec::new()];
        let mut packer = packer(&hosts, &placed);
        assert!(packer.place(&pod(9, 1_000)).is_none());
        assert!(packer.make_room(&hosts, &mut placed, &pod(9, 1_000)));
        assert_eq!(placed, [vec![pod(9, 1_000)], vec![pod(1, 1_000)]]);
        assert_eq!(packer.hosts()[0].cpu_milli, 0);
        assert_eq!(packer.hosts()[1].gpus, [0]);
        assert!(!packer.make_room(&hosts, &mut placed, &pod(1, 10)), "all is taken");
    }

    #[test]
    fn parts_move_between_the_gpus_of_a_machine() {
        let hosts = [host(9, 2)];
        let mut placed = vec![vec![pod(1, 500), pod(1, 500)]];
        let mut packer = packer(&hosts, &placed);
        packer.set(0, Host { cpu_milli: 7, memory_mib: 98, gpus: vec![500, 500] });
        assert!(packer.place(&pod(1, 1_000)).is_none());
        assert!(packer.make_room(&hosts, &mut placed, &pod(1, 1_000)));
        assert_eq!(packer.hosts()[0].gpu_free(), 0);
        assert_eq!(placed[0].len(), 3);
    }
}
