//! What goes wrong, by chance or on order, and how often it did.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, PoolName};

use crate::behaviour::Chance;
use crate::dice::Dice;

/// A way in which the cloud misbehaves. Each says what its occasions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A launch never arrives, and no answer comes.
    LaunchNeverArrived,
    /// A launch is carried out, and its answer is lost.
    LaunchAnswerLost,
    /// A termination never arrives, and no answer comes.
    TerminateNeverArrived,
    /// A termination is carried out, and its answer is lost.
    TerminateAnswerLost,
    /// The answer to any call comes late.
    AnswerLate,
    /// Any call is throttled, whatever its bucket holds.
    ThrottleBurst,
    /// Launches of a machine type find no capacity, in any zone.
    NoCapacity,
    /// One launch finds no capacity though the market has some: of several machines some
    /// are had and some are not.
    PartialCapacity,
    /// A machine launched never registers.
    NeverRegisters,
    /// A machine launched registers after a very long time.
    RegistersLate,
    /// A machine takes very long to go.
    SlowTerminate,
    /// A termination soon after the launch is told that there is no such machine.
    NotFoundYet,
    /// A page of a listing is answered with an error.
    PageError,
    /// A listing is as old as it may be.
    StaleListing,
    /// Calls for a pool do not get through.
    PoolUnreachable,
    /// Calls are made with credentials that have expired.
    CredentialsExpired,
    /// The quotas are smaller than usual, perhaps below what is used; drawn at launches.
    QuotaCut,
    /// A spot machine launched is interrupted some time later, whatever the market has.
    Interruption,
    /// An interruption comes without its notice: the machine is gone at once.
    NoticeMissing,
    /// The notice of an interruption comes twice.
    NoticeTwice,
    /// A spot machine launched gets a rebalance recommendation some time later, and nothing
    /// follows.
    RebalanceOnly,
    /// A machine launched, spot or not, is retired by the provider some time later.
    Retirement,
    /// The foreign tenant opens a machine. Not by chance: see
    /// [`ForeignTenant`](crate::ForeignTenant).
    ForeignMachine,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::LaunchNeverArrived,
        Self::LaunchAnswerLost,
        Self::TerminateNeverArrived,
        Self::TerminateAnswerLost,
        Self::AnswerLate,
        Self::ThrottleBurst,
        Self::NoCapacity,
        Self::PartialCapacity,
        Self::NeverRegisters,
        Self::RegistersLate,
        Self::SlowTerminate,
        Self::NotFoundYet,
        Self::PageError,
        Self::StaleListing,
        Self::PoolUnreachable,
        Self::CredentialsExpired,
        Self::QuotaCut,
        Self::Interruption,
        Self::NoticeMissing,
        Self::NoticeTwice,
        Self::RebalanceOnly,
        Self::Retirement,
        Self::ForeignMachine,
    ];

    /// What is likely where everything goes wrong now and then.
    pub(crate) const fn rough_chance(self) -> Chance {
        let (per_million, lasts) = match self {
            Self::ForeignMachine => (0, 0),
            Self::LaunchNeverArrived
            | Self::LaunchAnswerLost
            | Self::TerminateNeverArrived
            | Self::TerminateAnswerLost
            | Self::PartialCapacity
            | Self::NeverRegisters
            | Self::RegistersLate
            | Self::SlowTerminate
            | Self::Retirement => (50_000, 0),
            Self::AnswerLate | Self::PageError | Self::StaleListing => (20_000, 0),
            Self::NotFoundYet | Self::Interruption | Self::RebalanceOnly => (100_000, 0),
            Self::NoticeMissing | Self::NoticeTwice => (150_000, 0),
            Self::ThrottleBurst => (3_000, 300),
            Self::NoCapacity => (10_000, 3_600),
            Self::QuotaCut => (5_000, 7_200),
            Self::PoolUnreachable | Self::CredentialsExpired => (1_000, 900),
        };
        Chance { per_million, lasts: Duration::from_secs(lasts) }
    }

    /// What is hit while a fault drawn by chance goes on.
    fn reach(self, subject: &Subject<'_>) -> Reach {
        let pool = subject.pool.cloned().map(Reach::Pool);
        let instance_type = subject.instance_type.cloned().map(Reach::Type);
        match self {
            Self::NoCapacity => instance_type.unwrap_or(Reach::All),
            Self::PoolUnreachable => pool.unwrap_or(Reach::All),
            _ => Reach::All,
        }
    }
}

/// Whom a fault hits while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything that there is an occasion for.
    All,
    /// What concerns this pool.
    Pool(PoolName),
    /// What concerns machines of this type.
    Type(InstanceType),
}

/// What can be done to one machine on order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// It is taken back with one notice.
    WithNotice,
    /// It is taken back with two notices.
    NoticeTwice,
    /// It is taken back at once, without notice.
    WithoutNotice,
    /// It gets a rebalance recommendation, and nothing follows.
    RebalanceOnly,
    /// It is retired at once.
    Retirement,
}

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
            let until = spotwise_model::time::after(at, chance.lasts);
            self.inject(fault, fault.reach(subject), until);
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
