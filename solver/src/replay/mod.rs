//! One job on a recorded market: the market step by step, what a policy may see
//! of it, the published policies, the exact optimum, and what each would have
//! paid.
//!
//! One decision a step. Prices and availability of a step are known when it
//! begins and hold for it; a whole step is paid, the last one too. Every start,
//! and every move from one machine to another, first spends the changeover
//! without progress. An interrupted job keeps what it did.
//!
//! Work is counted in fifths of a step, so that a changeover need not last
//! whole steps.

mod job;
mod market;
mod optimal;
mod own_view;
mod place;
mod policy;
mod published;
mod simulate;
mod spotwise;
mod unseen;
mod view;

#[cfg(test)]
mod tests;

pub use job::{FIFTHS, Job, JobError};
pub use market::{MarketError, RecordedMarket, RecordedStep, RecordedZone};
pub use optimal::{OptimalError, optimal};
pub use place::JobLocation;
pub use policy::Policy;
pub use published::{Greedy, OnDemand, UniformProgress};
pub use simulate::{Outcome, Scripted, simulate};
pub use spotwise::Spotwise;
pub use unseen::Unseen;
pub use view::View;

/// The exact optimum knows the future: it is no [`Policy`], and made by
/// [`optimal`].
pub const OPTIMAL: &str = "optimal";

/// The published policies.
pub const PUBLISHED: [&str; 3] = ["greedy", "uniform-progress", "on-demand"];

/// Every policy that [`policy`] makes. Those called `unseen` are ours where the market shows
/// nothing of its capacity: with three launches tried a step, one, any number, and three
/// where it is told how often the machine type is interrupted on the mean.
pub const POLICIES: [&str; 8] = [
    "spotwise",
    "unseen",
    "unseen-one-try",
    "unseen-all-zones",
    "unseen-told",
    "greedy",
    "uniform-progress",
    "on-demand",
];

/// Launches that our policy tries in a step where it sees only its own machines: a call
/// takes seconds, a step minutes.
const TRIES: usize = 3;

/// There is no policy of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no policy is called `{name}`; there are {} and {OPTIMAL}", POLICIES.join(", "))]
pub struct UnknownPolicy {
    /// The name asked for.
    pub name: String,
}

/// A new policy, for one window.
pub fn policy(name: &str) -> Result<Box<dyn Policy>, UnknownPolicy> {
    let unseen = |name, tries, told| -> Result<Box<dyn Policy>, UnknownPolicy> {
        Ok(Box::new(Unseen::new(name, tries, told)))
    };
    match name {
        "spotwise" => Ok(Box::new(Spotwise::default())),
        "unseen" => unseen("unseen", TRIES, false),
        "unseen-one-try" => unseen("unseen-one-try", 1, false),
        "unseen-all-zones" => unseen("unseen-all-zones", usize::MAX, false),
        "unseen-told" => unseen("unseen-told", TRIES, true),
        "greedy" => Ok(Box::new(Greedy::default())),
        "uniform-progress" => Ok(Box::new(UniformProgress::default())),
        "on-demand" => Ok(Box::new(OnDemand)),
        _ => Err(UnknownPolicy { name: name.to_owned() }),
    }
}
