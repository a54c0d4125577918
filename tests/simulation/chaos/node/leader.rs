//! What a scheduler process has in memory.

use spotwise_control::core::queue::Queue;
use spotwise_control::core::{Change, State};
use spotwise_control::phase::reconcile::{Effect, OutstandingCalls};
use spotwise_control::{Refusal, Reply};
use spotwise_model::{Now, Plan};
use spotwise_store::Epoch;

use super::super::events::Request;
use super::super::time::{MINUTE, Ms, SECOND};

/// A lease lasts so long without a renewal, and is renewed three times in it;
/// its holder leaves a tenth of it unused.
pub(crate) const TERM: Ms = 3 * SECOND;
/// The driver plans again after 100 ms, and every second: here, where a month
/// passes in a second, less often.
pub(super) const PLAN_GAP: Ms = 15 * SECOND;
pub(super) const REPLAN: Ms = 20 * MINUTE;
pub(super) const LOOK: Ms = SECOND;
pub(super) const REAP: Ms = 5 * SECOND;
/// A store that is away is looked for so often.
pub(super) const RECOVER: Ms = SECOND;

/// One scheduler process, or the place for one.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) up: bool,
    /// Which process: what was meant for an earlier one is void.
    pub(crate) incarnation: u64,
    pub(crate) paused: bool,
    pub(super) suspended: Option<Pending>,
    pub(crate) leader: Option<Box<Leader>>,
    pub(super) inbox: Vec<Request>,
    pub(super) tick_at: Option<Ms>,
}

/// What a leading scheduler holds in memory.
pub(crate) struct Leader {
    pub(crate) epoch: Epoch,
    pub(super) round: u64,
    pub(crate) state: State,
    pub(super) outstanding: OutstandingCalls,
    pub(super) looked: Option<Ms>,
    pub(super) reaped: Option<Ms>,
    pub(super) plan: Option<(Ms, Plan, Queue)>,
    pub(super) planned_at: Option<Ms>,
    pub(super) news: bool,
    /// Until when it may lead, where its lease is not being renewed.
    pub(crate) until: Option<Ms>,
    /// It has thrown its memory away and has to read it again.
    pub(super) deaf: bool,
    /// The phases rested in the round before.
    pub(super) rested: bool,
    /// It sleeps: nothing has to be done until then.
    pub(super) sleep: Option<Sleep>,
}

/// A round between its decision and its last effect.
pub(super) struct Pending {
    pub(super) answers: Vec<(Request, Result<Reply, Refusal>)>,
    pub(super) changes: Vec<Change>,
    pub(super) now: Now,
    /// Whether the phases ran, or rested.
    pub(super) looks: bool,
    /// Whether they have changed something.
    pub(super) changed: bool,
    pub(super) stage: Stage,
    pub(super) effects: Vec<Effect>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Commit,
    Answer,
    Act,
}

/// A leader sleeps from a look until something is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sleep {
    pub(super) from: Ms,
    /// That moment excluded; none where nothing ever is.
    pub(super) until: Option<Ms>,
}
