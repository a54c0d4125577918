//! What pods are to be expected, and what a machine's room is worth to them.

use std::collections::BTreeMap;

use super::host::{Host, Pod, WHOLE};

/// Streams of pods poured into a machine. 64 instead of 16 changed the openb
/// figure by 0.03 points and took four times as long.
const STREAMS: usize = 16;
/// Pods of a stream for each GPU of the machine: enough to fill it, and few
/// enough that what rarely comes does not fill every gap. 10 and 40 were 0.1
/// points worse on openb.
const PODS_PER_GPU: usize = 20;
/// GPUs of the largest machine that is filled to the end.
const MOST_GPUS: usize = 16;

/// Which pods come, by how often they came.
#[derive(Clone, Debug)]
pub struct Workload {
    kinds: Vec<(Pod, f64)>,
    streams: Vec<Vec<Pod>>,
}

impl Workload {
    /// The workload of a list of pods, each as likely as another.
    pub fn of(pods: &[Pod]) -> Self {
        let mut counts: BTreeMap<Pod, u64> = BTreeMap::new();
        for pod in pods {
            *counts.entry(*pod).or_default() += 1;
        }
        let total = pods.len().max(1) as f64;
        let kinds = counts.into_iter().map(|(pod, n)| (pod, n as f64 / total)).collect();
        let length = if pods.is_empty() { 0 } else { PODS_PER_GPU * MOST_GPUS };
        let stream = |number: usize| {
            let draws = (number * length..(number + 1) * length).map(|n| scatter(n as u64));
            draws
                .filter_map(|bits| pods.get((bits % pods.len() as u64) as usize).copied())
                .collect()
        };
        Self { kinds, streams: (0..STREAMS).map(stream).collect() }
    }

    /// Thousandths of GPUs on a machine that the expected pod cannot use (the
    /// fragmentation of Weng et al.). A pod without GPUs uses none of them.
    pub(super) fn unusable(&self, host: &Host) -> f64 {
        let of = |pod: &Pod| {
            if pod.gpus == 0 || !host.fits(pod) {
                return host.gpu_free();
            }
            let least = pod.gpu_milli.min(WHOLE);
            host.gpus.iter().filter(|free| **free < least).map(|free| u64::from(*free)).sum()
        };
        self.kinds.iter().map(|(pod, share)| share * of(pod) as f64).sum()
    }

    /// Thousandths of GPUs that stay free, on average, when pods of this
    /// workload are poured into a machine.
    pub(super) fn leftover(&self, host: &Host) -> f64 {
        let pods = PODS_PER_GPU * host.gpus.len().clamp(1, MOST_GPUS);
        let mut left = 0;
        let mut filled = host.clone();
        for stream in &self.streams {
            filled.clone_from(host);
            let mut free = host.gpu_free();
            for pod in stream.iter().take(pods) {
                if free == 0 {
                    break;
                }
                if filled.take_tightest(pod).is_some() {
                    free -= pod.gpu_total();
                }
            }
            left += free;
        }
        left as f64 / STREAMS as f64
    }
}

/// A number for a position, spread over all bits: the finaliser of SplitMix64.
/// Streams are a fixed table, not chance.
fn scatter(position: u64) -> u64 {
    let mut z = (position + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Pod = Pod { cpu_milli: 1, memory_mib: 1, gpus: 1, gpu_milli: 500 };

    fn host(cpu_milli: u64, gpus: &[u32]) -> Host {
        Host { cpu_milli, memory_mib: 1_000, gpus: gpus.to_vec() }
    }

    #[test]
    fn what_the_expected_pod_cannot_use_is_unusable() {
        let workload = Workload::of(&[HALF, HALF, HALF, Pod { gpu_milli: 1_000, ..HALF }]);
        // Of 1,000 and 600 and 400: halves cannot use 400, whole ones 1,000.
        let unusable = workload.unusable(&host(10, &[1_000, 600, 400]));
        assert!((unusable - (0.75 * 400.0 + 0.25 * 1_000.0)).abs() < 1e-9);
        assert!((workload.unusable(&host(0, &[1_000])) - 1_000.0).abs() < 1e-9, "no CPU");
    }

    #[test]
    fn what_is_left_counts_cpus_too() {
        let workload = Workload::of(&[HALF]);
        assert!((workload.leftover(&host(10, &[1_000, 700])) - 200.0).abs() < 1e-9);
        assert!((workload.leftover(&host(2, &[1_000, 700])) - 700.0).abs() < 1e-9);
        assert!((Workload::of(&[]).leftover(&host(2, &[1_000])) - 1_000.0).abs() < 1e-9);
    }
}
