//! The account: its machines, tokens and quotas, and what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::MarketKey;
use spotwise_model::id::{PoolName, ProviderId, Zone};
use spotwise_model::limit::LimitUse;
use spotwise_model::time::after;

use crate::dice::Dice;
use crate::event::CloudEvent;
use crate::fault::{Fault, Reach};
use crate::machine::Machine;
use crate::market::CloudMarket;
use crate::meter::MeterLine;
use crate::outage::Faults;
use crate::spec::CloudSpec;
use crate::throttle::{Action, CallCounts, Throttle};

mod calls;
mod foreign;
mod launch;
mod life;
mod list;
mod quota;
mod terminate;

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod launch_tests;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod quota_tests;

use launch::TakenToken;
use life::Due;
pub use quota::QuotaUse;
pub use terminate::Violation;

/// A simulated account in one region.
///
/// Times never go back: a call made with an earlier time than the one before counts as made
/// at that time.
#[derive(Clone, Debug)]
pub struct SimulatedCloud {
    spec: CloudSpec,
    market: Arc<dyn CloudMarket>,
    seed: u64,
    dice: Dice,
    throttle: Throttle,
    faults: Faults,
    now: Timestamp,
    /// In the order of launch; a machine's number is its place.
    machines: Vec<Machine>,
    numbers: BTreeMap<ProviderId, usize>,
    /// What listings may show, by installation and pool.
    listed: BTreeMap<(String, PoolName), BTreeSet<usize>>,
    /// What takes a place in its market: launched and not yet terminated.
    open: BTreeMap<MarketKey, BTreeSet<usize>>,
    /// Spot markets whose next change is on the agenda.
    watched: BTreeSet<MarketKey>,
    tokens: BTreeMap<(Zone, String), TakenToken>,
    /// vCPUs that count against each quota of the spec.
    quota_used: Vec<u64>,
    quota_history: Vec<QuotaUse>,
    /// What happens by itself, by time and then in the order in which it was arranged.
    agenda: BTreeMap<(Timestamp, u64), Due>,
    arranged: u64,
    /// What has happened and has not been told.
    untold: Vec<CloudEvent>,
    violations: Vec<Violation>,
}

impl SimulatedCloud {
    /// An account without machines that begins at `start`. Everything that is left to chance
    /// follows from the seed.
    pub fn new(spec: CloudSpec, market: Arc<dyn CloudMarket>, seed: u64, start: Timestamp) -> Self {
        let mut cloud = Self {
            dice: Dice::new(seed),
            throttle: Throttle::new(&spec.buckets),
            faults: Faults::new(spec.behaviour.chances.clone()),
            quota_used: vec![0; spec.quotas.len()],
            spec,
            market,
            seed,
            now: start,
            machines: Vec::new(),
            numbers: BTreeMap::new(),
            listed: BTreeMap::new(),
            open: BTreeMap::new(),
            watched: BTreeSet::new(),
            tokens: BTreeMap::new(),
            quota_history: Vec::new(),
            agenda: BTreeMap::new(),
            arranged: 0,
            untold: Vec::new(),
            violations: Vec::new(),
        };
        cloud.expect_foreign_tenant();
        cloud
    }

    /// What it is.
    pub fn spec(&self) -> &CloudSpec {
        &self.spec
    }

    /// How far its time has come.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets everything happen that happens by itself up to `to`, and tells what has happened
    /// since the last time, in order. Calls let time pass too; what happens meanwhile is
    /// told here.
    pub fn advance(&mut self, to: Timestamp) -> Vec<CloudEvent> {
        self.settle(to);
        std::mem::take(&mut self.untold)
    }

    /// When something may happen next by itself; now, if something has happened and not been
    /// told. What is due then may be nothing that anybody is told of.
    pub fn next_event(&self) -> Option<Timestamp> {
        let due = || self.agenda.keys().next().map(|(at, _)| *at);
        if self.untold.is_empty() { due() } else { Some(self.now) }
    }

    /// The provider's meter: a line for every machine ever launched by `now`, in the order of
    /// launch, those of others too. What happened after `now` is left out of account, and
    /// what will happen between the cloud's own time and `now` too.
    pub fn meter(&self, now: Timestamp) -> Vec<MeterLine> {
        let line = |machine| MeterLine::of(machine, &self.spec.billing, &*self.market, now);
        self.machines.iter().filter_map(line).collect()
    }

    /// Every machine ever launched, in the order of launch, as it is now and not as a
    /// listing shows it: for whoever judges a caller, not for the caller.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// A machine by its name, as it is now.
    pub fn machine(&self, id: &ProviderId) -> Option<&Machine> {
        self.machines.get(*self.numbers.get(id)?)
    }

    /// The use of each quota now, as the account itself counts it.
    pub fn quota_use(&self) -> Vec<LimitUse> {
        (0..self.spec.quotas.len()).filter_map(|index| self.limit_use(index)).collect()
    }

    /// The use of each quota after each change, in order.
    pub fn quota_history(&self) -> &[QuotaUse] {
        &self.quota_history
    }

    /// How many calls have been made.
    pub fn calls(&self, action: Action) -> CallCounts {
        self.throttle.counts(action)
    }

    /// Terminations of machines that were not the caller's, in order.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Lets a fault hit every occasion within its reach from now until `until`. An occasion
    /// is what the fault's own words say; what is done to one machine at once is
    /// [`Self::interrupt`].
    pub fn inject(&mut self, fault: Fault, reach: Reach, until: Timestamp) {
        self.faults.inject(fault, reach, until);
    }

    /// How often a fault has struck, on order and by chance.
    pub fn fired(&self, fault: Fault) -> u64 {
        self.faults.fired(fault)
    }

    fn arrange(&mut self, at: Timestamp, due: Due) {
        self.agenda.insert((at.max(self.now), self.arranged), due);
        self.arranged += 1;
    }

    fn arrange_in(&mut self, span: Duration, due: Due) {
        self.arrange(after(self.now, span), due);
    }
}
