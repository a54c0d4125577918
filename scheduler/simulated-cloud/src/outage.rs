//! What goes wrong just now, and how often it did.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, PoolName};
use spotwise_model::time::after;

use crate::dice::Dice;
use crate::fault::{Chance, Fault, Reach};

/// What an operation concerns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subject<'a> {
    pub(crate) pool: Option<&'a PoolName>,
    pub(crate) instance_type: Option<&'a InstanceType>,
}

#[derive(Clone, Debug)]
struct Outage {
    fault: Fault,
    reach: Reach,
    until: Timestamp,
}

impl Outage {
    fn hits(&self, fault: Fault, subject: &Subject<'_>, at: Timestamp) -> bool {
        let within = match &self.reach {
            Reach::All => true,
            Reach::Pool(pool) => subject.pool == Some(pool),
            Reach::Type(instance_type) => subject.instance_type == Some(instance_type),
        };
        self.fault == fault && at < self.until && within
    }
}

/// The faults that go on, and how often each has struck.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    chances: BTreeMap<Fault, Chance>,
    outages: Vec<Outage>,
    fired: BTreeMap<Fault, u64>,
}

impl Faults {
    pub(crate) fn new(chances: BTreeMap<Fault, Chance>) -> Self {
        Self { chances, outages: Vec::new(), fired: BTreeMap::new() }
    }

    pub(crate) fn inject(&mut self, fault: Fault, reach: Reach, until: Timestamp) {
        self.outages.push(Outage { fault, reach, until });
    }

    /// Whether this occasion is hit; if so, it is counted.
    pub(crate) fn strikes(
        &mut self,
        fault: Fault,
        subject: &Subject<'_>,
        at: Timestamp,
        dice: &mut Dice,
    ) -> bool {
        let strikes = self.draws(fault, subject, at, dice);
        if strikes {
            self.count(fault);
        }
        strikes
    }

    /// Whether this occasion is to be hit; whoever carries it out counts it.
    pub(crate) fn draws(
        &mut self,
        fault: Fault,
        subject: &Subject<'_>,
        at: Timestamp,
        dice: &mut Dice,
    ) -> bool {
        self.outages.retain(|outage| at < outage.until);
        self.goes_on(fault, subject, at) || self.begins(fault, subject, at, dice)
    }

    /// Whether it goes on, without counting.
    pub(crate) fn goes_on(&self, fault: Fault, subject: &Subject<'_>, at: Timestamp) -> bool {
        self.outages.iter().any(|outage| outage.hits(fault, subject, at))
    }

    fn begins(
        &mut self,
        fault: Fault,
        subject: &Subject<'_>,
        at: Timestamp,
        dice: &mut Dice,
    ) -> bool {
        let Some(chance) = self.chances.get(&fault) else { return false };
        let begins = dice.hits(chance.per_million);
        if begins && !chance.lasts.is_zero() {
            let until = after(at, chance.lasts);
            self.inject(fault, reach(fault, subject), until);
        }
        begins
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.fired.entry(fault).or_default() += 1;
    }

    pub(crate) fn fired(&self, fault: Fault) -> u64 {
        self.fired.get(&fault).copied().unwrap_or(0)
    }
}

/// What is hit while a fault drawn by chance goes on.
fn reach(fault: Fault, subject: &Subject<'_>) -> Reach {
    let pool = subject.pool.cloned().map(Reach::Pool);
    let instance_type = subject.instance_type.cloned().map(Reach::Type);
    match fault {
        Fault::NoCapacity => instance_type.unwrap_or(Reach::All),
        Fault::PoolUnreachable => pool.unwrap_or(Reach::All),
        _ => Reach::All,
    }
}
