//! What a machine has and what a job takes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gpu::MigProfile;
use crate::id::Accelerator;
use crate::mig::MigLayout;
use crate::sharing::{SharedGpu, SoftSharing};

/// Units of one GPU, to reckon parts of it in whole numbers: MIG's 2, 3, 4 and 7
/// slices divide it and so do the usual numbers of turns; any other part is
/// rounded down, by less than two hundred-millionths of a GPU.
pub const GPU_UNITS: u64 = 84_000_000;

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

impl Share {
    /// Whether it takes a part of a GPU: a slice, or a place on one that is shared.
    pub const fn takes_part(&self) -> bool {
        self.mig.is_some() || self.shared.is_some()
    }

    /// Units of a machine's GPUs that it takes: a slice as many as fit beside its
    /// like, a share by MPS as its memory goes into that of the machine's GPUs,
    /// one in turns by their number. What [`Free::take`] puts on a GPU adds up to
    /// [`GPU_UNITS`] at most. What is charged may be more: see
    /// [`SharedGpu::millionths`].
    pub fn gpu_units(&self, shape: &NodeShape) -> u64 {
        let slice = self.mig.map_or(0, |p| GPU_UNITS / u64::from(p.max_per_gpu().max(1)));
        let part = match self.shared.map(|shared| shared.sharing) {
            None => 0,
            Some(SoftSharing::Mps { memory_mib }) => memory_units(memory_mib, shape),
            Some(SoftSharing::TimeSlicing { jobs }) => GPU_UNITS / u64::from(jobs.max(1)),
        };
        (u64::from(self.gpus) * GPU_UNITS).saturating_add(slice).saturating_add(part)
    }
}

/// GPU units of so much memory of one GPU; all of them where that is unknown.
fn memory_units(memory_mib: u64, shape: &NodeShape) -> u64 {
    let units = u128::from(memory_mib) * u128::from(GPU_UNITS);
    let part = units.checked_div(shape.gpu_memory_mib.into());
    part.and_then(|part| u64::try_from(part).ok()).unwrap_or(GPU_UNITS).min(GPU_UNITS)
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
        let takes_part = share.takes_part();
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

    /// GPU units left, on untouched GPUs and beside the parts on the others: no
    /// shares that still fit take more together, by [`Share::gpu_units`].
    pub fn gpu_units(&self) -> u64 {
        let beside = |parted: &Parted| match *parted {
            Parted::Mig(layout) => {
                let unit = |p: MigProfile| GPU_UNITS / u64::from(p.max_per_gpu().max(1));
                let taken = layout.instances().map(|(profile, _)| unit(profile)).sum();
                GPU_UNITS.saturating_sub(taken)
            }
            Parted::Mps { used_mib, .. } => {
                let left = self.shape.gpu_memory_mib.saturating_sub(used_mib);
                if left == 0 { 0 } else { memory_units(left, &self.shape) }
            }
            Parted::TimeSlicing { jobs, taken } => {
                u64::from(jobs.saturating_sub(taken)) * (GPU_UNITS / u64::from(jobs.max(1)))
            }
        };
        let parted: u64 = self.parted.values().map(beside).sum();
        self.untouched_gpus() * GPU_UNITS + parted
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
