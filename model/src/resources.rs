//! What a machine has and what a job takes of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::gpu::MigProfile;
use crate::id::Accelerator;
use crate::mig::{MEASURES, measures_of};
use crate::sharing::{SharedGpu, SoftSharing};

mod free;

pub use crate::gpu::GPU_UNITS;
pub use free::{Cost, Free};

/// What one machine of an offer has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShape {
    /// The accelerator model, if the machine has one.
    pub accelerator: Option<Accelerator>,
    /// Number of accelerators.
    pub gpus: u32,
    /// Memory of each accelerator in MiB; 0 if there is none.
    pub gpu_memory_mib: u64,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory in MiB.
    pub memory_mib: u64,
}

/// What one node of a job takes of one machine. A MIG job takes one slice of
/// one GPU, a sharing job its part of one; every other job takes whole GPUs (or
/// none).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Share {
    /// Whole GPUs; 0 for a CPU job, a MIG slice and a shared GPU.
    pub gpus: u32,
    /// The slice, if the job takes one.
    pub mig: Option<MigProfile>,
    /// The part of a softly shared GPU, if the job takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedGpu>,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory in MiB.
    pub memory_mib: u64,
}

impl Share {
    /// Whether it takes part of a GPU: a slice, or a place on a shared one.
    pub const fn takes_part(&self) -> bool {
        self.mig.is_some() || self.shared.is_some()
    }

    /// Units of a machine's GPUs that it takes: a slice by its compute slices, as it is
    /// charged; an MPS share by its memory as a fraction of that of the machine's GPUs; a
    /// time-sliced one by the number of jobs. What [`Free::take`] puts on a GPU adds up to
    /// at most [`GPU_UNITS`]. What is charged for MPS may be more: see
    /// [`SharedGpu::millionths`].
    pub fn gpu_units(&self, shape: &NodeShape) -> u64 {
        let [compute, ..] = self.gpu_measures(shape);
        compute
    }

    /// The same measured in several ways, which differ only for slices ([`measures_of`]):
    /// [`Self::gpu_units`] comes first.
    pub fn gpu_measures(&self, shape: &NodeShape) -> [u64; MEASURES] {
        let part = match self.shared.map(|shared| shared.sharing) {
            None => 0,
            Some(SoftSharing::Mps { memory_mib }) => memory_units(memory_mib, shape),
            Some(SoftSharing::TimeSlicing { jobs }) => GPU_UNITS / u64::from(jobs.max(1)),
        };
        let alike = (u64::from(self.gpus) * GPU_UNITS).saturating_add(part);
        let slice = self.mig.map_or([0; MEASURES], measures_of);
        slice.map(|slice| slice.saturating_add(alike))
    }
}

/// GPU units of an amount of memory of one GPU; all of them if its memory is unknown.
fn memory_units(memory_mib: u64, shape: &NodeShape) -> u64 {
    let units = u128::from(memory_mib) * u128::from(GPU_UNITS);
    let part = units.checked_div(shape.gpu_memory_mib.into());
    part.and_then(|part| u64::try_from(part).ok()).unwrap_or(GPU_UNITS).min(GPU_UNITS)
}

/// The position of a part of a GPU on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GpuSlot {
    /// Which GPU of the machine, from 0.
    pub gpu: u32,
    /// The first memory slice of a MIG instance; 0 for soft sharing.
    pub start: u8,
}

/// As `GPU.START`, the form used in assignments and the store.
impl fmt::Display for GpuSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.gpu, self.start)
    }
}

impl NodeShape {
    /// Whether an empty machine of this shape holds `share`.
    pub fn holds(&self, share: &Share) -> bool {
        Free::new(self).take(share)
    }
}

#[cfg(test)]
mod tests;
