//! What is left of one machine after the shares on it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{GpuSlot, NodeShape, Share, memory_units};
use crate::gpu::{GPU_UNITS, MigProfile};
use crate::mig::{MEASURES, MigLayout, SliceRoom};
use crate::sharing::SoftSharing;

/// What is on a GPU that is not taken whole. Each GPU is divided in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parted {
    Mig(MigLayout),
    /// `each_mib` if all that share it take the same amount.
    Mps {
        used_mib: u64,
        each_mib: Option<u64>,
    },
    TimeSlicing {
        jobs: u32,
        taken: u32,
    },
}

/// What a layout of a GPU costs, in any unit.
pub type Cost<'c> = dyn Fn(MigLayout) -> i64 + 'c;

/// What is left of one machine after the shares on it.
///
/// What is running has its slot and keeps it ([`Self::take_at`]). Slices that are only
/// planned ([`Self::take`]) are counted, and may still lie anywhere next to what is
/// running: what fits does not depend on their order. [`Self::assign_slots`] gives all of a
/// plan's slices their slots together. Whole GPUs are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    shape: NodeShape,
    whole_gpus: u32,
    parted: BTreeMap<u32, Parted>,
    /// Slices without a slot, by profile, and the fewest untouched GPUs that they need in
    /// addition to what the cut ones have left.
    loose: [u32; 6],
    loose_gpus: u32,
    cpu_milli: u64,
    memory_mib: u64,
}

impl Free {
    /// An empty machine.
    pub fn new(shape: &NodeShape) -> Self {
        Self {
            whole_gpus: 0,
            parted: BTreeMap::new(),
            loose: [0; 6],
            loose_gpus: 0,
            cpu_milli: shape.cpu_milli,
            memory_mib: shape.memory_mib,
            shape: shape.clone(),
        }
    }

    /// Takes `share` if it fits, a slice without a slot yet and another part of a GPU at
    /// [`Self::slot_for`]; otherwise changes nothing and returns false.
    #[must_use]
    pub fn take(&mut self, share: &Share) -> bool {
        match (share.mig, share.shared) {
            (Some(profile), None) => self.take_loose(share, profile),
            _ => self.take_at(share, self.slot_for(share)),
        }
    }

    fn take_loose(&mut self, share: &Share, profile: MigProfile) -> bool {
        let Some(loose) = one_more(self.loose, profile) else { return false };
        if !self.fits_beside_gpus(share) {
            return false;
        }
        let busy = u64::from(self.whole_gpus) + u64::from(share.gpus) + self.parted.len() as u64;
        let Some(most) = u64::from(self.shape.gpus).checked_sub(busy) else { return false };
        let Some(loose_gpus) = self.gpus_for(loose, self.loose_gpus, most) else { return false };
        (self.loose, self.loose_gpus) = (loose, loose_gpus);
        self.subtract(share);
        true
    }

    /// Takes `share` with its part of a GPU at `slot` if that is legal; otherwise changes
    /// nothing and returns false. For shares already running, whose slot is known.
    #[must_use]
    pub fn take_at(&mut self, share: &Share, slot: Option<GpuSlot>) -> bool {
        if !self.fits_beside_gpus(share) {
            return false;
        }
        let takes_part = share.takes_part();
        let parted = match slot.filter(|slot| slot.gpu < self.shape.gpus) {
            None if takes_part => return false,
            Some(slot) if takes_part => {
                let Some(with) = self.with_part(share, slot) else { return false };
                Some((slot.gpu, with))
            }
            _ => None,
        };
        let before = parted.map(|(gpu, with)| (gpu, self.parted.insert(gpu, with)));
        let busy = u64::from(self.whole_gpus) + u64::from(share.gpus) + self.parted.len() as u64;
        let most = u64::from(self.shape.gpus).checked_sub(busy);
        // A slot in the rest of a cut GPU is one that loose slices may have meant.
        let Some(loose_gpus) = most.and_then(|most| self.gpus_for(self.loose, 0, most)) else {
            match before {
                Some((gpu, Some(was))) => {
                    self.parted.insert(gpu, was);
                }
                Some((gpu, None)) => {
                    self.parted.remove(&gpu);
                }
                None => {}
            }
            return false;
        };
        self.loose_gpus = loose_gpus;
        self.subtract(share);
        true
    }

    const fn fits_beside_gpus(&self, share: &Share) -> bool {
        share.cpu_milli <= self.cpu_milli && share.memory_mib <= self.memory_mib
    }

    /// For a share that fits.
    fn subtract(&mut self, share: &Share) {
        self.whole_gpus += share.gpus;
        self.cpu_milli -= share.cpu_milli;
        self.memory_mib -= share.memory_mib;
    }

    /// The fewest untouched GPUs, from `least` to `most`, that slices without a slot need
    /// in addition to what the cut ones have left; `None` if that is too few.
    fn gpus_for(&self, loose: [u32; 6], least: u32, most: u64) -> Option<u32> {
        if loose == [0; 6] {
            return Some(0);
        }
        let rest = self.cut().fold(SliceRoom::default(), SliceRoom::plus);
        let holds = |gpus: &u32| rest.plus(SliceRoom::empty((*gpus).into())).holds(loose);
        (least..=u32::try_from(most).unwrap_or(u32::MAX)).find(holds)
    }

    /// What each GPU that carries slices has left for more.
    fn cut(&self) -> impl Iterator<Item = SliceRoom> {
        self.layouts().map(|(_, layout)| SliceRoom::of(layout))
    }

    /// What a GPU carries once a part of it is taken; `None` if that is not legal.
    fn with_part(&self, share: &Share, slot: GpuSlot) -> Option<Parted> {
        let present = self.parted.get(&slot.gpu).copied();
        match (share.mig, share.shared.map(|shared| shared.sharing)) {
            (Some(profile), None) => match present.unwrap_or(Parted::Mig(MigLayout::EMPTY)) {
                Parted::Mig(layout) => layout.with(profile, slot.start).map(Parted::Mig),
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

    /// Where the next part of a GPU goes; `None` if no GPU holds it, and for a share
    /// without one. The choice that leaves most GPUs whole, then wastes least; ties by GPU
    /// and start.
    pub fn slot_for(&self, share: &Share) -> Option<GpuSlot> {
        self.cheapest_slot(share, &|layout| layout.stranded().into())
    }

    /// The same, weighed by the cost of each layout of a GPU.
    fn cheapest_slot(&self, share: &Share, cost: &Cost<'_>) -> Option<GpuSlot> {
        let starts = match (share.mig, share.shared) {
            (Some(profile), None) => profile.starts(),
            (None, Some(_)) => &[0],
            _ => return None,
        };
        let first = (0..self.shape.gpus).find(|gpu| !self.parted.contains_key(gpu));
        let slots = self.parted.keys().copied().chain(first);
        let slots = slots.flat_map(|gpu| starts.iter().map(move |at| GpuSlot { gpu, start: *at }));
        let wasted = |slot: GpuSlot| {
            let with = self.with_part(share, slot).filter(|with| one_size(*with))?;
            let mut after = self.clone();
            let taken = after.take_at(share, Some(slot));
            taken.then(|| (after.busy_gpus(), self.waste(slot.gpu, with, cost), slot))
        };
        slots.filter_map(wasted).min().map(|(.., slot)| slot)
    }

    /// Takes all of these shares and gives each part of a GPU its slot; or takes none if
    /// they do not fit together. Slots are chosen jointly: whatever [`Self::take`] says
    /// fits gets one, large slices first, each where it leaves room for the others of the
    /// plan and, among such places, where the cost of the GPU's layout grows least.
    pub fn assign_slots(
        &mut self,
        shares: &[Share],
        cost: &Cost<'_>,
    ) -> Option<Vec<Option<GpuSlot>>> {
        let mut next = self.clone();
        let mut slots = vec![None; shares.len()];
        let (mut slices, others): (Vec<_>, Vec<_>) =
            shares.iter().zip(&mut slots).partition(|(share, _)| share.mig.is_some());
        for (share, place) in others {
            *place = next.slot_for(share);
            if !next.take_at(share, *place) {
                return None;
            }
        }
        // All are loose until their turn comes: so room is kept for them.
        if !slices.iter().all(|(share, _)| next.take(share)) {
            return None;
        }
        slices.sort_by_key(|(share, _)| Reverse(share.mig));
        for (share, place) in slices {
            next.give_back(share)?;
            *place = next.cheapest_slot(share, cost);
            if !next.take_at(share, *place) {
                return None;
            }
        }
        *self = next;
        Some(slots)
    }

    /// Undoes [`Self::take`] for a slice.
    fn give_back(&mut self, share: &Share) -> Option<()> {
        let loose = self.loose.get_mut(share.mig?.index())?;
        *loose = loose.checked_sub(1)?;
        self.whole_gpus = self.whole_gpus.checked_sub(share.gpus)?;
        self.cpu_milli += share.cpu_milli;
        self.memory_mib += share.memory_mib;
        self.loose_gpus = self.gpus_for(self.loose, 0, self.loose_gpus.into())?;
        Some(())
    }

    /// How much more a GPU wastes than now: by its layout, or memory left over.
    fn waste(&self, gpu: u32, with: Parted, cost: &Cost<'_>) -> i64 {
        let signed = |waste: u64| i64::try_from(waste).unwrap_or(i64::MAX);
        match with {
            Parted::Mig(layout) => {
                let before = match self.parted.get(&gpu) {
                    Some(Parted::Mig(before)) => *before,
                    _ => MigLayout::EMPTY,
                };
                cost(layout).saturating_sub(cost(before))
            }
            Parted::Mps { used_mib, .. } => signed(self.shape.gpu_memory_mib - used_mib),
            Parted::TimeSlicing { jobs, taken } => i64::from(jobs - taken),
        }
    }

    /// The GPUs that carry slices, and their layouts.
    pub fn layouts(&self) -> impl Iterator<Item = (u32, MigLayout)> {
        self.parted.iter().filter_map(|(gpu, parted)| match parted {
            Parted::Mig(layout) => Some((*gpu, *layout)),
            _ => None,
        })
    }

    /// GPUs with nothing on them that no slice without a slot needs.
    pub fn untouched_gpus(&self) -> u64 {
        u64::from(self.shape.gpus).saturating_sub(self.busy_gpus())
    }

    fn busy_gpus(&self) -> u64 {
        u64::from(self.whole_gpus) + u64::from(self.loose_gpus) + self.parted.len() as u64
    }

    /// GPU units left, by compute slices: [`Self::gpu_measures`] says more.
    pub fn gpu_units(&self) -> u64 {
        let [compute, ..] = self.gpu_measures();
        compute
    }

    /// GPU units left, on untouched GPUs and next to the parts on the others: no shares
    /// that still fit take more together, by [`Share::gpu_measures`].
    pub fn gpu_measures(&self) -> [u64; MEASURES] {
        let beside = |parted: &Parted| match *parted {
            Parted::Mig(_) => 0,
            Parted::Mps { used_mib, .. } => {
                let left = self.shape.gpu_memory_mib.saturating_sub(used_mib);
                if left == 0 { 0 } else { memory_units(left, &self.shape) }
            }
            Parted::TimeSlicing { jobs, taken } => {
                u64::from(jobs.saturating_sub(taken)) * (GPU_UNITS / u64::from(jobs.max(1)))
            }
        };
        let beside: u64 = self.parted.values().map(beside).sum();
        let untouched = self.untouched_gpus() + u64::from(self.loose_gpus);
        let cut = self.cut().fold(SliceRoom::empty(untouched), SliceRoom::plus);
        let mut left = cut.measures().map(|cut| cut.saturating_add(beside));
        for (profile, n) in MigProfile::ALL.into_iter().zip(self.loose) {
            let taken = crate::mig::measures_of(profile);
            let rows = left.iter_mut().zip(taken);
            rows.for_each(|(left, one)| *left = left.saturating_sub(one * u64::from(n)));
        }
        left
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

/// Whether a GPU carries MPS shares of one size. More than that is legal
/// ([`Free::take_at`]); but this way what fits does not depend on the order.
const fn one_size(with: Parted) -> bool {
    !matches!(with, Parted::Mps { each_mib: None, .. })
}

fn one_more(mut counts: [u32; 6], profile: MigProfile) -> Option<[u32; 6]> {
    let count = counts.get_mut(profile.index())?;
    *count = count.checked_add(1)?;
    Some(counts)
}
