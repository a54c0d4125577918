//! What a machine has and what a job takes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gpu::MigProfile;
use crate::id::Accelerator;
use crate::mig::MigLayout;
use crate::sharing::{SharedGpu, SoftSharing};

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
/// one GPU, a sharing job its part of one; every other job takes whole GPUs (or
/// none).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Share {
    /// Whole GPUs; 0 for a CPU job, a MIG slice and a shared GPU.
    pub gpus: u32,
    /// The slice, where the job takes one.
    pub mig: Option<MigProfile>,
    /// The part of a GPU that it shares softly, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedGpu>,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Main memory in MiB.
    pub memory_mib: u64,
}

/// Where on a machine a part of a GPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GpuSeat {
    /// Which GPU of the machine, from 0.
    pub gpu: u32,
    /// The first memory slice of a MIG instance; 0 for soft sharing.
    pub start: u8,
}

/// What is on a GPU that is not taken whole. One GPU is parted in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parted {
    Mig(MigLayout),
    /// `each_mib` where all that share it take as much.
    Mps {
        used_mib: u64,
        each_mib: Option<u64>,
    },
    TimeSlicing {
        jobs: u32,
        taken: u32,
    },
}

/// What is left of one machine after the shares on it.
///
/// Parts of GPUs have a seat each and keep it: GPUs that carry parts are known
/// one by one, whole GPUs are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    shape: NodeShape,
    whole_gpus: u32,
    parted: BTreeMap<u32, Parted>,
    cpu_milli: u64,
    memory_mib: u64,
}

impl Free {
    /// An empty machine.
    pub fn new(shape: &NodeShape) -> Self {
        Self {
            whole_gpus: 0,
            parted: BTreeMap::new(),
            cpu_milli: shape.cpu_milli,
            memory_mib: shape.memory_mib,
            shape: shape.clone(),
        }
    }

    /// Takes `share` if it fits, a part of a GPU at [`Self::seat_for`]; else
    /// changes nothing and answers false.
    #[must_use]
    pub fn take(&mut self, share: &Share) -> bool {
        let seat = self.seat_for(share);
        self.take_at(share, seat)
    }

    /// Takes `share` with its part of a GPU at `seat` if that is legal; else
    /// changes nothing and answers false. For what runs already, whose seat is
    /// known.
    #[must_use]
    pub fn take_at(&mut self, share: &Share, seat: Option<GpuSeat>) -> bool {
        if share.cpu_milli > self.cpu_milli || share.memory_mib > self.memory_mib {
            return false;
        }
        let takes_part = share.mig.is_some() || share.shared.is_some();
        let parted = match seat.filter(|seat| seat.gpu < self.shape.gpus) {
            None if takes_part => return false,
            Some(seat) if takes_part => {
                let Some(with) = self.with_part(share, seat) else { return false };
                Some((seat.gpu, with))
            }
            _ => None,
        };
        let fresh = parted.is_some_and(|(gpu, _)| !self.parted.contains_key(&gpu));
        if u64::from(share.gpus) + u64::from(fresh) > self.untouched_gpus() {
            return false;
        }
        self.whole_gpus += share.gpus;
        self.parted.extend(parted);
        self.cpu_milli -= share.cpu_milli;
        self.memory_mib -= share.memory_mib;
        true
    }

    /// What a GPU carries once a part of it is taken; none where that is not legal.
    fn with_part(&self, share: &Share, seat: GpuSeat) -> Option<Parted> {
        let present = self.parted.get(&seat.gpu).copied();
        match (share.mig, share.shared.map(|shared| shared.sharing)) {
            (Some(profile), None) => match present.unwrap_or(Parted::Mig(MigLayout::EMPTY)) {
                Parted::Mig(layout) => layout.with(profile, seat.start).map(Parted::Mig),
                _ => None,
            },
            (None, Some(SoftSharing::Mps { memory_mib })) => {
                let (used_mib, each_mib) = match present {
                    None => (0, Some(memory_mib)),
                    Some(Parted::Mps { used_mib, each_mib }) => (used_mib, each_mib),
                    Some(_) => return None,
                };
                let used_mib = used_mib.checked_add(memory_mib)?;
                let each_mib = each_mib.filter(|each| *each == memory_mib);
                (used_mib <= self.shape.gpu_memory_mib)
                    .then_some(Parted::Mps { used_mib, each_mib })
            }
            (None, Some(SoftSharing::TimeSlicing { jobs })) => {
                match present.unwrap_or(Parted::TimeSlicing { jobs, taken: 0 }) {
                    Parted::TimeSlicing { jobs: all, taken } if all == jobs && taken < jobs => {
                        Some(Parted::TimeSlicing { jobs, taken: taken + 1 })
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Where the next part of a GPU goes; none where no GPU holds it, and for a
    /// share without one. GPUs that are parted already come before untouched
    /// ones, so that whole GPUs stay whole; among their places that which wastes
    /// least; ties by GPU and start.
    pub fn seat_for(&self, share: &Share) -> Option<GpuSeat> {
        let starts = match (share.mig, share.shared) {
            (Some(profile), None) => profile.starts(),
            (None, Some(_)) => &[0],
            _ => return None,
        };
        let best_on = |gpu: u32| {
            let at = |start: &u8| {
                let seat = GpuSeat { gpu, start: *start };
                let with = self.with_part(share, seat)?;
                self.alike(share, with).then_some((self.waste(gpu, with), seat))
            };
            starts.iter().filter_map(at).min()
        };
        let parted = self.parted.keys().filter_map(|gpu| best_on(*gpu)).min();
        let untouched = || {
            let first = (0..self.shape.gpus).find(|gpu| !self.parted.contains_key(gpu))?;
            best_on(first).filter(|_| self.untouched_gpus() > 0)
        };
        parted.or_else(untouched).map(|(_, seat)| seat)
    }

    /// What a GPU wastes more than now: slices that some profiles cannot use, or
    /// memory that is left over.
    fn waste(&self, gpu: u32, with: Parted) -> i64 {
        match with {
            Parted::Mig(layout) => {
                let before = match self.parted.get(&gpu) {
                    Some(Parted::Mig(before)) => before.stranded(),
                    _ => 0,
                };
                i64::from(layout.stranded()) - i64::from(before)
            }
            Parted::Mps { used_mib, .. } => {
                i64::try_from(self.shape.gpu_memory_mib - used_mib).unwrap_or(i64::MAX)
            }
            Parted::TimeSlicing { jobs, taken } => i64::from(jobs - taken),
        }
    }

    /// Whether a part chosen by [`Self::seat_for`] leaves the machine with slices
    /// of one profile, and its GPU with MPS shares of one size.
    ///
    /// What is legal is wider ([`Self::take_at`]). But attempts do not keep their
    /// seat yet: a machine is rebuilt from its shares in the order of their ids,
    /// and so what fits must not depend on the order. For slices the planner is
    /// stricter still: it counts one as 1/[`MigProfile::max_per_gpu`] of a GPU, a
    /// valid bound for one profile a machine only.
    fn alike(&self, share: &Share, with: Parted) -> bool {
        match with {
            Parted::Mig(_) => self
                .layouts()
                .all(|(_, layout)| layout.instances().all(|(p, _)| Some(p) == share.mig)),
            Parted::Mps { each_mib, .. } => each_mib.is_some(),
            Parted::TimeSlicing { .. } => true,
        }
    }

    /// The GPUs that carry slices, and their layouts.
    pub fn layouts(&self) -> impl Iterator<Item = (u32, MigLayout)> {
        self.parted.iter().filter_map(|(gpu, parted)| match parted {
            Parted::Mig(layout) => Some((*gpu, *layout)),
            _ => None,
        })
    }

    /// GPUs that nothing is on.
    pub fn untouched_gpus(&self) -> u64 {
        let busy = u64::from(self.whole_gpus) + self.parted.len() as u64;
        u64::from(self.shape.gpus).saturating_sub(busy)
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
mod tests;
