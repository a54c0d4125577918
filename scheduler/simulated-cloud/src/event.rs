//! What happens by itself.

use jiff::Timestamp;
use spotwise_model::id::ProviderId;

use crate::machine::{Mark, Stop};

/// Something that befell a machine of the account, ours or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    /// When (market time).
    pub at: Timestamp,
    /// The machine.
    pub machine: ProviderId,
    /// Whose it is; `None` for one that carries no mark.
    pub mark: Option<Mark>,
    /// What.
    pub what: Happening,
}

/// What befell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It has booted.
    Booted,
    /// It has joined its pool.
    Registered,
    /// The provider says that it will take it back. Best effort: it may come twice or not
    /// at all.
    Noticed {
        /// When the machine will be gone.
        reclaim_at: Timestamp,
    },
    /// The provider says that it may take it back; often nothing follows.
    RebalanceRecommended,
    /// It stops: nothing runs on it and it is not billed any more.
    Stopped(Stop),
    /// It is gone: its place in the market is free.
    Terminated,
}
