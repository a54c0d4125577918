//! What a machine has and what a job takes of it.

use serde::{Deserialize, Serialize};

use crate::gpu::MigProfile;
use crate::id::Accelerator;

/// What one machine of an offer has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShape {
    /// The accelerator model, where the machine has one.
    pub accelerator: Option<Accelerator>,
    /// Number of accelerators.
    pub gpus: u32,
    /// Memory of each accelerator in MiB; 0 without one.
    pub gpu_memory_mib: u64,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory in MiB.
    pub memory_mib: u64,
}

/// What one node of a job takes of one machine. A MIG job takes one slice of
/// one GPU; every other job takes whole GPUs (or none).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Share {
    /// Whole GPUs; 0 for a CPU job and for a MIG slice.
    pub gpus: u32,
    /// The slice, where the job takes one.
    pub mig: Option<MigProfile>,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory in MiB.
    pub memory_mib: u64,
}

/// What is left of one machine after the shares on it.
///
/// MIG in this version: a machine's GPUs that carry slices carry one profile
/// only, so a legal layout always exists (`max_per_gpu` of it on each GPU).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    shape: NodeShape,
    whole_gpus: u32,
    slices: Option<(MigProfile, u32)>,
    cpu_milli: u64,
    memory_mib: u64,
}

impl Free {
    /// An empty machine.
    pub fn new(shape: &NodeShape) -> Self {
        Self {
            whole_gpus: 0,
            slices: None,
            cpu_milli: shape.cpu_milli,
            memory_mib: shape.memory_mib,
            shape: shape.clone(),
        }
    }

    /// Takes `share` if it fits; else changes nothing and answers false.
    #[must_use]
    pub fn take(&mut self, share: &Share) -> bool {
        if share.cpu_milli > self.cpu_milli || share.memory_mib > self.memory_mib {
            return false;
        }
        let whole_gpus = self.whole_gpus + share.gpus;
        let slices = match (share.mig, self.slices) {
            (None, slices) => slices,
            (Some(profile), None) => Some((profile, 1)),
            (Some(profile), Some((present, n))) if profile == present => Some((profile, n + 1)),
            (Some(_), Some(_)) => return false,
        };
        let sliced_gpus = slices.map_or(0, |(profile, n)| n.div_ceil(profile.max_per_gpu()));
        if whole_gpus + sliced_gpus > self.shape.gpus {
            return false;
        }
        self.whole_gpus = whole_gpus;
        self.slices = slices;
        self.cpu_milli -= share.cpu_milli;
        self.memory_mib -= share.memory_mib;
        true
    }

    /// CPU left, in thousandths.
    pub const fn cpu_milli(&self) -> u64 {
        self.cpu_milli
    }

    /// Main memory left, in MiB.
    pub const fn memory_mib(&self) -> u64 {
        self.memory_mib
    }
}

impl NodeShape {
    /// Whether an empty machine of this shape holds `share`.
    pub fn holds(&self, share: &Share) -> bool {
        Free::new(self).take(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a100x2() -> NodeShape {
        NodeShape {
            accelerator: Some(Accelerator::new("A100")),
            gpus: 2,
            gpu_memory_mib: 40_960,
            cpu_milli: 16_000,
            memory_mib: 65_536,
        }
    }

    #[test]
    fn a_machine_is_never_overfilled() {
        let mut free = Free::new(&a100x2());
        let one = Share { gpus: 1, cpu_milli: 4_000, memory_mib: 1_024, mig: None };
        assert!(free.take(&one));
        assert!(free.take(&one));
        assert!(!free.take(&one), "no third GPU");
        assert_eq!(free.cpu_milli(), 8_000);
    }

    #[test]
    fn slices_of_two_profiles_do_not_share_a_machine() {
        let mut free = Free::new(&a100x2());
        let slice = |profile| Share { mig: Some(profile), cpu_milli: 100, ..Share::default() };
        for _ in 0..14 {
            assert!(free.take(&slice(MigProfile::G1)));
        }
        assert!(!free.take(&slice(MigProfile::G1)), "fourteen slices fill two GPUs");
        let mut free = Free::new(&a100x2());
        assert!(free.take(&slice(MigProfile::G3)));
        assert!(!free.take(&slice(MigProfile::G2)));
    }
}
