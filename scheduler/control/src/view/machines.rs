//! Machines as their operator asks about them: what each pool has and costs, and of one
//! machine what it waits for, what it can hope for, and what its provider said last.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::Certainty;
use spotwise_model::id::PoolName;
use spotwise_model::inventory::SeenMachine;
use spotwise_model::time::between;
use spotwise_model::{AttemptId, Instance, InstanceState, Now, OfferKey, Pool, Price};
use spotwise_solver::keep::{IdleMachine, KeepOrGiveBack};

use crate::core::State;
use crate::phase::{keep, machines};

/// A pool that has listed nothing for so long does not answer (wall time): three of the
/// longest pauses between listings.
const SILENT: Duration = Duration::from_secs(180);

/// What a pool has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Machines that are not gone, by the name of their state.
    pub machines: BTreeMap<&'static str, u32>,
    /// Live attempts on them.
    pub jobs: u32,
    /// What those that are billed cost an hour.
    pub price: Price,
}

/// What every pool has now that has anything.
pub fn pool_uses(state: &State) -> BTreeMap<PoolName, PoolUse> {
    let prices = prices(state);
    let mut uses: BTreeMap<PoolName, PoolUse> = BTreeMap::new();
    for machine in state.instances.values().filter(|machine| !machine.ended()) {
        let of_pool = uses.entry(machine.offer.pool.clone()).or_default();
        *of_pool.machines.entry(machine.state.name()).or_insert(0) += 1;
        if machine.since().is_some() {
            let micros = of_pool.price.micros_per_hour();
            let more = price_now(machine, &prices).micros_per_hour();
            of_pool.price = Price::from_micros_per_hour(micros.saturating_add(more));
        }
    }
    for attempt in state.attempts.values().filter(|attempt| attempt.state.is_live()) {
        uses.entry(attempt.offer.pool.clone()).or_default().jobs += 1;
    }
    uses
}

/// Machines that are not gone, by the name of their state.
pub fn by_state(state: &State) -> BTreeMap<&'static str, u32> {
    let mut counts = BTreeMap::new();
    for machine in state.instances.values().filter(|machine| !machine.ended()) {
        *counts.entry(machine.state.name()).or_insert(0) += 1;
    }
    counts
}

/// Today's prices of what is offered.
pub fn prices(state: &State) -> BTreeMap<&OfferKey, Price> {
    state.seen.offers.iter().map(|offer| (&offer.key, offer.price)).collect()
}

/// What a machine costs an hour now: what its commitment pays, today's price, or that at
/// its launch if nobody offers it any more.
pub fn price_now(machine: &Instance, prices: &BTreeMap<&OfferKey, Price>) -> Price {
    match machine.covered() {
        Some(covered) => covered.price,
        None => prices.get(&machine.offer).copied().unwrap_or(machine.launch_price),
    }
}

/// What is known of a pool's provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// There is nobody to ask: its machines are slots of this machine.
    Slots,
    /// It has listed nothing since this scheduler leads.
    Never,
    /// It answers.
    Answers {
        /// When its last listing came (market time).
        listed: Timestamp,
        /// Until when it wants fewer calls, if it does (wall time).
        throttled: Option<Timestamp>,
    },
    /// Its last listing is older than three pauses between listings.
    Silent {
        /// When its last listing came (market time).
        listed: Timestamp,
    },
}

impl Contact {
    /// When its last listing came (market time).
    pub const fn listed(&self) -> Option<Timestamp> {
        match self {
            Self::Answers { listed, .. } | Self::Silent { listed } => Some(*listed),
            Self::Slots | Self::Never => None,
        }
    }

    /// Whether it answers, or need not.
    pub const fn is_reachable(&self) -> bool {
        matches!(self, Self::Slots | Self::Answers { .. })
    }
}

/// Whether a pool's provider answers. `speed` is market seconds per wall second.
pub fn contact(state: &State, pool: &Pool, speed: u32, now: Now) -> Contact {
    if pool.features.instant {
        return Contact::Slots;
    }
    let Some(inventory) = state.seen.inventories.get(&pool.name) else { return Contact::Never };
    let listed = inventory.completed;
    if between(listed, now.market) > SILENT.saturating_mul(speed) {
        return Contact::Silent { listed };
    }
    let throttled = state.seen.throttled.until(&pool.name).filter(|until| now.wall < *until);
    Contact::Answers { listed, throttled }
}

/// What a machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The answer to the request for it.
    Answer {
        /// When it was asked for.
        asked: Now,
        /// Whether an answer was lost meanwhile: it is asked for again by the same name.
        lost: bool,
        /// When it is given up.
        given_up: Option<Timestamp>,
    },
    /// Its registration with its pool.
    Registration {
        /// When it is given back if it has not come.
        given_up: Option<Timestamp>,
    },
    /// Its provider, who takes it back.
    Reclaim {
        /// When.
        at: Timestamp,
    },
    /// The end of what runs on it.
    LastWork,
    /// Its end, which its provider was asked for.
    Termination {
        /// When that was decided.
        decided: Now,
        /// How long it is expected to take.
        expected: Duration,
        /// Whether its provider's name is known: nothing can be asked without it.
        known: bool,
    },
    /// Its charges.
    Settlement,
}

/// What a machine waits for; `None` for one that works or hopes for work.
pub fn awaited(machine: &Instance, pool: Option<&Pool>) -> Option<Awaited> {
    let given_up = pool.and_then(|pool| machines::late_at(machine, pool));
    Some(match machine.state {
        InstanceState::Requested { at, certainty } => {
            Awaited::Answer { asked: at, lost: certainty == Certainty::Unknown, given_up }
        }
        InstanceState::Booting { .. } => Awaited::Registration { given_up },
        InstanceState::Registered { .. } => return None,
        InstanceState::Noticed { reclaim_at, .. } => Awaited::Reclaim { at: reclaim_at },
        InstanceState::Draining { .. } => Awaited::LastWork,
        InstanceState::Terminating { at, .. } => Awaited::Termination {
            decided: at,
            expected: pool.map(|pool| pool.times.termination).unwrap_or_default(),
            known: machine.provider.is_some(),
        },
        InstanceState::Gone { .. } => Awaited::Settlement,
    })
}

/// What a machine's provider has said last.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderWords {
    /// The machine as its pool's last listing had it, and when that came; the listing has
    /// not had it if it is `None`.
    pub listing: Option<(Timestamp, Option<SeenMachine>)>,
    /// What was said when its market refused a machine last, and until when it is left
    /// alone for that.
    pub refusal: Option<(String, Option<Timestamp>)>,
}

/// All that is known of one machine beyond its row.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineOutlook {
    /// Live attempts on it.
    pub attempts: Vec<AttemptId>,
    /// What it waits for.
    pub awaits: Option<Awaited>,
    /// Whether it is a slot of a machine that runs anyway.
    pub slot: bool,
    /// What it can hope for, if it is idle and there, and is no slot.
    pub hopes: Option<(IdleMachine, KeepOrGiveBack)>,
    /// What its provider said.
    pub said: ProviderWords,
}

/// Looks at one machine.
pub fn outlook(state: &State, machine: &Instance, now: Now) -> MachineOutlook {
    let pool = state.pool_of(machine);
    let live = state.attempts_on(machine.id).filter(|attempt| attempt.state.is_live());
    let attempts: Vec<AttemptId> = live.map(|attempt| attempt.id).collect();
    let slot = pool.is_some_and(|pool| pool.features.instant);
    let idle = attempts.is_empty() && matches!(machine.state, InstanceState::Registered { .. });
    let judged = pool.filter(|_| idle && !slot);
    MachineOutlook {
        awaits: awaited(machine, pool),
        slot,
        hopes: judged.map(|pool| keep::judge(state, machine, pool, now)),
        said: said(state, machine, now.market),
        attempts,
    }
}

fn said(state: &State, machine: &Instance, now: Timestamp) -> ProviderWords {
    let listing = state.seen.inventories.get(&machine.offer.pool).map(|inventory| {
        let token = machine.token.as_deref();
        let is_it = |seen: &&SeenMachine| token == Some(seen.token.as_str());
        (inventory.completed, inventory.machines.values().find(is_it).cloned())
    });
    let (refusals, market) = (&state.seen.refusals, &machine.offer.market);
    let refusal = refusals.why(market).map(|why| (why.to_owned(), refusals.until(market, now)));
    ProviderWords { listing, refusal }
}

#[cfg(test)]
#[path = "machines_tests.rs"]
mod tests;
