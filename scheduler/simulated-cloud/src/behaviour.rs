//! How a simulated account behaves. All times are market time.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::MarketKey;
use spotwise_model::id::PoolName;

use crate::dice::Spread;
use crate::fault::{Chance, Fault};

/// How long things take, how old answers are, and how often what goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// From a call to its answer.
    pub answer: Spread,
    /// The same for an answer that is late.
    pub late_answer: Spread,
    /// After how long a caller knows that no answer will come.
    pub timeout: Duration,
    /// From launch to booted.
    pub boot: Spread,
    /// From booted to registered with its pool.
    pub register: Spread,
    /// The same for a machine that registers late.
    pub late_register: Spread,
    /// From the order to terminate, or the reclaim, until the machine is gone.
    pub terminate: Spread,
    /// The same for a machine that is slow to go.
    pub slow_terminate: Spread,
    /// How old a listing is at most, usually.
    pub list_lag: Duration,
    /// How old a stale listing is: a launch is in every listing begun this long after it.
    pub consistency_window: Duration,
    /// For how long a terminated machine goes on being listed.
    pub listed_after_end: Duration,
    /// Machines on a page of a listing, at least 1.
    pub page_size: usize,
    /// For how long a terminated machine goes on counting against its quota.
    pub quota_lag: Duration,
    /// What a quota that is cut has left, in percent.
    pub cut_quota_percent: u64,
    /// From an interruption's notice to the reclaim.
    pub notice_lead: Duration,
    /// Whom the provider takes machines back from first.
    pub reclaim_order: ReclaimOrder,
    /// What is said to the token of a machine that is gone.
    pub gone_token: GoneToken,
    /// From launch to what befalls a machine by chance: an interruption, a rumour of one, its
    /// retirement.
    pub mishap: Spread,
    /// Somebody else in the account.
    pub foreign_tenant: Option<ForeignTenant>,
    /// How likely each fault is; what is not named happens on order only.
    pub chances: BTreeMap<Fault, Chance>,
}

/// Which of a market's machines are taken back first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReclaimOrder {
    /// Those launched last.
    YoungestFirst,
    /// Any, by chance.
    ByChance,
}

/// What is said to a launch with the token of a machine that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneToken {
    /// The name of that machine, as while it lived.
    SameMachine,
    /// That it was terminated ([`IdempotentInstanceTerminated`]).
    ///
    /// [`IdempotentInstanceTerminated`]: crate::CloudError::IdempotentInstanceTerminated
    Refused,
}

/// Somebody else in the same account, who opens machines and closes them.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignTenant {
    /// From one machine to the next.
    pub every: Spread,
    /// How long each is kept.
    pub keeps: Spread,
    /// Where they are bought, evenly by chance.
    pub markets: Vec<MarketKey>,
    /// The other installation whose mark about half of them carry; the others carry none.
    pub install: String,
    /// The pool in that mark; it may be called as one of another installation.
    pub pool: PoolName,
}

impl Default for Behaviour {
    /// EC2 on an ordinary day: nothing goes wrong by itself, but spot machines are taken
    /// back. The boot times are those of GPU machines.
    fn default() -> Self {
        Self {
            answer: Spread::millis(80, 300, 2_000),
            late_answer: Spread::seconds(10, 90, 900),
            timeout: Duration::from_secs(60),
            boot: Spread::seconds(20, 45, 180),
            register: Spread::seconds(5, 40, 240),
            late_register: Spread::seconds(1_200, 2_400, 7_200),
            terminate: Spread::seconds(5, 40, 180),
            slow_terminate: Spread::seconds(600, 1_200, 3_600),
            list_lag: Duration::from_secs(5),
            consistency_window: Duration::from_secs(300),
            listed_after_end: Duration::from_secs(3_600),
            page_size: 100,
            quota_lag: Duration::from_secs(60),
            cut_quota_percent: 25,
            notice_lead: Duration::from_secs(120),
            reclaim_order: ReclaimOrder::YoungestFirst,
            gone_token: GoneToken::SameMachine,
            mishap: Spread::seconds(60, 7_200, 172_800),
            foreign_tenant: None,
            chances: BTreeMap::new(),
        }
    }
}

impl Behaviour {
    /// Answers at once, with the newest: for tests of what is not the cloud's.
    pub fn prompt() -> Self {
        let at_once = Spread::exactly(Duration::ZERO);
        Self {
            answer: at_once,
            boot: at_once,
            register: at_once,
            terminate: at_once,
            list_lag: Duration::ZERO,
            quota_lag: Duration::ZERO,
            ..Self::default()
        }
    }

    /// Every fault now and then: for simulations.
    pub fn rough() -> Self {
        let chance = |fault: Fault| (fault, fault.rough_chance());
        Self { chances: Fault::ALL.into_iter().map(chance).collect(), ..Self::default() }
    }
}
