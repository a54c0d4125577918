//! Machines and what pods take of them.

/// A GPU that nothing has been taken of, in thousandths.
pub(super) const WHOLE: u32 = 1_000;

/// What one pod takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pod {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory in MiB.
    pub memory_mib: u64,
    /// Number of GPUs; 0 for none.
    pub gpus: u32,
    /// Thousandths of each GPU: 1,000 for whole ones. Less than that takes a
    /// part of one GPU only.
    pub gpu_milli: u32,
}

impl Pod {
    /// Thousandths of GPUs, all together.
    pub fn gpu_total(&self) -> u64 {
        u64::from(self.gpus) * u64::from(self.gpu_milli)
    }

    fn is_part(&self) -> bool {
        self.gpus > 0 && self.gpu_milli < WHOLE
    }
}

/// What is left of one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory in MiB.
    pub memory_mib: u64,
    /// Free thousandths of each GPU.
    pub gpus: Vec<u32>,
}

impl Host {
    /// Free thousandths of GPUs, all together.
    pub fn gpu_free(&self) -> u64 {
        self.gpus.iter().map(|free| u64::from(*free)).sum()
    }

    /// Whether a pod fits.
    pub fn fits(&self, pod: &Pod) -> bool {
        self.cpu_milli >= pod.cpu_milli
            && self.memory_mib >= pod.memory_mib
            && (pod.gpus == 0 || self.gpus_for(pod) >= pod.gpus)
    }

    /// How many GPUs have as much left as a pod takes of each.
    fn gpus_for(&self, pod: &Pod) -> u32 {
        let enough = self.gpus.iter().filter(|free| **free >= pod.gpu_milli).count();
        let enough = u32::try_from(enough).unwrap_or(u32::MAX);
        // More than one part of a GPU is nothing that a pod can ask for.
        if pod.is_part() && pod.gpus > 1 { 0 } else { enough }
    }

    /// The GPUs that a pod may begin with; of GPUs with as much left, the first.
    /// For whole GPUs, and for none, there is one answer: position 0.
    pub(super) fn options(&self, pod: &Pod) -> Vec<usize> {
        if !self.fits(pod) {
            return Vec::new();
        }
        if !pod.is_part() {
            return vec![0];
        }
        let mut seen: Vec<u32> = Vec::new();
        let enough = self.gpus.iter().enumerate().filter(|(_, free)| **free >= pod.gpu_milli);
        let first = enough.filter(|(_, free)| {
            let new = !seen.contains(free);
            seen.push(**free);
            new
        });
        first.map(|(gpu, _)| gpu).collect()
    }

    /// Takes a pod that fits; a part of a GPU of `gpu`, whole ones from the first
    /// that are free. Answers false, and takes nothing, where it does not fit.
    #[must_use]
    pub fn take(&mut self, pod: &Pod, gpu: usize) -> bool {
        let fits_there = !pod.is_part() || self.gpus.get(gpu).is_some_and(|f| *f >= pod.gpu_milli);
        if !self.fits(pod) || !fits_there {
            return false;
        }
        self.cpu_milli -= pod.cpu_milli;
        self.memory_mib -= pod.memory_mib;
        if pod.is_part() {
            if let Some(free) = self.gpus.get_mut(gpu) {
                *free -= pod.gpu_milli;
            }
        } else if pod.gpus > 0 {
            let whole = self.gpus.iter_mut().filter(|free| **free >= WHOLE);
            whole.take(pod.gpus as usize).for_each(|free| *free -= WHOLE);
        }
        true
    }

    /// Takes a pod where it fits, a part of a GPU from the one with the least
    /// left; answers the GPU.
    pub(super) fn take_tightest(&mut self, pod: &Pod) -> Option<usize> {
        // Most pods that are tried do not fit: see that first.
        if !self.fits(pod) {
            return None;
        }
        let enough = self.gpus.iter().enumerate().filter(|(_, free)| **free >= pod.gpu_milli);
        let tightest = enough.min_by_key(|(gpu, free)| (**free, *gpu)).map_or(0, |(gpu, _)| gpu);
        self.take(pod, tightest).then_some(tightest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_gpus_and_parts_are_taken_where_they_fit() {
        let mut host = Host { cpu_milli: 10, memory_mib: 10, gpus: vec![WHOLE; 2] };
        let part = Pod { cpu_milli: 1, memory_mib: 1, gpus: 1, gpu_milli: 600 };
        assert!(host.take(&part, 1));
        assert!(!host.take(&part, 1), "400 left");
        let whole = Pod { gpu_milli: 1_000, ..part };
        assert!(!host.fits(&Pod { gpus: 2, ..whole }));
        assert!(host.take(&whole, 1), "whole GPUs come from where they are");
        assert_eq!(host, Host { cpu_milli: 8, memory_mib: 8, gpus: vec![0, 400] });
        assert!(!host.fits(&Pod { gpus: 2, gpu_milli: 100, ..part }), "parts are of one GPU");
        assert!(host.fits(&Pod { gpus: 0, gpu_milli: 0, ..part }), "CPU alone");
        assert!(!host.fits(&Pod { cpu_milli: 9, gpus: 0, ..part }), "no CPU left");
        assert!(!host.take(&Pod { gpu_milli: 100, ..part }, 7), "there is no such GPU");
    }
}
