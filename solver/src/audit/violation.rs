//! What is wrong with a plan.

use spotwise_model::id::PoolName;
use spotwise_model::limit::LimitKey;
use spotwise_model::plan::Target;
use spotwise_model::{InstanceId, JobId, OfferKey};

/// What a plan must not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// It names a job that cannot start.
    #[error("{0} is not a job of this round")]
    UnknownJob(JobId),
    /// A job is not exactly once among placements and waits.
    #[error("{job} has {times} placements and waits instead of one")]
    NotOnce {
        /// The job.
        job: JobId,
        /// How often it is there.
        times: usize,
    },
    /// It names an offer that is not on the market.
    #[error("{0} is not on the market")]
    UnknownOffer(OfferKey),
    /// A job is placed in a pool that it may not use.
    #[error("{0} may not use the pool that it is placed in")]
    BarredPool(JobId),
    /// A placement takes something else than the job asks for there.
    #[error("{0} takes another share than it asks for")]
    WrongShare(JobId),
    /// A placement has more or fewer machines than the job has nodes.
    #[error("{job} has {targets} machines for {nodes} nodes")]
    WrongNodes {
        /// The job.
        job: JobId,
        /// Its machines.
        targets: usize,
        /// Its nodes.
        nodes: u32,
    },
    /// Two nodes of a job share a machine.
    #[error("two nodes of {0} share a machine")]
    SharedTarget(JobId),
    /// It names a machine that is not there, or not of that offer.
    #[error("{job} goes to {instance}, which is no machine of its offer")]
    WrongInstance {
        /// The job.
        job: JobId,
        /// The machine.
        instance: InstanceId,
    },
    /// It names a machine that is not bought.
    #[error("{job} goes to new machine {index} of {offer}, which is not bought")]
    NotBought {
        /// The job.
        job: JobId,
        /// The offer.
        offer: OfferKey,
        /// The machine's place in the purchases.
        index: u32,
    },
    /// More is put on a machine than it holds.
    #[error("{target:?} of {offer} is overfilled")]
    Overfilled {
        /// The offer.
        offer: OfferKey,
        /// The machine.
        target: Target,
    },
    /// More machines are bought than there are.
    #[error("{bought} machines of {offer} are bought, {free} are free")]
    NotFree {
        /// The offer.
        offer: OfferKey,
        /// How many are bought.
        bought: u32,
        /// How many there are.
        free: u32,
    },
    /// More is taken of a pool than it has left.
    #[error("pool `{pool}` has too few {resource}")]
    PoolLimit {
        /// The pool.
        pool: PoolName,
        /// `cpus`, `memory` or `gpus`.
        resource: &'static str,
    },
    /// The machines bought take more of a limit than it has left.
    #[error("new machines take {takes} of {limit}, which has {left} left")]
    MachineLimit {
        /// The limit.
        limit: LimitKey,
        /// What the machines bought take.
        takes: u128,
        /// What is left.
        left: u64,
    },
    /// A job that may not be interrupted is on spot.
    #[error("{0} may not be interrupted and is on spot")]
    NotInterruptible(JobId),
    /// A placement needs more than the job's budget holds.
    #[error("{0} needs more than its budget holds")]
    OverBudget(JobId),
    /// Others take the room that is kept for a job beyond its start, or it has room kept
    /// and is placed.
    #[error("the room that is kept for {0} is taken")]
    TakesReserved(JobId),
    /// A move of a job that does not run, or is being stopped already.
    #[error("{0} cannot be moved")]
    WrongMove(JobId),
}
