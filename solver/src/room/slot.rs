//! Machines for the nodes of one job.

/// A machine for one node, in the order in which equal prices are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Used(usize),
    Opened(usize),
    Fresh,
}

/// Machines for all nodes, and what they add to the objective.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    pub(super) slots: Slots,
    pub(crate) cost: f64,
}

/// Nearly every job has one node: no allocation for it.
#[derive(Clone, Debug)]
pub(super) enum Slots {
    One(Slot),
    Many(Vec<Slot>),
}

impl Slots {
    pub(super) fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }
}
