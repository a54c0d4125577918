//! What a world came to.

use std::collections::BTreeMap;

use super::super::time::Ms;
use super::super::worker::Pid;

/// Figures of a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) plans: u64,
    pub(crate) rounds: u64,
    pub(crate) workers: u64,
    pub(crate) leaders: u64,
    pub(crate) away_since: Option<Ms>,
    /// After the loss of the leader or the store: from when a scheduler and the
    /// store were there (again) to the next round.
    pub(crate) recoveries: Vec<Ms>,
    pub(crate) longest_orphan: Ms,
    /// For how long a machine of the account had no reason to be.
    pub(crate) longest_unreasoned: Ms,
    /// Commands without their worker beside which a replacement runs, and since when.
    pub(super) abandoned: BTreeMap<Pid, Ms>,
    /// The longest time that such a command ran on.
    pub(crate) longest_overlap: Ms,
    pub(crate) overrun: i64,
    /// Over a budget by a rise of the price that nobody could tell a worker of.
    pub(crate) overrun_by_rise: i64,
    /// Since when no round can be written, and the times before.
    pub(super) gap_since: Option<Ms>,
    pub(super) gaps: Vec<(Ms, Ms)>,
    pub(crate) attempts: u64,
    pub(crate) interruptions: u64,
    pub(crate) jobs: u64,
    pub(crate) charged: i64,
    /// Of them what commitments paid.
    pub(crate) committed: i64,
    /// Micro-dollars that the ledger has and the meter has not.
    pub(crate) overcharged: i64,
    /// Micro-dollars that the meter has and the ledger has not.
    pub(crate) uncharged: i64,
    /// Rounds and machines with slices of several profiles on one GPU.
    pub(crate) mixed: u64,
}
