//! Machines while they are filled: what each has left now, and beside the jobs for which
//! it is reserved.

use spotwise_model::resources::Free;
use spotwise_model::{NodeShape, Share};

use super::slot::Slot;
use crate::statement::demand::Request;
use crate::statement::ends::{Leaving, SAME};
use crate::statement::market::Listing;

/// The machines of one listing.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    pub(super) used: Vec<Bin>,
    pub(super) opened: Vec<Bin>,
    pub(super) openable: u64,
    /// The most that may be open of it, as far as limits go that others count against too.
    pub(super) allowed: u64,
    /// The most that any opened machine has left of each: most shelves are
    /// nearly full most of the time, and are passed by with one look.
    pub(super) most: Left,
    /// Machines that are not open yet and are reserved.
    pub(super) kept: Vec<Fresh>,
}

/// Machines that are kept for a job from an hour on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub(super) from: f64,
    pub(super) machines: u64,
    pub(super) holder: usize,
    pub(super) kept: usize,
}

/// One machine.
#[derive(Clone, Debug)]
pub(super) struct Bin {
    pub(super) free: Free,
    pub(super) left: Left,
    /// The bucket of the longest job that this round put on it.
    pub(super) bucket: usize,
    /// Hours from now until the last job that this round put on it is gone.
    pub(super) ends: f64,
    /// Room of it that is reserved.
    pub(super) kept: Option<Spare>,
}

/// What a machine has left beside a job for which it is reserved from an hour on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spare {
    pub(super) from: f64,
    pub(super) left: Left,
    pub(super) holder: usize,
    pub(super) kept: usize,
}

/// What is left, as numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    pub(super) whole_gpus: u32,
    pub(super) cpu_milli: u64,
    pub(super) memory_mib: u64,
}

impl Left {
    pub(super) fn of(free: &Free) -> Self {
        let whole_gpus = u32::try_from(free.untouched_gpus()).unwrap_or(u32::MAX);
        Self { whole_gpus, cpu_milli: free.cpu_milli(), memory_mib: free.memory_mib() }
    }

    /// Whether that much is there; a part of a GPU needs a closer look.
    pub(super) const fn may_hold(&self, share: &Share) -> bool {
        share.gpus <= self.whole_gpus
            && share.cpu_milli <= self.cpu_milli
            && share.memory_mib <= self.memory_mib
    }

    /// Down to nothing where there is less.
    pub(super) fn subtract(&mut self, share: &Share) {
        self.whole_gpus = self.whole_gpus.saturating_sub(share.gpus);
        self.cpu_milli = self.cpu_milli.saturating_sub(share.cpu_milli);
        self.memory_mib = self.memory_mib.saturating_sub(share.memory_mib);
    }

    pub(super) fn most(self, other: Self) -> Self {
        Self {
            whole_gpus: self.whole_gpus.max(other.whole_gpus),
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_mib: self.memory_mib.max(other.memory_mib),
        }
    }
}

/// What is left of a machine at an hour, when those who run on it and are expected to
/// be gone by then are gone. A GPU that is parted counts again once all are.
pub(super) fn left_at<'l>(
    now: Left,
    shape: &NodeShape,
    on_it: impl Iterator<Item = &'l Leaving<'l>>,
    at: f64,
) -> Left {
    let mut left = now;
    for gone in on_it.filter(|leaving| leaving.at <= at + SAME) {
        left.cpu_milli = left.cpu_milli.saturating_add(gone.share.cpu_milli);
        left.memory_mib = left.memory_mib.saturating_add(gone.share.memory_mib);
        left.whole_gpus = left.whole_gpus.saturating_add(gone.share.gpus);
    }
    let empty = Left::of(&Free::new(shape));
    if left.cpu_milli >= empty.cpu_milli && left.memory_mib >= empty.memory_mib {
        return empty;
    }
    left
}

impl Bin {
    pub(super) fn new(free: Free) -> Self {
        Self { left: Left::of(&free), free, bucket: 0, ends: 0.0, kept: None }
    }

    pub(super) fn holds(&self, request: &Request) -> bool {
        self.holds_now(&request.share) && self.kept_from(request).is_none()
    }

    pub(super) fn holds_now(&self, share: &Share) -> bool {
        self.left.may_hold(share) && (!share.takes_part() || self.free.clone().take(share))
    }

    /// The reservation whose room a job would take, if it would. Which part of a GPU that
    /// is nobody knows yet.
    pub(super) fn kept_from(&self, request: &Request) -> Option<usize> {
        let spare = self.kept.as_ref().filter(|spare| spare.counts(request))?;
        let fits = !request.share.takes_part() && spare.left.may_hold(&request.share);
        (!fits).then_some(spare.kept)
    }

    pub(super) fn take(&mut self, request: &Request) -> bool {
        let share = &request.share;
        let taken = self.free.take(share);
        if let Some(spare) = self.kept.as_mut().filter(|spare| spare.counts(request)) {
            spare.left.subtract(share);
        }
        self.ends = self.ends.max(request.ends);
        self.left = if share.takes_part() {
            Left::of(&self.free)
        } else {
            let taken_gpus = if taken { share.gpus } else { 0 };
            Left {
                whole_gpus: self.left.whole_gpus.saturating_sub(taken_gpus),
                cpu_milli: self.free.cpu_milli(),
                memory_mib: self.free.memory_mib(),
            }
        };
        taken
    }
}

impl Spare {
    pub(super) fn counts(&self, request: &Request) -> bool {
        request.number != self.holder && request.ends > self.from + SAME
    }
}

impl Fresh {
    pub(super) fn counts(&self, request: &Request) -> bool {
        request.number != self.holder && request.ends > self.from + SAME
    }
}

impl Shelf {
    pub(super) fn new(listing: &Listing<'_>) -> Self {
        Self {
            used: listing.used.iter().map(|(_, free)| Bin::new(free.clone())).collect(),
            opened: Vec::new(),
            openable: listing.openable(),
            allowed: u64::MAX,
            most: Left::default(),
            kept: Vec::new(),
        }
    }

    pub(super) fn open(&mut self, shape: &NodeShape) {
        let bin = Bin::new(Free::new(shape));
        self.most = self.most.most(bin.left);
        self.opened.push(bin);
    }

    pub(super) fn unopened(&self) -> u64 {
        self.openable.min(self.allowed).saturating_sub(self.opened.len() as u64)
    }

    /// The first of these machines for a gang, as many as it has nodes, of which it keeps no
    /// more beyond an hour than nobody has reserved from then on.
    pub(super) fn not_reserved(
        &self,
        request: &Request,
        slots: Vec<(f64, Slot)>,
        mut left: Option<(u64, f64)>,
    ) -> Vec<(f64, Slot)> {
        let mut first = Vec::with_capacity(request.nodes as usize);
        for (cost, slot) in slots {
            if first.len() == request.nodes as usize {
                break;
            }
            if let Some((most, from)) = left.as_mut() {
                let stays = match slot {
                    Slot::Used(_) => true,
                    Slot::Opened(i) => self.opened.get(i).is_some_and(|b| b.ends > *from + SAME),
                    Slot::Fresh => false,
                };
                match (stays, most.checked_sub(1)) {
                    (true, _) => {}
                    (false, Some(less)) => *most = less,
                    (false, None) => continue,
                }
            }
            first.push((cost, slot));
        }
        first
    }

    /// How many machines more a job may keep beyond the hour from which some are
    /// reserved, where it stays that long.
    pub(super) fn most_for(&self, request: &Request) -> Option<(u64, f64)> {
        let counts = self.kept.iter().filter(|fresh| fresh.counts(request));
        let from = counts.map(|fresh| fresh.from).reduce(f64::min)?;
        Some((self.beyond(request, from), from))
    }

    /// How many that is beyond an hour.
    pub(super) fn beyond(&self, request: &Request, from: f64) -> u64 {
        let counts = self.kept.iter().filter(|fresh| fresh.counts(request));
        let reserved: u64 = counts.map(|fresh| fresh.machines).sum();
        let stay = self.opened.iter().filter(|bin| bin.ends > from + SAME).count() as u64;
        self.openable.saturating_sub(reserved).saturating_sub(stay)
    }

    pub(super) fn refresh(&mut self) {
        self.most = self.opened.iter().map(|bin| bin.left).fold(Left::default(), Left::most);
    }
}
