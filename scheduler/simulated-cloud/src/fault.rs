//! What can go wrong.

use std::time::Duration;

use spotwise_model::id::{InstanceType, PoolName};

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
    /// The account's quotas are smaller than usual, perhaps below what is used: an occasion
    /// is a launch. It has no narrower reach.
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
}

/// How likely a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Of a million occasions, so many are hit; [`Fault`] says what an occasion is.
    pub per_million: u32,
    /// For how long it then goes on for everything within its reach; zero for once.
    pub lasts: Duration,
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
